"""
Requests that are not what they seem, and what is to become of them.

They are written down from what is known of request smuggling: CL.TE, TE.CL and TE.TE, chunks and their extensions, line
ends, white space, request lines, Host, hop-by-hop fields, upgrades, expectations, and what stands behind a request.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen


@frozen
class As:
    """
    A request, as an upstream server is to get it.

    :ivar head: without what we say about the client, and without the empty line.
    """

    head: bytes
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(factory=list)


class Sent:
    """
    These requests arrive, and are answered.

    :ivar then: the status of a refusal behind them; 0: there is none.
    """

    def __init__(self, *requests: As, then: int = 0) -> None:
        self.requests = list(requests)
        self.then = then


@frozen
class Broken:
    """
    A request begins to arrive, and never ends.

    :ivar status: of the refusal that the client gets; 0: it is waited for more.
    """

    status: int


#: What h11 makes of the bytes is what arrives: the same requests, fields, bodies and trailers.
SAME: Final = Sent()


@frozen
class Case:
    """
    One attempt.

    :ivar verdict: a status: it is refused, and nothing arrives; or one of the above.
    """

    group: str
    name: str
    raw: bytes
    verdict: int | Sent | Broken


def _cases(group: str, *rows: tuple[str, bytes, int | Sent | Broken]) -> list[Case]:
    return [Case(group, *row) for row in rows]


H: Final = b"Host: a\r\n"


def P(fields: list[bytes], body: bytes = b"", line: bytes = b"POST /p HTTP/1.1") -> bytes:
    """
    A request with a body.
    """
    return line + b"\r\n" + H + b"".join(each + b"\r\n" for each in fields) + b"\r\n" + body


def G(*fields: bytes, line: bytes = b"GET /p HTTP/1.1") -> bytes:
    """
    A request without one.
    """
    return P(list(fields), line=line)


SMUGGLED: Final = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
CH: Final = b"3\r\nabc\r\n0\r\n\r\n"
TE: Final = b"Transfer-Encoding: chunked"

CASES: Final[list[Case]] = [
    # CL.TE and TE.CL.
    *_cases(
        "CL.TE and TE.CL",
        ("length, then chunked", P([b"Content-Length: 6", TE], b"0\r\n\r\nG"), 400),
        ("chunked, then length", P([TE, b"Content-Length: 6"], b"0\r\n\r\nG"), 400),
        (
            "chunked with a length that leaves a request",
            P([TE, b"Content-Length: 4"], b"20\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
            400,
        ),
        ("length 0 and chunked", P([b"Content-Length: 0", TE], CH), 400),
        ("identity and length", P([b"Transfer-Encoding: identity", b"Content-Length: 3"], b"abc"), 400),
        ("length on HTTP/1.0 with chunked", P([b"Content-Length: 3", TE], b"abc", b"POST /p HTTP/1.0"), 400),
        ("chunked on HTTP/1.0", P([TE], CH, b"POST /p HTTP/1.0"), 400),
        ("chunked on HTTP/1.0, kept alive", P([TE, b"Connection: keep-alive"], CH, b"POST /p HTTP/1.0"), 400),
        ("GET with both", P([b"Content-Length: 5", TE], b"0\r\n\r\n", b"GET /p HTTP/1.1"), 400),
        (
            "length hidden by Connection",
            P([b"Connection: Content-Length", b"Content-Length: 3"], b"abc"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        (
            "chunked hidden by Connection",
            P([b"Connection: Transfer-Encoding", TE], CH),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        (
            "both hidden by Connection",
            P([b"Connection: Content-Length, Transfer-Encoding", b"Content-Length: 3", TE], CH),
            400,
        ),
    ),
    # Transfer-Encoding, obfuscated.
    *_cases(
        "Transfer-Encoding, obfuscated",
        ("space before the colon", P([b"Transfer-Encoding : chunked"], CH), 400),
        ("tab before the colon", P([b"Transfer-Encoding\t: chunked"], CH), 400),
        ("tab after the colon", P([b"Transfer-Encoding:\tchunked"], CH), SAME),
        ("vertical tab after the colon", P([b"Transfer-Encoding:\x0bchunked"], CH), 400),
        ("form feed after the colon", P([b"Transfer-Encoding:\x0cchunked"], CH), 400),
        ("no-break space after the colon", P([b"Transfer-Encoding:\xa0chunked"], CH), 501),
        ("NUL after the colon", P([b"Transfer-Encoding:\0chunked"], CH), 400),
        ("no space after the colon", P([b"Transfer-Encoding:chunked"], CH), SAME),
        ("trailing space", P([b"Transfer-Encoding: chunked "], CH), SAME),
        ("trailing tab", P([b"Transfer-Encoding: chunked\t"], CH), 400),
        ("trailing vertical tab", P([b"Transfer-Encoding: chunked\x0b"], CH), 400),
        ("trailing CR", P([b"Transfer-Encoding: chunked\r"], CH), 400),
        ("upper case value", P([b"Transfer-Encoding: CHUNKED"], CH), SAME),
        ("mixed case name", P([b"tRANSFER-eNCODING: chunked"], CH), SAME),
        ("x-chunked", P([b"Transfer-Encoding: xchunked"], CH), 501),
        ("chunked with a letter too many", P([b"Transfer-Encoding: chunkedx"], CH), 501),
        ("quoted", P([b'Transfer-Encoding: "chunked"'], CH), 501),
        ("comma before", P([b"Transfer-Encoding: ,chunked"], CH), 501),
        ("comma behind", P([b"Transfer-Encoding: chunked,"], CH), 400),
        ("twice in one", P([b"Transfer-Encoding: chunked, chunked"], CH), 400),
        ("twice in two fields", P([TE, TE], CH), 400),
        ("identity, then chunked", P([b"Transfer-Encoding: identity", TE], CH), 501),
        ("chunked, then identity", P([TE, b"Transfer-Encoding: identity"], CH), 400),
        ("chunked, identity in one", P([b"Transfer-Encoding: chunked, identity"], CH), 400),
        ("identity, chunked in one", P([b"Transfer-Encoding: identity, chunked"], CH), 501),
        ("gzip, chunked", P([b"Transfer-Encoding: gzip, chunked"], CH), 501),
        ("gzip alone", P([b"Transfer-Encoding: gzip"], b"abc"), 501),
        ("cow", P([b"Transfer-Encoding: cow"], CH), 501),
        ("chunked and cow in two fields", P([TE, b"Transfer-encoding: cow"], CH), 400),
        ("parameter", P([b"Transfer-Encoding: chunked;q=1"], CH), 501),
        ("empty", P([b"Transfer-Encoding:"], CH), 400),
        ("empty beside length", P([b"Transfer-Encoding:", b"Content-Length: 3"], b"abc"), 400),
        ("folded value", P([b"Transfer-Encoding:\r\n chunked"], CH), 400),
        ("folded value with tab", P([b"Transfer-Encoding:\r\n\tchunked"], CH), 400),
        ("folded behind another field", P([b"X: y\r\n Transfer-Encoding: chunked", b"Content-Length: 3"], b"abc"), 400),
        ("behind a bare LF", P([b"X: y\nTransfer-Encoding: chunked"], CH), 400),
        ("behind a bare CR", P([b"X: y\rTransfer-Encoding: chunked"], CH), 400),
        ("behind a NUL", P([b"X: y\0Transfer-Encoding: chunked"], CH), 400),
        ("first, after a space", b"POST /p HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\n\r\n" + CH, 400),
        ("underscore", P([b"Transfer_Encoding: chunked"], CH), Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\n"), then=400)),
        (
            "underscore beside length",
            P([b"Transfer_Encoding: chunked", b"Content-Length: 3"], b"abc"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        (
            "dot for the hyphen",
            P([b"Transfer.Encoding: chunked"], CH),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\n"), then=400),
        ),
        ("a byte above 127 in the name", P([b"Transfer-Encoding\xff: chunked"], CH), 400),
        ("a control byte before the name", P([b"\x01Transfer-Encoding: chunked"], CH), 400),
        ("X-Transfer-Encoding", P([b"X-Transfer-Encoding: chunked", b"Content-Length: 3"], b"abc"), SAME),
        ("in the body only", P([b"Content-Length: 28"], b"Transfer-Encoding: chunked\r\n"), SAME),
        (
            "TE beside Transfer-Encoding",
            P([b"TE: chunked", TE], CH),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
    ),
    # Content-Length.
    *_cases(
        "Content-Length",
        ("twice, different", P([b"Content-Length: 3", b"Content-Length: 4"], b"abcd"), 400),
        ("twice, the same", P([b"Content-Length: 3", b"Content-Length: 3"], b"abc"), 400),
        ("list of the same", P([b"Content-Length: 3, 3"], b"abc"), 400),
        ("list of different ones", P([b"Content-Length: 3, 4"], b"abcd"), 400),
        ("plus", P([b"Content-Length: +3"], b"abc"), 400),
        ("minus", P([b"Content-Length: -3"], b"abc"), 400),
        ("minus zero", P([b"Content-Length: -0"]), 400),
        ("hexadecimal", P([b"Content-Length: 0x3"], b"abc"), 400),
        ("letter behind", P([b"Content-Length: 3a"], b"abc"), 400),
        ("fraction", P([b"Content-Length: 3.0"], b"abc"), 400),
        ("exponent", P([b"Content-Length: 3e0"], b"abc"), 400),
        ("underscore within", P([b"Content-Length: 1_0"], b"abcdefghij"), 400),
        ("space within", P([b"Content-Length: 1 0"], b"abcdefghij"), 400),
        (
            "leading zeros",
            P([b"Content-Length: 003"], b"abc"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        (
            "zeros alone",
            P([b"Content-Length: 00"], SMUGGLED),
            Sent(
                As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"),
                As(b"GET /admin HTTP/1.1\r\nHost: a\r\n"),
            ),
        ),
        (
            "twenty digits",
            P([b"Content-Length: 00000000000000000003"], b"abc"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        ("twenty-one digits", P([b"Content-Length: 000000000000000000003"], b"abc"), 400),
        ("Arabic digits", P([b"Content-Length: \xd9\xa3"], b"abc"), 400),
        ("superscript three", P([b"Content-Length: \xb3"], b"abc"), 400),
        ("empty", P([b"Content-Length:"], b""), 400),
        ("empty, with bytes behind", P([b"Content-Length: "], SMUGGLED), 400),
        ("quoted", P([b'Content-Length: "3"'], b"abc"), 400),
        ("semicolon", P([b"Content-Length: 3;x"], b"abc"), 400),
        ("2**64 + 3", P([b"Content-Length: 18446744073709551619"], b"abc"), 400),
        ("2**64 - 1", P([b"Content-Length: 18446744073709551615"], b"abc"), 413),
        ("2**63", P([b"Content-Length: 9223372036854775808"], b"abc"), 413),
        ("a hundred digits", P([b"Content-Length: " + b"1" * 100], b"abc"), 400),
        ("trailing space", P([b"Content-Length: 3 "], b"abc"), SAME),
        ("trailing tab", P([b"Content-Length: 3\t"], b"abc"), SAME),
        ("leading tab", P([b"Content-Length:\t3"], b"abc"), SAME),
        ("vertical tab", P([b"Content-Length: \x0b3"], b"abc"), 400),
        ("space before the colon", P([b"Content-Length : 3"], b"abc"), 400),
        ("underscore in the name", P([b"Content_Length: 3"], b""), Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\n"))),
        (
            "underscore in the name beside the right one",
            P([b"Content_Length: 30", b"Content-Length: 3"], b"abc"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        (
            "underscore in the name beside chunked",
            P([b"Content_Length: 30", TE], CH),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        ("folded", P([b"Content-Length:\r\n 3"], b"abc"), 400),
        ("folded digits", P([b"Content-Length: 1\r\n 0"], b"abcdefghij"), 400),
        ("behind a bare LF", P([b"X: y\nContent-Length: 33"], SMUGGLED), 400),
        ("behind a bare CR", P([b"X: y\rContent-Length: 33"], SMUGGLED), 400),
        ("NUL behind", P([b"Content-Length: 3\0"], b"abc"), 400),
        ("more than comes", P([b"Content-Length: 30"], b"abc"), Broken(0)),
        ("less than comes", P([b"Content-Length: 3"], b"abc" + SMUGGLED), SAME),
        ("of a GET", P([b"Content-Length: 32"], SMUGGLED, b"GET /p HTTP/1.1"), SAME),
        ("of a HEAD", P([b"Content-Length: 3"], b"abc", b"HEAD /p HTTP/1.1"), SAME),
        ("zero of a GET", P([b"Content-Length: 0"], SMUGGLED, b"GET /p HTTP/1.1"), SAME),
    ),
    # Chunks.
    *_cases(
        "Chunks",
        ("plain", P([TE], CH), SAME),
        ("hexadecimal, both cases", P([TE], b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), SAME),
        ("leading zeros", P([TE], b"0003\r\nabc\r\n000\r\n\r\n"), SAME),
        ("0x prefix", P([TE], b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
        ("plus", P([TE], b"+3\r\nabc\r\n0\r\n\r\n"), 400),
        ("minus", P([TE], b"-3\r\nabc\r\n0\r\n\r\n"), 400),
        ("leading space", P([TE], b" 3\r\nabc\r\n0\r\n\r\n"), 400),
        ("trailing space", P([TE], b"3 \r\nabc\r\n0\r\n\r\n"), 400),
        ("trailing tab", P([TE], b"3\t\r\nabc\r\n0\r\n\r\n"), 400),
        ("underscore", P([TE], b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), 400),
        ("letter that is no digit", P([TE], b"3g\r\nabc\r\n0\r\n\r\n"), 400),
        ("no size", P([TE], b"\r\nabc\r\n0\r\n\r\n"), 400),
        ("size of seventeen digits", P([TE], b"10000000000000003\r\nabc\r\n0\r\n\r\n"), 400),
        (
            "size of thirty zeros",
            P([TE], b"0" * 30 + b"3\r\nabc\r\n0\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        ("size of 2**63", P([TE], b"8000000000000000\r\nabc"), Broken(0)),
        ("size of 2**64 - 1", P([TE], b"ffffffffffffffff\r\nabc"), Broken(0)),
        ("bare LF behind the size", P([TE], b"3\nabc\r\n0\r\n\r\n"), 400),
        ("bare CR behind the size", P([TE], b"3\rabc\r\n0\r\n\r\n"), 400),
        ("bare LF behind the data", P([TE], b"3\r\nabc\n0\r\n\r\n"), Broken(400)),
        ("nothing behind the data", P([TE], b"3\r\nabc0\r\n\r\n"), Broken(400)),
        ("data longer than its size", P([TE], b"3\r\nabcd\r\n0\r\n\r\n"), Broken(400)),
        ("two bytes that are no line end", P([TE], b"3\r\nabcXX0\r\n\r\n"), Broken(400)),
        ("CR CR LF behind the size", P([TE], b"3\r\r\nabc\r\n0\r\n\r\n"), 400),
        ("bare LF at the end", P([TE], b"3\r\nabc\r\n0\r\n\n"), Broken(400)),
        ("bare LF behind the last size", P([TE], b"3\r\nabc\r\n0\n\r\n"), Broken(400)),
        ("extension", P([TE], b"3;a=b\r\nabc\r\n0\r\n\r\n"), SAME),
        ("extension without value", P([TE], b"3;a\r\nabc\r\n0;b\r\n\r\n"), SAME),
        ("extension, quoted", P([TE], b'3;a="b\\"c"\r\nabc\r\n0\r\n\r\n'), SAME),
        ("extension, a quoted line end", P([TE], b'3;a="\r\nabc\r\n0\r\n\r\n'), 400),
        ("extension with a bare LF (TERM.EXT)", P([TE], b"3;\nxx\r\nabc\r\n0\r\n\r\n"), 400),
        ("extension with a bare CR", P([TE], b"3;a\rb\r\nabc\r\n0\r\n\r\n"), 400),
        ("extension with a NUL", P([TE], b"3;a\0b\r\nabc\r\n0\r\n\r\n"), 400),
        ("extension after a space", P([TE], b"3 ;a=b\r\nabc\r\n0\r\n\r\n"), 400),
        ("empty extension", P([TE], b"3;\r\nabc\r\n0\r\n\r\n"), 400),
        ("semicolons", P([TE], b"3;;;\r\nabc\r\n0\r\n\r\n"), 400),
        ("endless extension", P([TE], b"3;" + b"a" * 100000), 431),
        (
            "extensions, a hundred thousand bytes of them",
            P([TE], b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nb\r\n" * 3000 + b"0\r\n\r\n"),
            Broken(431),
        ),
        ("comment behind the size", P([TE], b"3 # three\r\nabc\r\n0\r\n\r\n"), 400),
        (
            "bytes behind the end",
            P([TE], CH + b"GARBAGE\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc"), then=400),
        ),
        ("a request behind the end", P([TE], CH + SMUGGLED), SAME),
        ("a request in a chunk", P([TE], b"20\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"), SAME),
        ("the end is missing", P([TE], b"3\r\nabc\r\n"), Broken(0)),
        ("GET", P([TE], CH, b"GET /p HTTP/1.1"), SAME),
    ),
    # Trailers.
    *_cases(
        "Trailers",
        ("plain", P([TE], b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n"), SAME),
        ("Content-Length", P([TE], b"3\r\nabc\r\n0\r\nContent-Length: 50\r\n\r\n"), Broken(400)),
        ("Transfer-Encoding", P([TE], b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), Broken(400)),
        (
            "Host",
            P([TE], b"3\r\nabc\r\n0\r\nHost: b\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        (
            "X-Forwarded-For",
            P([TE], b"3\r\nabc\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        (
            "X_Forwarded_For",
            P([TE], b"3\r\nabc\r\n0\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        (
            "Authorization and Cookie",
            P([TE], b"3\r\nabc\r\n0\r\nAuthorization: Basic eDp5\r\nCookie: a=b\r\nX: y\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc", [(b"x", b"y")])),
        ),
        (
            "Connection",
            P([TE], b"3\r\nabc\r\n0\r\nConnection: close\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc")),
        ),
        ("folded", P([TE], b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"), Broken(400)),
        ("bare LF", P([TE], b"3\r\nabc\r\n0\r\nX: y\nZ: z\r\n\r\n"), Broken(400)),
        ("space before the colon", P([TE], b"3\r\nabc\r\n0\r\nX : y\r\n\r\n"), Broken(400)),
        ("no colon", P([TE], b"3\r\nabc\r\n0\r\nGET /admin HTTP/1.1\r\n\r\n"), Broken(400)),
        (
            "a hundred thousand bytes",
            P([TE], b"3\r\nabc\r\n0\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyy\r\n" * 4000 + b"\r\n"),
            Broken(431),
        ),
        (
            "Trailer field announces them",
            P([TE, b"Trailer: X-Checksum"], b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc", [(b"x-checksum", b"1")])),
        ),
    ),
    # Line ends and white space.
    *_cases(
        "Line ends and white space",
        ("bare LF everywhere", b"GET /p HTTP/1.1\nHost: a\n\n", 400),
        ("bare LF behind the request line", b"GET /p HTTP/1.1\nHost: a\r\n\r\n", 400),
        ("bare LF behind a field", b"GET /p HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        ("bare LF at the end", b"GET /p HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("bare CR behind the request line", b"GET /p HTTP/1.1\rHost: a\r\n\r\n", 400),
        ("bare CR in a value", G(b"X: a\rb"), 400),
        ("CR CR LF", b"GET /p HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
        ("CR at the end", b"GET /p HTTP/1.1\r\nHost: a\r\n\r\r\n", 400),
        ("LF in a target", b"GET /p\nX HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("NUL in a value", G(b"X: a\0b"), 400),
        ("NUL in a name", G(b"X\0Y: a"), 400),
        ("NUL in the target", b"GET /p\0q HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("control byte in a value", G(b"X: a\x01b"), 400),
        ("DEL in a value", G(b"X: a\x7fb"), 400),
        ("escape in a value", G(b"X: a\x1b[0m"), 400),
        ("tab in a value", G(b"X: a\tb"), SAME),
        ("folded value", G(b"X: a\r\n b"), 400),
        ("folded with a tab", G(b"X: a\r\n\tb"), 400),
        ("fold at the first field", b"GET /p HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400),
        ("fold that is empty", G(b"X: a\r\n "), 400),
        ("space before a colon", G(b"X : y"), 400),
        ("space before the Host's colon", b"GET /p HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("space in a name", G(b"X Y: a"), 400),
        ("space before a name", G(b" X: a"), 400),
        ("no colon", G(b"X"), 400),
        ("empty name", G(b": y"), 400),
        ("colon alone", G(b":"), 400),
        ("separators in a name", G(b"X(Y): a"), 400),
        ("quotes in a name", G(b'"X": a'), 400),
        ("at sign in a name", G(b"X@Y: a"), 400),
        ("a byte above 127 in a name", G(b"X\xe9: a"), 400),
        ("bytes above 127 in a value", G(b"X: \xe9\xff"), SAME),
        ("empty value", G(b"X:"), SAME),
        ("value of white space", G(b"X:  \t "), SAME),
        ("empty lines before", b"\r\n\r\n" + G(), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("bare LF before", b"\n" + G(), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("space before the method", b" GET /p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("NUL before the method", b"\0GET /p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("UTF-8 mark before the method", b"\xef\xbb\xbfGET /p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ),
    # Request line.
    *_cases(
        "Request line",
        (
            "two spaces before the target",
            b"GET  /p HTTP/1.1\r\nHost: a\r\n\r\n",
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "two spaces before the version",
            b"GET /p  HTTP/1.1\r\nHost: a\r\n\r\n",
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("tab before the target", b"GET\t/p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("tab before the version", b"GET /p\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("tab in the target", b"GET /p\tq HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("form feed in the target", b"GET /p\x0cq HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("vertical tab in the target", b"GET /p\x0bq HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("DEL in the target", b"GET /p\x7fq HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a field behind a bare LF in the target", b"GET /p\nHost:b HTTP/1.1\r\nHost: a\r\n\r\n", 505),
        ("another field behind a bare LF in the target", b"GET /p\nX:b HTTP/1.1\r\nHost: a\r\n\r\n", 505),
        ("space in the target", b"GET /p q HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a version in the target", b"GET /p HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("space behind the version", b"GET /p HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("HTTP/0.9", b"GET /p\r\n", Sent()),
        ("HTTP/0.9 with fields", b"GET /p\r\nHost: a\r\n\r\n", 505),
        ("HTTP/0.9 by name", b"GET /p HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("HTTP/1.0", b"GET /p HTTP/1.0\r\nHost: a\r\n\r\n", SAME),
        ("HTTP/1.0 without Host", b"GET /p HTTP/1.0\r\n\r\n", Sent(As(b"GET /p HTTP/1.1\r\nHost: \r\n"))),
        ("HTTP/1.2", b"GET /p HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("HTTP/1.10", b"GET /p HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        ("HTTP/1", b"GET /p HTTP/1\r\nHost: a\r\n\r\n", 400),
        ("HTTP/1.", b"GET /p HTTP/1.\r\nHost: a\r\n\r\n", 400),
        ("HTTP/01.1", b"GET /p HTTP/01.1\r\nHost: a\r\n\r\n", 400),
        ("HTTP/2.0", b"GET /p HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("HTTP/3.0", b"GET /p HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("HTTP/9.9", b"GET /p HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        ("http in lower case", b"GET /p http/1.1\r\nHost: a\r\n\r\n", 400),
        ("HTTPS/1.1", b"GET /p HTTPS/1.1\r\nHost: a\r\n\r\n", 400),
        ("RTSP/1.0", b"GET /p RTSP/1.0\r\nHost: a\r\n\r\n", Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("ICE/1.0", b"GET /p ICE/1.0\r\nHost: a\r\n\r\n", 400),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("lower case method", b"get /p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("unknown method", b"FROB /p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("method that begins like a known one", b"GETX /p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("method with a colon", b"GET: /p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("TRACE", b"TRACE /p HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("CONNECT with a body", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("SOURCE", b"SOURCE /p HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("empty line and nothing else", b"\r\n\r\n", Sent()),
        ("fragment", b"GET /p#f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("fragment in the query", b"GET /p?q#f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("asterisk", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("OPTIONS asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Sent(then=200)),
        ("relative", b"GET p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("dots", b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("encoded dots and slashes", b"GET /a/%2e%2e%2fb HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("dots above the root", b"GET /../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("encoded dots above the root", b"GET /a/%2e%2e%2f%2e%2e%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("dots above the root in a query", b"GET /a?/../../b HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("two slashes", b"GET //b/p HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("backslash", b"GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("encoded line end", b"GET /a%0d%0aX:%20y HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("encoded NUL", b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("broken encoding", b"GET /a%zz% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("bytes above 127", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("semicolon parameters", b"GET /a;x=/../b HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("too long", b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ),
    # Host.
    *_cases(
        "Host",
        ("missing", b"GET /p HTTP/1.1\r\n\r\n", 400),
        ("missing, and other fields", b"GET /p HTTP/1.1\r\nX: y\r\n\r\n", 400),
        ("empty", b"GET /p HTTP/1.1\r\nHost:\r\n\r\n", SAME),
        ("twice, different", b"GET /p HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("twice, the same", b"GET /p HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("twice in different case", b"GET /p HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400),
        ("list", b"GET /p HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("with user information", b"GET /p HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("with a path", b"GET /p HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("with a query", b"GET /p HTTP/1.1\r\nHost: a?b\r\n\r\n", 400),
        ("with a fragment", b"GET /p HTTP/1.1\r\nHost: a#b\r\n\r\n", 400),
        ("with a scheme", b"GET /p HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
        ("with a space", b"GET /p HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("with a tab", b"GET /p HTTP/1.1\r\nHost: a\tb\r\n\r\n", 400),
        ("with a port", b"GET /p HTTP/1.1\r\nHost: a:8080\r\n\r\n", SAME),
        ("with a port that is no number", b"GET /p HTTP/1.1\r\nHost: a:80b\r\n\r\n", 400),
        ("with two ports", b"GET /p HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
        ("with an empty port", b"GET /p HTTP/1.1\r\nHost: a:\r\n\r\n", SAME),
        ("a port alone", b"GET /p HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
        (
            "in upper case",
            b"GET /p HTTP/1.1\r\nHost: A.Example\r\n\r\n",
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a.example\r\n")),
        ),
        ("IPv6", b"GET /p HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", SAME),
        ("IPv6 without brackets", b"GET /p HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
        ("IPv6 that does not close", b"GET /p HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        ("IPv6 with bytes behind", b"GET /p HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400),
        ("percent-encoded", b"GET /p HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400),
        ("dot at the end", b"GET /p HTTP/1.1\r\nHost: a.\r\n\r\n", Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("dot alone", b"GET /p HTTP/1.1\r\nHost: .\r\n\r\n", 400),
        ("two dots alone", b"GET /p HTTP/1.1\r\nHost: ..\r\n\r\n", 400),
        ("two dots within", b"GET /p HTTP/1.1\r\nHost: a..b\r\n\r\n", 400),
        ("two dots at the end", b"GET /p HTTP/1.1\r\nHost: a..\r\n\r\n", 400),
        ("dot at the begin", b"GET /p HTTP/1.1\r\nHost: .a\r\n\r\n", 400),
        ("a port of six digits", b"GET /p HTTP/1.1\r\nHost: a:999999\r\n\r\n", 400),
        ("absolute target, dot at the begin", b"GET http://.b/p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("bytes above 127", b"GET /p HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", 400),
        ("quotes", b'GET /p HTTP/1.1\r\nHost: a"b\r\n\r\n', 400),
        ("angle brackets", b"GET /p HTTP/1.1\r\nHost: <a>\r\n\r\n", 400),
        ("a thousand bytes", b"GET /p HTTP/1.1\r\nHost: " + b"a" * 1000 + b"\r\n\r\n", 400),
        (
            "underscore in its name",
            b"GET /p HTTP/1.1\r\nH_ost: b\r\nHost: a\r\n\r\n",
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "X-Host, X-Forwarded-Host",
            G(b"X-Host: b", b"X-Forwarded-Host: b"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\nX-Host: b\r\n")),
        ),
        ("named by Connection", G(b"Connection: Host"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("absolute target", b"GET http://b/p HTTP/1.1\r\nHost: a\r\n\r\n", Sent(As(b"GET /p HTTP/1.1\r\nHost: b\r\n"))),
        ("absolute target without Host", b"GET http://b/p HTTP/1.1\r\n\r\n", 400),
        ("absolute target, two Hosts", b"GET http://b/p HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (
            "absolute target, no path",
            b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n",
            Sent(As(b"GET / HTTP/1.1\r\nHost: b\r\n")),
        ),
        (
            "absolute target, query only",
            b"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n",
            Sent(As(b"GET /?q HTTP/1.1\r\nHost: b\r\n")),
        ),
        ("absolute target with user information", b"GET http://a@b/p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("absolute target, empty host", b"GET http:///p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("absolute target with backslash", b"GET http://b\\@a/p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "absolute target, https",
            b"GET https://b/p HTTP/1.1\r\nHost: a\r\n\r\n",
            Sent(As(b"GET /p HTTP/1.1\r\nHost: b\r\n")),
        ),
        ("absolute target, another scheme", b"GET ftp://b/p HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "absolute target, upper case",
            b"GET HTTP://B/p HTTP/1.1\r\nHost: a\r\n\r\n",
            Sent(As(b"GET /p HTTP/1.1\r\nHost: b\r\n")),
        ),
        ("scheme-relative target", b"GET //b/p HTTP/1.1\r\nHost: a\r\n\r\n", SAME),
        ("authority as target", b"GET b:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("javascript as target", b"GET javascript:alert(1) HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ),
    # Connection, forwarding, upgrades, expectations.
    *_cases(
        "Connection, forwarding, upgrades, expectations",
        (
            "Connection names X-Forwarded-For",
            G(b"Connection: close, X-Forwarded-For", b"X-Forwarded-For: 1.2.3.4"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Connection names Cookie",
            G(b"Connection: Cookie", b"Cookie: a=b"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Connection names Authorization",
            G(b"Connection: keep-alive, Authorization", b"Authorization: Basic eDp5"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("Connection names itself", G(b"Connection: Connection"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        (
            "Connection names our field",
            G(b"Connection: X-Forwarded-Proto"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Connection twice",
            G(b"Connection: X-A", b"Connection: X-B", b"X-A: 1", b"X-B: 2", b"X-C: 3"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\nX-C: 3\r\n")),
        ),
        (
            "Connection with odd white space",
            G(b"Connection: \t X-A\t,, X-B ,", b"X-A: 1", b"X-B: 2"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("Proxy-Connection", G(b"Proxy-Connection: keep-alive"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        (
            "Proxy-Connection: upgrade",
            G(b"Proxy-Connection: upgrade", b"Upgrade: websocket") + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), As(b"GET /admin HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("Keep-Alive", G(b"Keep-Alive: timeout=5"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        (
            "TE: trailers",
            G(b"TE: trailers", b"Connection: TE"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n")),
        ),
        ("TE: gzip", G(b"TE: gzip", b"Connection: TE"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("X-Forwarded-For", G(b"X-Forwarded-For: 1.2.3.4"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("X_Forwarded_For", G(b"X_Forwarded_For: 1.2.3.4"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        ("X.Forwarded.For", G(b"X.Forwarded.For: 1.2.3.4"), Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        (
            "X-Forwarded-Proto and others",
            G(
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Port: 443",
                b"X-Forwarded-Server: b",
                b"Forwarded: for=1.2.3.4",
            ),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("Proxy (httpoxy)", G(b"Proxy: http://evil"), SAME),
        (
            "Upgrade: h2c",
            G(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
            + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), As(b"GET /admin HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade: h2c without settings",
            G(b"Connection: Upgrade", b"Upgrade: h2c"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade: websocket, h2c",
            G(b"Connection: Upgrade", b"Upgrade: websocket, h2c"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade: H2C in upper case",
            G(b"Connection: upgrade", b"Upgrade: H2C"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade in two fields, h2c last",
            G(b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade without Connection",
            G(b"Upgrade: websocket") + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), As(b"GET /admin HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade that is declined, a request behind it",
            G(b"Connection: Upgrade", b"Upgrade: websocket") + SMUGGLED,
            Sent(
                As(b"GET /p HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"),
                As(b"GET /admin HTTP/1.1\r\nHost: a\r\n"),
            ),
        ),
        (
            "Upgrade with a body",
            P([b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3"], b"abc" + SMUGGLED),
            Sent(
                As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc"),
                As(b"GET /admin HTTP/1.1\r\nHost: a\r\n"),
            ),
        ),
        (
            "Upgrade with chunks",
            P([b"Connection: Upgrade", b"Upgrade: websocket", TE], CH + SMUGGLED),
            Sent(
                As(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", b"abc"),
                As(b"GET /admin HTTP/1.1\r\nHost: a\r\n"),
            ),
        ),
        (
            "Upgrade in HTTP/1.0",
            G(b"Connection: Upgrade", b"Upgrade: websocket", line=b"GET /p HTTP/1.0"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Upgrade, body of both",
            P([b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", TE], CH),
            400,
        ),
        (
            "Upgrade: TLS/1.0",
            G(b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Expect of a GET",
            G(b"Expect: 100-continue") + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), As(b"GET /admin HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "Expect with a body at once",
            P([b"Expect: 100-continue", b"Content-Length: 3"], b"abc" + SMUGGLED),
            Sent(
                As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc"),
                As(b"GET /admin HTTP/1.1\r\nHost: a\r\n"),
            ),
        ),
        (
            "Expect in upper case",
            P([b"Expect: 100-CONTINUE", b"Content-Length: 3"], b"abc"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        ("Expect something else", P([b"Expect: 200-ok", b"Content-Length: 3"], b"abc"), 417),
        ("Expect, obfuscated", P([b"Expect: 100-continue, x", b"Content-Length: 3"], b"abc"), 417),
        ("Expect in two fields", P([b"Expect: x", b"Expect: 100-continue", b"Content-Length: 3"], b"abc"), 417),
        ("Expect, empty", P([b"Expect:", b"Content-Length: 3"], b"abc"), 417),
        (
            "Expect in HTTP/1.0",
            P([b"Expect: 100-continue", b"Content-Length: 3"], b"abc", b"POST /p HTTP/1.0"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc")),
        ),
        ("X-HTTP-Method-Override", G(b"X-HTTP-Method-Override: DELETE"), SAME),
        ("X-Original-URL and X-Rewrite-URL", G(b"X-Original-URL: /admin", b"X-Rewrite-URL: /admin"), SAME),
        ("Max-Forwards", G(b"Max-Forwards: 0"), SAME),
        ("Range, many", G(b"Range: bytes=" + b"0-0," * 1000 + b"0-0"), SAME),
    ),
    # One behind the other.
    *_cases(
        "One behind the other",
        ("two", G() + G(line=b"GET /q HTTP/1.1"), SAME),
        ("fifty", G() * 50, SAME),
        ("close, and one behind it", G(b"Connection: close") + SMUGGLED, Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"))),
        (
            "close in upper case, and one behind it",
            G(b"Connection: CLOSE") + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        (
            "close among others, and one behind it",
            G(b"Connection: keep-alive, close") + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("HTTP/1.0, and one behind it", G(line=b"GET /p HTTP/1.0") + SMUGGLED, SAME),
        (
            "HTTP/1.0 kept alive, and one behind it",
            G(b"Connection: keep-alive", line=b"GET /p HTTP/1.0") + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), As(b"GET /admin HTTP/1.1\r\nHost: a\r\n")),
        ),
        ("garbage behind", G() + b"\x16\x03\x01garbage\r\n\r\n", Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), then=400)),
        (
            "garbage behind a body",
            P([b"Content-Length: 3"], b"abcGARBAGE"),
            Sent(As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc"), then=400),
        ),
        (
            "a line end too many behind a body",
            P([b"Content-Length: 3"], b"abc\r\n" + SMUGGLED),
            Sent(
                As(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", b"abc"),
                As(b"GET /admin HTTP/1.1\r\nHost: a\r\n"),
            ),
        ),
        ("half a request behind", G() + b"GET /admin HT", SAME),
        (
            "a bad one behind a good one",
            G() + b"GET /q HTTP/1.1\r\n\r\n" + SMUGGLED,
            Sent(As(b"GET /p HTTP/1.1\r\nHost: a\r\n"), then=400),
        ),
        ("a good one behind an early answer", P([b"Content-Length: 3", b"Expect: nothing"], b"abc" + SMUGGLED), 417),
        ("a hundred and one fields", G(*[b"X: y"] * 101), 431),
        ("a large head", G(b"X: " + b"y" * 40000), 431),
        ("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 64, 400),
        ("an SMTP greeting", b"EHLO example.com\r\nMAIL FROM:<a@b>\r\n", 501),
        ("a Redis command", b"*1\r\n$4\r\nPING\r\n", 501),
        ("a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 501),
        ("a PROXY line where none is expected", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + G(), 501),
    ),
]
