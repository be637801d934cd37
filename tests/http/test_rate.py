"""
Clients that are slower than slow: the least rate of bodies, in both directions.
"""

from __future__ import annotations

from tests.http.conversation import OK, ConversationTestCase
from twistginx.errors import ProxyError

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class RequestRateTests(ConversationTestCase):
    """
    The body of a request has 240 bytes per second, averaged over 30 seconds, or the client is not waited for.
    """

    def setUp(self) -> None:
        super().setUp()
        self.frontend.key = "listener.edge."
        self.taken = 0

        def take(request) -> None:
            if request.body is None:
                self.taken = -1
            else:
                request.body.start(self)

        self.stage.act = take

    def body_data(self, data: bytes) -> None:
        self.taken += len(data)

    def body_end(self, trailers: object) -> None:
        self.request().respond(OK)

    def drip(self, size: int, seconds: int, every: int = 1) -> int:
        """
        Send C{size} bytes, again and again; for how many seconds that goes well.
        """
        for second in range(0, seconds, every):
            if self.wire.value():
                return second
            self.wait(every)
            self.send(b"x" * size)
        return seconds

    def test_too_slow(self) -> None:
        """
        A byte each second goes on for half a minute, and then is 408, which names the setting.
        """
        self.connect(POST % 10000)
        self.assertAlmostEqual(self.drip(1, 100), 30, delta=2)
        self.assertEqual(self.statuses(), [408])
        self.assertIn(b"listener.edge.limits.min_rate = 240", self.answer().body)
        self.assertEqual(self.record.reason, "request_body_timeout")

    def test_fast_enough(self) -> None:
        """
        The rate itself is enough, for hours, in whatever pieces it comes.
        """
        for size, every in ((245, 1), (2450, 10), (6600, 27)):
            self.connect(POST % 100_000_000)
            self.assertEqual(self.drip(size, 600, every), 600, (size, every))
            self.lose()
            self.records.clear()

    def test_slows_down(self) -> None:
        """
        It is each half minute that counts: a fast start is no credit for later.
        """
        self.connect(POST % 1_000_000 + b"x" * 500_000)
        self.assertLess(self.drip(10, 200), 70)
        self.assertEqual(self.statuses(), [408])

    def test_not_waited_for(self) -> None:
        """
        While we do not read, the client cannot send: that time does not count.
        """
        self.connect(POST % 100_000)
        self.request().body.pause()
        self.send(b"x" * 100)
        self.wait(300)
        self.request().body.resume()
        self.assertEqual(self.taken, 100)
        self.wait(20)
        self.send(b"x" * 5000)
        self.assertEqual(self.statuses(), [])
        self.assertGreaterEqual(self.drip(300, 100), 100)
        self.lose()

    def test_continue(self) -> None:
        """
        Nor does the time before the client was told to send.
        """
        self.stage.act = None
        self.connect(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 100_000)
        self.wait(300)
        self.request().body.start(self)
        self.wait(29)
        self.send(b"x" * 10)
        self.assertEqual(self.statuses(), [100])
        self.lose()

    def test_off(self) -> None:
        """
        0 is no limit.
        """
        self.frontend.min_rate = 0
        self.connect(POST % 100_000)
        self.assertEqual(self.drip(1, 300), 300)
        self.lose()

    def test_end(self) -> None:
        """
        A body that is complete is never too slow, and the next one is counted anew.
        """
        self.connect(POST % 20)
        self.drip(1, 20)
        self.wait(40)
        self.send(POST % 6000)
        self.wait(25)
        self.send(b"x" * 3000)
        self.wait(2)
        self.send(b"x" * 3000)
        self.assertEqual(self.statuses(), [200, 200])


class ResponseRateTests(ConversationTestCase):
    """
    A client that takes less of a response than that is given up.
    """

    def read(self, size: int) -> ProxyError | None:
        """
        Read C{size} bytes each second for 10 minutes.
        """
        self.stage.act = None
        self.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.started().send(b"x")
        left = [10_000_000]
        self.wire.unsent = lambda: left[0]
        self.channel.pauseProducing()
        for _ in range(600):
            if self.wire.aborted:
                break
            self.wait(1)
            left[0] -= size
        return self.request().error

    def test_too_slow(self) -> None:
        """
        It is cut off after a minute, and the log names the setting.
        """
        self.frontend.key = "listener.edge."
        error = self.read(100)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(str(error), "response_write_timeout: listener.edge.limits.min_rate = 240")
        self.assertLess(self.clock.seconds(), 65)

    def test_stalled(self) -> None:
        """
        One that takes nothing is told apart: it is another setting.
        """
        self.assertEqual(str(self.read(0)), "response_write_timeout: timeouts.write = 60s")

    def test_fast_enough(self) -> None:
        """
        At the rate itself it may take as long as it takes.
        """
        self.assertIsNone(self.read(245))
        self.assertFalse(self.wire.aborted)

    def test_off(self) -> None:
        """
        With 0, a byte now and then is enough.
        """
        self.frontend.min_rate = 0
        self.assertIsNone(self.read(1))
