"""
The sending half of a connection: writing, producers, and closing when all has been sent.

What is written is held until the turn of the loop ends, where that pays (``net.outbox``) and as far as it is little;
what more is written meanwhile is joined to it.  Nobody can tell, but for the time: whoever asks for ``unsent``, ends
the connection or our half of it, in whatever way, or goes past ``write``, has it sent first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twistginx.net.reactor import TwistginxReactor
    from twistginx.net.sendfile import FileSending

#: A producer is paused when more than this many bytes wait in the process, and resumed when this few are left.
HIGH_WATER, LOW_WATER = 65536, 16384

#: Up to this many bytes, pieces are joined rather than written as pieces, and held rather than sent at once.
_JOIN = 16384

_log = Logger()


def discard(data: object) -> None:
    """
    The ``write`` and ``writeSequence`` of a connection that can send no more.
    """


def _join(pieces: Iterable[bytes]) -> bytes:
    try:
        return b"".join(pieces)
    except TypeError:
        raise TypeError("Data must be bytes") from None


class Sending(asyncio.Protocol):
    """
    What of a connection concerns sending.

    :ivar io: asyncio's transport; None until the loop has the descriptor.
    :ivar write: ``write(data)``: send bytes.
    :ivar writeSequence: the same for an iterable of bytes.
    :ivar producer: is registered to write to us, or None.
    :ivar TLS: ``startTLS`` has been called, so that ``protocol`` is a layer that does these things too.
    """

    __slots__ = (
        "TLS",
        "_file",
        "_full",
        "_held_bytes",
        "_reason",
        "_watching",
        "_write_ending",
        "connected",
        "disconnected",
        "disconnecting",
        "io",
        "producer",
        "producerPaused",
        "protocol",
        "reactor",
        "streamingProducer",
        "write",
        "writeSequence",
    )

    write: Callable[[bytes], None]
    writeSequence: Callable[[Iterable[bytes]], None]

    def __init__(self, reactor: TwistginxReactor) -> None:
        self.reactor = reactor
        self.io: Any = None  # an asyncio.Transport
        self.protocol: Any = None
        self.connected = self.disconnected = self.disconnecting = False
        self.producer: Any = None
        self.streamingProducer = self.producerPaused = False
        self.write = self.writeSequence = discard
        self.TLS = False
        self._reason: Failure | None = None
        self._full = self._watching = self._write_ending = False
        self._held_bytes = b""  # to be sent when the turn ends
        self._file: FileSending | None = None  # a file that is being sent, behind which nothing is to be written

    def _fail(self) -> None:
        """
        An exception is being handled that ends the connection.
        """
        raise NotImplementedError

    # Writing.

    def _allow_writing(self) -> None:
        if self.TLS:
            return
        if self.producer is not None and not self.streamingProducer:
            self.write = self._write_pulled
            self.writeSequence = self._write_sequence_pulled
        else:
            self.write = self.hold
            self.writeSequence = self._write_pieces

    def hold(self, data: bytes) -> None:
        """
        ``write`` where nothing special is going on: send ``data`` when the turn ends, or now, if that is much.
        """
        held = self._held_bytes
        # What is no bytes may change until then, or is an error of the caller's.
        if data.__class__ is bytes and len(held) + len(data) <= _JOIN:
            outbox = self.reactor.outbox
            if held:
                self._held_bytes = held + data
            elif outbox.at_once:
                outbox.at_once -= 1
                self.io.write(data)
            else:
                self._held_bytes = data
                outbox.add(self)
        else:
            if held:
                self.send_held()
            self.io.write(data)

    def send_held(self) -> None:
        """
        Send what is held.
        """
        held = self._held_bytes
        if held:
            self._held_bytes = b""
            self.io.write(held)

    def _write_pieces(self, pieces: Iterable[bytes]) -> None:
        # Python 3.12's asyncio does not get past an empty one.
        pieces = [piece for piece in pieces if piece]
        # asyncio's writelines copies nothing, and so must not be given what may change, nor, because it leaves behind
        # what stood before it, what is no bytes.  For small pieces a copy is cheaper.
        if sum(map(len, pieces)) > _JOIN and all(piece.__class__ is bytes for piece in pieces):
            self.send_held()
            self.io.writelines(pieces)
        else:
            self.hold(_join(pieces))

    def _write_pulled(self, data: bytes) -> None:
        self.send_held()
        self.io.write(data)
        self._watch()

    def _write_sequence_pulled(self, pieces: Iterable[bytes]) -> None:
        self._write_pulled(_join(pieces))

    def unsent(self) -> int:
        """
        The number of bytes that the kernel has not taken yet.
        """
        if self.io is None or not self.connected:
            return 0
        self.send_held()
        waiting: int = self.io.get_write_buffer_size()
        return waiting if self._file is None else waiting + self._file.left

    def _watch(self) -> None:
        """
        Have ``_drained`` called, from the loop, when nothing is left to send.
        """
        if not self._watching:
            self._watching = True
            self.send_held()
            io = self.io
            if io.get_write_buffer_size():
                io.set_write_buffer_limits(0)
            else:
                self.reactor.loop.call_soon(self._drained)

    def _drained(self) -> None:
        self._watching = False
        if not self.connected or self._reason is not None or self._file is not None:
            return
        if self.producer is not None and (self.producerPaused or not self.streamingProducer):
            self._resume_producer()
        elif self._write_ending and not self.disconnecting:
            if self.unsent():
                self._watch()
            else:
                self._end_writing()

    def pause_writing(self) -> None:
        """
        Asyncio: more than the high water mark is waiting.
        """
        self._full = True
        if self.producer is not None and self.streamingProducer and not self._watching:
            self._pause_producer()

    def resume_writing(self) -> None:
        """
        Asyncio: no more than the low water mark is waiting.
        """
        self._full = False
        # Not from within: asyncio's own transports do not bear to be closed here.
        self.reactor.loop.call_soon(self._resumed)

    def _resumed(self) -> None:
        if self._full or not self.connected or self._file is not None:
            return
        if self._watching:
            self.io.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
            self._drained()
        elif self.producerPaused:
            self._resume_producer()

    # Files.

    def file_ended(self) -> None:
        """
        The file is not being sent any more: go on as when all that was written has left.
        """
        self._file = None
        if not self.connected or self._reason is not None:
            return
        self.resume_writing()
        if self.write is discard:  # it was to be closed behind the file
            self.io.close()
        elif self._write_ending:
            self._watch()

    # Producers.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Have a producer write: a push producer (``streaming``) at its own pace, until it is paused; a pull producer
        whenever it is asked to.

        :raise RuntimeError: when there is one already.
        """
        if self.TLS:
            self.protocol.registerProducer(producer, streaming)
        else:
            self.register_below(producer, streaming)

    def register_below(self, producer: Any, streaming: bool) -> None:
        """
        ``registerProducer`` for the TLS layer.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self.producer} was never unregistered."
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = bool(streaming)
        self.producerPaused = False
        if not streaming:
            if self.write is not discard:
                self._allow_writing()
            producer.resumeProducing()
            # Bytes that were written before it may be on their way; it is asked again when they have gone.
            self._watch()
        elif self._full:
            # Not now: who registers a producer does not expect it to be paused before it returns.
            self.reactor.loop.call_soon(self._pause_when_full, producer)

    def unregisterProducer(self) -> None:
        """
        The producer has written all.
        """
        if self.TLS:
            self.protocol.unregisterProducer()
        else:
            self.unregister_below()

    def unregister_below(self) -> None:
        """
        ``unregisterProducer`` for the TLS layer.
        """
        self.producer = None
        self.producerPaused = False
        if not self.connected:
            return
        if self.write is not discard:
            self._allow_writing()
        if self.disconnecting:
            self._close()
        elif self._write_ending:
            self._watch()

    def stopConsuming(self) -> None:
        """
        A producer that can produce no more says so.
        """
        self.unregisterProducer()
        self.loseConnection()

    def loseConnection(self) -> None:
        """
        Close when all has been sent.
        """
        raise NotImplementedError

    def _may_still_write(self) -> bool:
        """
        Is there a producer that waits for us?
        """
        return self.producer is not None and (self.producerPaused or not self.streamingProducer)

    def _pause_when_full(self, producer: Any) -> None:
        if self._full and self.producer is producer and not self.producerPaused:
            self._pause_producer()

    def _pause_producer(self) -> None:
        self.producerPaused = True
        with _log.failuresHandled("while pausing {producer}", producer=self.producer):
            self.producer.pauseProducing()

    def _resume_producer(self) -> None:
        self.producerPaused = False
        try:
            self.producer.resumeProducing()
        except BaseException:
            self._fail()
            return
        if self.disconnecting and self.connected and self.streamingProducer and not self.producerPaused:
            self._close()

    # Ending.

    def _close(self) -> None:
        """
        Close when what was written has been sent.
        """
        self.write = self.writeSequence = discard
        self.send_held()
        if self._file is None:
            self.io.close()

    def loseWriteConnection(self) -> None:
        """
        Send what there is, then end our side; the other may go on.
        """
        if self.connected and not self.disconnecting and not self._write_ending:
            self._write_ending = True
            if not self._may_still_write():
                self._watch()

    def _end_writing(self) -> None:
        self.write = self.writeSequence = discard
        self.send_held()
        self.io.write_eof()
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None:
            try:
                half_closeable.writeConnectionLost()
            except BaseException:
                self._fail()
