"""
The body of a request, on its way to a server.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from twistginx.http.body import BodyReceiver
from twistginx.http.message import Fields
from twistginx.http.trailers import safe_trailers
from twistginx.http.wire import chunk_size, last_chunk

#: Up to this size, in bytes, pieces are joined: one copy is cheaper than one more piece to write.
_JOIN = 16384


class BodySource(Protocol):
    """
    What a body is taken from; ``http.body.RequestBody`` is one.
    """

    def start(self, receiver: BodyReceiver) -> None:
        """
        Deliver from now on, perhaps at once.
        """

    def pause(self) -> None:
        """
        Deliver nothing until ``resume``.
        """

    def resume(self) -> None:
        """
        Go on.
        """


@implementer(IPushProducer)
class Upload:
    """
    Sends a body as it arrives, no faster than the server reads it.

    It takes the body (a BodyReceiver) and is the producer of the connection's transport.

    :ivar chunked: it is sent in chunks.
    :ivar started: bytes of the body have been asked for, so that it cannot be sent a second time.
    :ivar blocked: the server does not read.
    """

    __slots__ = ("_body", "_connection", "_filters", "_head", "_transport", "blocked", "chunked", "started")

    def __init__(self, body: BodySource, chunked: bool, filters: tuple[Any, ...] = ()) -> None:
        """
        :param chunked: the length is not known, or filters change it; the head must say the same.
        :param filters: objects with ``feed(data) -> bytes`` and ``finish() -> bytes``, in the order of use.
        """
        self._body = body
        self.chunked = chunked
        self._connection: Any = None
        self._filters = filters
        self._head = b""
        self._transport: Any = None
        self.blocked = False
        self.started = False

    def begin(self, head: bytes, connection: Any) -> None:
        """
        Send ``head``, and the body behind it, on ``connection``.  What of the body is there leaves together with it.
        """
        self._head = head
        self._connection = connection
        transport = self._transport = connection.transport
        self.started = True
        transport.registerProducer(self, True)
        if self._connection is not None:
            self._body.start(self)
        if self._head and self._connection is not None:
            self._head = b""
            transport.write(head)

    def stop(self) -> None:
        """
        Send no more.  The rest of the body is dropped as it arrives.
        """
        if self._connection is None:
            return
        self._connection = None
        self._transport.unregisterProducer()
        if self.blocked:
            self.blocked = False
            self._body.resume()

    # The body's receiver.

    def body_data(self, data: bytes) -> None:
        """
        The next bytes.
        """
        if self._connection is None:
            return
        for each in self._filters:
            data = each.feed(data)
        if data:
            self._write(data)

    def body_end(self, trailers: Fields) -> None:
        """
        The body is complete.
        """
        connection = self._connection
        if connection is None:
            return
        rest = b""
        for each in self._filters:
            rest = (each.feed(rest) if rest else b"") + each.finish()
        if rest:
            self._write(rest)
        if self.chunked:
            self._transport.write(self._take_head() + last_chunk(safe_trailers(trailers) if trailers else None))
        elif self._head:
            self._transport.write(self._take_head())
        if self._connection is not None:
            self._connection = None
            self._transport.unregisterProducer()
            connection.upload_ended()

    # The transport's producer.

    def pauseProducing(self) -> None:
        """
        The server does not read as fast as we write.
        """
        if self._connection is not None and not self.blocked:
            self.blocked = True
            self._body.pause()
            self._connection.upload_blocked()

    def resumeProducing(self) -> None:
        """
        The server has read what was written.
        """
        if self._connection is not None and self.blocked:
            self.blocked = False
            self._connection.upload_unblocked()
            self._body.resume()

    def stopProducing(self) -> None:
        """
        The connection is gone; its connectionLost says so too.
        """

    # Pieces.

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def _write(self, data: bytes) -> None:
        head = self._take_head()
        size = len(data)
        if size <= _JOIN:
            self._transport.write(head + (b"%x\r\n%b\r\n" % (size, data) if self.chunked else data))
        elif self.chunked:
            self._transport.writeSequence([head + chunk_size(data), data, b"\r\n"])
        elif head:
            self._transport.writeSequence([head, data])
        else:
            self._transport.write(data)
