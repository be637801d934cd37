"""
A file on its way to the client.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twistginx.errors import ProxyError
from twistginx.http.message import FileRange

if TYPE_CHECKING:
    from twistginx.http.request import Request

#: Bytes read at once: large enough that the system calls do not count, small enough that a thousand slow downloads
#: hold no more than they must.
READ_SIZE = 131072


class FileBody:
    """
    Sends a FileRange as fast as the client reads: a read's worth is in memory at any time.

    The request's source and watcher.  It owns the descriptor, and closes it.
    """

    __slots__ = ("_descriptor", "_left", "_offset", "_request")

    def __init__(self, part: FileRange, request: Request) -> None:
        self._descriptor = part.descriptor
        self._offset = part.start
        self._left = part.length
        self._request = request

    def resumeProducing(self) -> None:
        request = self._request
        while self._descriptor >= 0 and request.channel.writable:
            try:
                data = os.pread(self._descriptor, min(READ_SIZE, self._left), self._offset)
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
            if data:
                request.send(data)
            if last:
                request.end()

    def pauseProducing(self) -> None:
        """
        Nothing to do: resumeProducing looks whether the client reads.
        """

    def stopProducing(self) -> None:
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
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
