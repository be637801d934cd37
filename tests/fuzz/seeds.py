"""
Where fuzzing starts: inputs that mean something.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from tests.http.smuggling.cases import CASES

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CORPUS: Final = Path(__file__).resolve().parent / "corpus"

_RESPONSES: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: X, keep-alive\r\nX: y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
)

_CHUNKS: Final = (
    b"3\r\nabc\r\n0\r\n\r\n",
    b"0003;a=b;c\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    b'1;a="b\\"c"\r\nx\r\n0;z\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n',
    b"ffffffffffffffff\r\nabc",
    b"3\nabc\n0\n\n",
)

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY_HEADERS: Final = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1000 443\r\n",
    _SIGNATURE + b"\x21\x11\0\x0c" + bytes((192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 1, 187)) + b"more",
    _SIGNATURE + b"\x20\0\0\0",
    _SIGNATURE + b"\x21\x21\0\x2a" + bytes(36) + b"\x04\0\x03abc",
    _SIGNATURE + b"\x21\x31\0\xd8" + b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0"),
)


def _client_hellos() -> list[bytes]:
    """
    What OpenSSL says first.
    """
    hellos = []
    for name, protocols in (("example.com", ["h2", "http/1.1"]), (None, None)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        if protocols:
            context.set_alpn_protocols(protocols)
        out = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            hellos.append(out.read())
    return hellos


def _configurations() -> list[bytes]:
    """
    Those that are shipped.
    """
    return [path.read_bytes() for place in ("etc", "tests/config") for path in sorted((ROOT / place).rglob("*.toml"))]


def seeds(name: str) -> list[bytes]:
    """
    Inputs for a target, and what was found before.
    """
    if name in ("requests", "proxy"):
        found = [raw for case in CASES if len(raw := case.raw) < 4096]
    elif name in ("responses", "answers"):
        found = list(_RESPONSES)
    elif name == "chunked":
        found = list(_CHUNKS)
    elif name == "client_hello":
        found = _client_hellos()
    elif name == "proxy_header":
        found = list(_PROXY_HEADERS)
    else:
        return [*_configurations(), *kept(name)]
    # Whole, byte by byte, and in pieces of seven.
    return [*(cut + each for each in found for cut in (b"\0", b"\x7f", b"\x85")), *kept(name)]


def kept(name: str) -> list[bytes]:
    """
    What was found in earlier runs.
    """
    place = CORPUS / name
    return [path.read_bytes() for path in sorted(place.iterdir())] if place.is_dir() else []
