"""
Tests for L{twistginx.http.body}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistginx.http.body import RequestBody
from twistginx.http.message import Fields


class Receiver:
    """
    Notes what it is given.
    """

    def __init__(self) -> None:
        self.events: list[object] = []

    def body_data(self, data: bytes) -> None:
        self.events.append(data)

    def body_end(self, trailers: Fields) -> None:
        self.events.append(trailers)


class RequestBodyTests(SynchronousTestCase):
    """
    A body, between wire and receiver.
    """

    def setUp(self) -> None:
        self.body = RequestBody(None)
        self.body.watch(self.body.deliver)
        self.receiver = Receiver()

    def finish(self) -> None:
        self.body.complete = True
        self.body.deliver()

    def test_held(self) -> None:
        """
        What arrives before anybody wants it is held, and delivered at once when somebody does.
        """
        self.body.put(b"a")
        self.body.put(b"b")
        self.body.deliver()
        self.assertTrue(self.body.blocked)
        self.body.start(self.receiver)
        self.assertEqual(self.receiver.events, [b"a", b"b"])
        self.assertFalse(self.body.blocked)
        self.assertEqual(self.body.received, 2)

    def test_end(self) -> None:
        """
        The end comes once, after the last byte, with the trailers.
        """
        self.body.start(self.receiver)
        self.body.put(b"a")
        self.body.trailers = Fields.of([(b"A", b"b")])
        self.finish()
        self.body.deliver()
        self.body.resume()
        self.assertEqual(self.receiver.events, [b"a", [(b"a", b"A", b"b")]])
        self.assertTrue(self.body.ended)

    def test_paused(self) -> None:
        """
        While it is paused nothing is delivered, the end neither.
        """
        self.body.start(self.receiver)
        self.body.pause()
        self.body.put(b"a")
        self.finish()
        self.assertEqual((self.receiver.events, self.body.ended), ([], False))
        self.body.resume()
        self.assertEqual(self.receiver.events, [b"a", []])

    def test_paused_inside(self) -> None:
        """
        A pause takes effect at once, from inside too.
        """
        self.receiver.body_data = lambda data: (self.receiver.events.append(data), self.body.pause())
        self.body.put(b"a")
        self.body.put(b"b")
        self.body.start(self.receiver)
        self.assertEqual(self.receiver.events, [b"a"])
        self.body.resume()
        self.assertEqual(self.receiver.events, [b"a", b"b"])

    def test_discard(self) -> None:
        """
        When nobody wants it any more, the receiver hears nothing, not even the end; and nobody is held by it.
        """
        self.body.start(self.receiver)
        self.body.pause()
        self.body.put(b"a")
        self.body.discard()
        self.body.put(b"b")
        self.finish()
        self.assertEqual((self.receiver.events, self.body.blocked, self.body.ended), ([], False, True))
        self.assertIsNone(self.body._notify)

    def test_discarded_inside(self) -> None:
        """
        Nor does it when it is discarded while it is given data.
        """
        self.receiver.body_data = lambda data: (self.receiver.events.append(data), self.body.discard())
        self.body.put(b"a")
        self.body.put(b"b")
        self.body.complete = True
        self.body.start(self.receiver)
        self.assertEqual(self.receiver.events, [b"a"])
        self.assertTrue(self.body.ended)

    def test_raises(self) -> None:
        """
        A receiver that raises does not block what comes after.
        """

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        self.receiver.body_data = fail
        self.body.put(b"a")
        self.assertRaises(ZeroDivisionError, self.body.start, self.receiver)
        del self.receiver.body_data
        self.body.put(b"b")
        self.body.deliver()
        self.assertEqual(self.receiver.events, [b"b"])

    @given(st.lists(st.sampled_from(["put", "pause", "resume", "start"]), max_size=30))
    def test_order(self, steps: list[str]) -> None:
        """
        Whenever it is started, paused and resumed: all bytes come, in order, and then the end.
        """
        self.setUp()
        body, receiver, started, expected = self.body, self.receiver, False, b""
        for number, step in enumerate(steps):
            if step == "put":
                data = b"%d," % number
                expected += data
                body.put(data)
                body.deliver()
            elif step == "start":
                if not started:
                    body.start(receiver)
                started = True
            else:
                getattr(body, step)()
        self.finish()
        if not started:
            body.start(receiver)
        body.resume()
        self.assertEqual(b"".join(receiver.events[:-1]), expected)
        self.assertEqual(receiver.events[-1], [])
