"""
A part of a file on its way to a connection, past this process: sendfile(2).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twistginx.net.transport_socket import OnSocket

#: Bytes in one turn of the reactor: a client that takes all that we have must not have all of our time.
TURN: Final = 1 << 20


class FileSending:
    """
    Sends behind everything that was written before it.  The connection has its producer paused meanwhile, and resumed
    at the end.

    What the kernel has room for leaves at once; a duplicate of the connection's descriptor waits for more room, because
    the loop lets nobody else wait on one that it has a transport for.  Any error is an end before the time: whoever
    asked goes on by other means, and meets it again there if it is the connection's or the file's, and not only that
    this file cannot be sent in this way.

    :ivar left: bytes that the kernel has not taken yet.
    :ivar ended: it is over, with all sent or ``left`` to be.
    """

    __slots__ = ("_connection", "_descriptor", "_file", "_offset", "ended", "left")

    def __init__(self, connection: OnSocket, file: int, start: int, length: int) -> None:
        """
        :param file: a descriptor that stays open until the end, or ``stop``; it is the caller's.
        """
        self._connection = connection
        self._descriptor = -1
        self._file = file
        self._offset = start
        self.left = length
        self.ended = False

    def begin(self) -> bool:
        """
        Send what leaves at once.

        :return: False when there is more to come.
        """
        connection = self._connection
        self._send(connection.fileno())
        if not self.ended:
            self._descriptor = connection.duplicate()
            connection.reactor.loop.add_writer(self._descriptor, self._go_on)
        return self.ended

    def stop(self) -> None:
        """
        Send no more, and let the connection go on; again does nothing.  What was sent cannot be taken back.
        """
        self.ended = True
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._connection.reactor.loop.remove_writer(descriptor)
            os.close(descriptor)
            self._connection.file_ended()

    def _go_on(self) -> None:
        self._send(self._descriptor)
        if self.ended:
            self.stop()

    def _send(self, descriptor: int) -> None:
        if self._connection.io.get_write_buffer_size():
            return  # what was written before us is not gone yet; the loop sees to it when there is room
        try:
            sent = os.sendfile(descriptor, self._file, self._offset, min(self.left, TURN))
        except BlockingIOError:
            return
        except OSError:
            sent = 0
        self._offset += sent
        self.left -= sent
        self.ended = not (sent and self.left)  # 0: the file has become shorter
