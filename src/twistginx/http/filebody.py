"""
A file on its way to the client.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twistginx.errors import ProxyError
from twistginx.http.message import FileRange

if TYPE_CHECKING:
    from twistginx.http.response import Response
    from twistginx.net.sendfile import FileSending

#: Bytes read at once: large enough that the system calls do not count, small enough that a thousand slow downloads
#: hold no more than they must.
READ_SIZE = 131072

#: Reads in one turn of the reactor: a client that takes all that we have must not have all of our time.
TURN = 8


class FileBody:
    """
    Sends a FileRange as fast as the client reads: past this process where that is possible, else by reads, of which one
    is in memory at any time.

    The request's source and watcher.  It owns the file, and closes it.
    """

    __slots__ = ("_direct", "_left", "_offset", "_part", "_request", "_sending", "_waiting")

    def __init__(self, part: FileRange, request: Response) -> None:
        self._part = part
        self._offset = part.start
        self._left = part.length
        self._request: Response | None = request
        self._direct: FileSending | None = None
        self._sending = False
        self._waiting = False

    def begin(self) -> None:
        """
        The head has been started: send.
        """
        if self._left:
            self._direct = self._request.send_file(self._part)  # type: ignore[union-attr]  # it has just asked for this
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Send while the client reads, for one turn.
        """
        if self._sending:  # a transport that drains at once calls back before ``send`` returns
            return
        if self._direct is not None:
            if not self._direct.ended:
                return
            self._count_direct()
            if not self._left:
                request = self._request
                self.close()
                request.end()  # type: ignore[union-attr]  # it is there until we are closed
                return
        self._sending = True
        turns = TURN
        while turns and self._sendable:
            turns -= 1
            self._send_read()
        self._sending = False
        if self._sendable and not self._waiting:
            self._waiting = True
            self._request.channel.ticker.soon(self._next_turn)  # type: ignore[union-attr]  # it is sendable

    def pauseProducing(self) -> None:
        """
        Nothing to do: resumeProducing looks whether the client reads.
        """

    def stopProducing(self) -> None:
        """
        The client left; ``client_gone`` says so too.
        """
        self.close()

    def client_gone(self, error: ProxyError) -> None:
        """
        The client left.
        """
        self.close()

    def close(self) -> None:
        """
        Release the file; again does nothing.
        """
        if self._direct is not None:
            self._direct.stop()
            self._count_direct()
        self._request = None
        self._part.close()

    def _count_direct(self) -> None:
        """
        What was sent past this process has been sent; reads go on behind it.
        """
        left = self._direct.left  # type: ignore[union-attr]  # both callers have looked
        self._direct = None
        self._request.passed(self._left - left)  # type: ignore[union-attr]
        self._offset += self._left - left
        self._left = left

    @property
    def _sendable(self) -> bool:
        request = self._request
        return request is not None and request.channel.writable and not request.held

    def _next_turn(self) -> None:
        self._waiting = False
        self.resumeProducing()

    def _send_read(self) -> None:
        """
        Send one read, and the end behind the last.
        """
        request = self._request
        assert request is not None
        try:
            data = os.pread(self._part.descriptor, min(READ_SIZE, self._left), self._offset)
        except OSError as error:
            self.close()
            request.fail(ProxyError("proxy_internal_error", f"reading a file: {error.strerror}"))
            return
        if not data and self._left:
            # It was cut while we sent it: the client must see that the body is not whole.
            self.close()
            request.fail(ProxyError("proxy_internal_error", "a file became shorter while it was sent"))
            return
        self._offset += len(data)
        self._left -= len(data)
        last = not self._left
        if last:
            self.close()
        request.send(data)
        if last:
            request.end()
