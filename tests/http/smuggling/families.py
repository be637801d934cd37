"""
Families of requests that have fooled servers: one thing, in all the ways in which it has been written.

No verdict stands here: whatever becomes of each, no server behind us may be able to read it in two ways (the oracle
holds that), and nothing that came before on the connection may change it.
"""

from __future__ import annotations

from typing import Final

from tests.http.smuggling.cases import CH, SMUGGLED, TE, G, P

_FIVE: Final = b"5\r\nhello\r\n0\r\n\r\n"


def _line(line: bytes, *fields: bytes) -> bytes:
    return P(list(fields), line=line)


#: Transfer-Encoding, so that one server sees it and another does not.
_CODINGS: Final = (
    *(b"Transfer-Encoding:\x0b chunked", b"Transfer-Encoding: chun\rked", b"Transfer-Encoding: \xffchunked"),
    *(b"Transfer-Encoding: \x85chunked", b"transfer-encoding: chunked\r\nTransfer-Encoding: x"),
    *(b"Transfer-Encoding: , chunked", b"Transfer-Encoding: chunked, ", b"Transfer-Encoding: identity, chunked"),
    *(b"Transfer-Encoding: chunked;foo", b"X: x\nTransfer-Encoding: chunked", b"X: x\n\rTransfer-Encoding: chunked"),
    *(b"X:\rTransfer-Encoding: chunked", b" Transfer-Encoding: chunked", b"\tTransfer-Encoding: chunked"),
    *(b"Transfer-Encoding\0: chunked", b"Transfer-Encoding: \\chunked", b"Transfer-Encoding: 'chunked'"),
    *(b"Transfer Encoding: chunked", b"Transfer\xadEncoding: chunked", b"Transfer-Encoding:\x0cchunked"),
    *(b"Transfer-Encoding: chun\xe2\x84\xaaed", b"Transfer-Encoding\n: chunked", b"Transfer-Encoding: chu\r\n nked"),
    *(b"Transfer-Encoding:\r\n \r\n chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: deflate, chunked"),
    *(b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: none", b"Transfer-Encoding:\t \tchunked\t "),
    *(b"Transfer-Encoding:: chunked", b"Transfer-Encoding: :chunked", b"Content-Encoding: chunked"),
    *(b"\0Transfer-Encoding: chunked", b"TRANSFER-ENCODING: ChUnKeD"),
)

_LENGTHS: Final = (
    *(b"5,", b",5", b"5 5", b"5\t", b"5\x0b", b"5_", b"05", b"0o5", b"+5", b"-0", b"5;5", b"\xef\xbc\x95", b""),
    *(b"18446744073709551621", b"4294967301", b"0" * 30 + b"5", b"5\r\ncontent-length: 5", b"5\r\nContent-Length: 0"),
    *(b"\r\nContent-Length: 5", b"\n 5", b"5\r\n ", b"5\0", b"0x5", b"5e0", b"1\r\nX-Content-Length: 5"),
)

_CHUNKS: Final = (
    *(b"5;\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5;a\rhello\r\n0\r\n\r\n", b"2;\n11\r\n0\r\n\r\n"),
    *(b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello2\r\nxx\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n"),
    *(b"5\r\nhello0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n"),
    *(b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5_0\r\nhello\r\n0\r\n\r\n"),
    *(b"100000000000000005\r\nhello\r\n0\r\n\r\n", b"100000005\r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n"),
    *(b";5\r\nhello\r\n0\r\n\r\n", b"5 ; a=b\r\nhello\r\n0\r\n\r\n", b'5;a="\r\nX"\r\nhello\r\n0\r\n\r\n'),
    *(b'5;a="\\""\r\nhello\r\n0\r\n\r\n', b"5;\xe9\r\nhello\r\n0\r\n\r\n", b"5;\0\r\nhello\r\n0\r\n\r\n"),
    *(b"5;\x01a\r\nhello\r\n0\r\n\r\n", b"5;\ta\r\nhello\r\n0\r\n\r\n", b"5\x0b\r\nhello\r\n0\r\n\r\n"),
    *(b"5\r\nhello\r\n00\r\n\r\n", b"5\r\nhello\r\n0;x=y\r\n\r\n", b"5\r\nhello\r\n0 \r\n\r\n", b"5\r\nhello\r\n0\n\n"),
    *(b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\r\r\n\r\n", b"5\r\nhello\r\n0\r\n", b"\r\n" + _FIVE, b" " + _FIVE),
    *(b"\xd9\xa5\r\nhello\r\n0\r\n\r\n", b"5\0\r\nhello\r\n0\r\n\r\n"),
)

_TRAILERS: Final = (
    *(b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Host: evil", b"X-Forwarded-For: 1.1.1.1", b"Cookie: a=b"),
    *(b"GET /admin HTTP/1.1", b"X: GET /admin HTTP/1.1", b"X: y\r\n z", b"X: y\nY: z", b"X: \0", b"X-Request-ID: a"),
)

_VERSIONS: Final = (
    *(b"HTTP/1.1\t", b"HTTP/1.1\x0b", b"HTTP/1.1\0", b"HTTP/1.1 x", b"HTTP/1,1", b"HTTP/ 1.1", b"HTTP /1.1"),
    *(b"HTTP/1.1.1", b"HTTP/11", b"HTTP/1.-1", b"HTTP/0.1", b"HTTP/1.9", b"HTTP/2", b"HTP/1.1", b"hTTP/1.1"),
    *(b"RTSP/1.0", b"RTSP/1.1", b"ICE/1.0", b"HTTP/1.1HTTP/1.1", b'"HTTP/1.1"', b"http/1.0"),
)

_FIELDS: Final = (
    *(b"X : y", b"X\t: y", b" X: y", b"X\x0b: y", b"X\xe9: y", b"X(y: z", b"X[]: z", b"X{}: z", b"X/: z", b"X@: z"),
    *(b"X=: z", b"X,: z", b"X\\: z", b"X: \0", b"X: \x1b", b"X: \x7f", b"X: a\x08b", b"X", b":", b": x"),
    *(b"X: a\r\n\tb", b"X: \r\n b", b"X;: y", b'X": y', b"X: \x0b", b"X: \x0c", b"X:\xa0y", b"X: y\x85Z: z"),
    *(b"X: y\xe2\x80\xa8Z: z", b"Content_Length: 5", b"Transfer_Encoding: chunked", b"Content.Length: 5"),
    *(b"X_Forwarded_For: 1.1.1.1", b"Host_: b", b"h_o_s_t: b", b"X.Request.ID: 1", b"X~Y: 1", b"X!Y: 1", b"X'Y: 1"),
    *(b"X*Y: 1", b"X+Y: 1", b"X`Y: 1", b"X|Y: 1", b"X^Y: 1", b"X#Y: 1", b"X$Y: 1", b"X%Y: 1", b"X&Y: 1"),
)

_HOSTS: Final = (
    *(b" a b", b" a\tb", b" a/", b" a,b", b" a;b", b" a\\b", b" a:80a", b" a:+80", b" a:-1", b" a:99999999", b" [::1"),
    *(b" ::1]", b" [::1]:80:90", b" [v1.x]", b" [fe80::1%25eth0]", b" a%00b", b" a%2fb", b" \xff", b" a\0", b" ."),
    *(b" ..", b" a..b", b" -", b" *", b" (a)", b" {a}", b" a|b", b" a^b", b" a`b", b" a$b", b" a&b", b" a=b", b" a!b"),
    *(b" a+b", b" a'b", b" https://a", b" //a", b" a@", b" @a", b" a:", b" :", b" 127.1", b" 0x7f.1", b"\ta"),
    *(b" a\x0b", b" a\r\n b", b" A", b" a\r\nHost: b", b" a\r\n Host: b", b""),
)

_TARGETS: Final = (
    *(b"http://b/p", b"http://b:80/p", b"http://b", b"http://b?x", b"http://b#x", b"http://b/#x", b"http://b\\c/p"),
    *(b"http://u@b/p", b"http://u:p@b/p", b"http:/b/p", b"http:b", b"http:////b/p", b"HTTPS://b/p", b"ftp://b/p"),
    *(b"file:///etc/passwd", b"http://b%2f/p", b"http://b /p", b"http://[::1]/p", b"http://b:/p", b"http://b:x/p"),
    *(b"http://b,a/p", b"http://.b/p", b"ws://b/p", b"http://b;x/p", b"//b/p", b"///b/p", b"/\\b/p", b"\\p"),
    *(b"/p\\..\\q", b"*", b"/*", b"p", b"?p", b"", b"@b/p", b"b:80", b":80", b"/p#f", b"/p?#f", b"/%", b"/%0"),
    *(b"/%zz", b"/%00", b"/%0a", b"/%0d%0aX:y", b"/%u0041", b"/\xff", b"/\xc3\xa9", b"/a|b", b"/a{b}", b'/a"b'),
    *(b"/a<b>", b"/a^b", b"/a`b", b"/a\x7fb", b"/a\x01b", b"/a\tb", b"/a\x0bb", b"/a\rb", b"/a\nb", b"/a\0b", b"/a;b"),
    *(b"/..;/b", b"/%2e%2e/b", b"/a/../../b", b"/a//b", b"/./a", b"/a?b?c", b"/a?b=/../c", b"/a?%00", b"/a?\\"),
    *(b"/p q", b"/p HTTP/1.0", b" /p", b"/p "),
)

_METHODS: Final = (
    *(b"get", b"Get", b"GET\0", b"GET\t", b"G ET", b"GE\rT", b"TRACE", b"TRACK", b"CONNECT", b"DEBUG", b"PRI", b"FOO"),
    *(b'"GET"', b"GET,POST", b"A" * 100, b"PROPFIND", b"QUERY", b"PURGE", b"SOURCE", b"M-SEARCH", b"-GET", b"_GET"),
    *(b"1GET", b"POST\xe9", b"ACL", b"UNLINK", b"BAN", b" GET", b"\tGET", b"\r\n GET", b"\n\nGET", b"\rGET"),
)

_CONNECTIONS: Final = (
    *(
        b"Connection: Host",
        b"Connection: Cookie\r\nCookie: a=b",
        b"Connection: X-Forwarded-For, X-Request-ID, Forwarded",
    ),
    *(b"Connection: close, Expect\r\nExpect: 100-continue", b"Connection: TE\r\nTE: trailers, chunked"),
    *(
        b'Connection: "close"',
        b"Connection: close;x",
        b"Connection: keep-alive\r\nConnection: close",
        b"Connection:close",
    ),
    *(
        b"Connection: CLOSE , X",
        b"Connection: Range, Origin\r\nRange: bytes=0-1\r\nOrigin: y",
        b"Proxy-Connection: close",
    ),
    *(b"Proxy-Connection: upgrade\r\nUpgrade: websocket", b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA"),
    *(b"Connection: upgrade\r\nUpgrade: websocket, h2c", b"Connection: upgrade\r\nUpgrade: HTTP/2.0"),
    *(b"Connection: upgrade\r\nUpgrade: foo/h2c", b"Connection: upgrade\r\nUpgrade: TLS/1.2"),
    *(b"Connection: upgrade\r\nUpgrade: ", b"Connection: upgrade\r\nUpgrade: websocket\x0b"),
    *(
        b"Connection: upgrade\r\nUpgrade: web\tsocket",
        b"Connection: upgradex\r\nUpgrade: websocket",
        b"Upgrade: websocket",
    ),
)

_EXPECTATIONS: Final = (
    *(
        b"100-continue",
        b"100-Continue",
        b"100-continue, 100-continue",
        b"100-continue,x",
        b" 100-continue\t",
        b"x",
        b"",
    ),
    *(b"100", b"100-continue\0", b"200-ok", b"\t100-continue", b"100-continue;q=1", b"y 100-continue"),
    *(b"100-\r\n continue", b"100-continue\r\nExpect: 100-continue"),
)

#: By what they are about.
FAMILIES: Final[dict[str, list[bytes]]] = {
    "length and coding": [P([b"Content-Length: 15", each], _FIVE + SMUGGLED) for each in _CODINGS],
    "coding": [P([each], _FIVE + SMUGGLED) for each in _CODINGS],
    "coding in HTTP/1.0": [P([each], _FIVE + SMUGGLED, b"POST /p HTTP/1.0") for each in _CODINGS],
    "length": [P([b"Content-Length: " + each], b"hello" + SMUGGLED) for each in _LENGTHS],
    "length of a GET": [P([b"Content-Length:" + each], b"hello" + SMUGGLED, b"GET /p HTTP/1.1") for each in _LENGTHS],
    "length, its name": [
        P([each], b"hello" + SMUGGLED)
        for each in (b"Content-Length\n: 5", b"Content-Length : 5", b" Content-Length: 5", b"\tContent-Length: 5")
    ],
    "chunk": [P([TE], each + SMUGGLED) for each in _CHUNKS],
    "trailer": [P([TE], CH[:-2] + each + b"\r\n\r\n" + SMUGGLED) for each in _TRAILERS],
    "version": [_line(b"GET /p " + each) for each in _VERSIONS],
    "field": [G(each, b"Z: end") for each in _FIELDS],
    "Host": [b"GET /p HTTP/1.1\r\nHost:" + each + b"\r\n\r\n" + SMUGGLED for each in _HOSTS],
    "target": [_line(b"GET " + each + b" HTTP/1.1") for each in _TARGETS],
    "method": [_line(each + b" /p HTTP/1.1") for each in _METHODS],
    "Connection": [G(each) + SMUGGLED for each in _CONNECTIONS],
    "expectation": [P([b"Expect: " + each, b"Content-Length: 5"], b"hello" + SMUGGLED) for each in _EXPECTATIONS],
    "expectation of a GET": [G(b"Expect:" + each) + SMUGGLED for each in _EXPECTATIONS],
    "line ends": [
        *(b"GET /p HTTP/1.1\nHost: a\n\n", b"GET /p HTTP/1.1\rHost: a\r\r", b"GET /p HTTP/1.1\n\rHost: a\n\r\n\r"),
        *(b"GET /p HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", b"GET /p HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED),
        *(b"GET /p HTTP/1.1\r\r\nHost: a\r\n\r\n", b"GET /p HTTP/1.1\r\nHost: a\r\nX: y\n\n" + SMUGGLED),
        *(b"GET /p HTTP/1.1\r\nHost: a\r\nX: y\r\n\r" + SMUGGLED, b"GET /p\r\n\r\n" + SMUGGLED, b"GET /p\n" + SMUGGLED),
        *(b"\r\n" * 5 + SMUGGLED, b"\n" * 5 + SMUGGLED, b"\r" + SMUGGLED, b"  " + SMUGGLED, b"\r\n " + SMUGGLED),
    ],
    "not HTTP": [bytes(range(256)) * 4, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + SMUGGLED],
}
