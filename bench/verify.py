"""
Is it the right answer?  Asked before anything is timed.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from email.utils import formatdate
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

from attrs import field, frozen

from bench.material import CHANGED, NUMBER, request_head

#: When the files were last changed, as HTTP writes it.
LAST_MODIFIED: Final = formatdate(CHANGED, usegmt=True)


@frozen
class Question:
    """
    A request, and the answer that it must get.

    :ivar body: what is sent along; None: nothing.
    :ivar digest: the SHA-256 of the answer's body.
    :ivar headers: fields of the answer, in lower case; parameters of values do not matter.
    """

    method: str
    path: str
    digest: str
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    close: bool = False

    def head(self) -> bytes:
        """
        The request's head, with C{NUMBER} in its query.
        """
        return request_head(
            self.method, self.path, body=None if self.body is None else len(self.body), close=self.close
        )


def tls_context() -> ssl.SSLContext:
    """
    A client that asks for TLS 1.3 and takes any certificate.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class Wrong(Exception):
    """
    An answer is not what it must be.
    """


def look(port: int, question: Question, *, tls: bool = False) -> bool:
    """
    Ask twice on one connection.

    :return: is the connection kept?
    :raise Wrong: when an answer is wrong, or there is none.
    """
    if tls:
        connection: HTTPConnection = HTTPSConnection("127.0.0.1", port, timeout=30, context=tls_context())
    else:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        return [_kept(connection, question, number) for number in (1, 2)] == [True, True]
    except (OSError, HTTPException) as error:
        raise Wrong(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _kept(connection: HTTPConnection, question: Question, number: int) -> bool:
    lines = question.head().replace(NUMBER, b"%d" % number).decode("ascii").split("\r\n")
    connection.putrequest(question.method, lines[0].split(" ")[1], skip_host=True, skip_accept_encoding=True)
    for line in filter(None, lines[1:]):
        name, _, value = line.partition(": ")
        connection.putheader(name, value)
    connection.endheaders(question.body)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise Wrong(f"status {response.status}")
    if sha256(body).hexdigest() != question.digest:
        raise Wrong(f"another body, of {len(body)} bytes")
    for name, value in question.headers.items():
        sent = (response.getheader(name) or "nothing").partition(";")[0]
        if sent != value:
            raise Wrong(f"{name} is {sent} and not {value}")
    return not response.will_close
