"""
No upstream server's answer is taken for another one, or for more or less than it is: tests of the whole way from the
server's bytes to the client's.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.http.smuggling.oracle import answered

OK = b"HTTP/1.1 200 OK\r\n"
CL = b"Content-Length: 3\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
CH = b"3\r\nabc\r\n0\r\n\r\n"

#: Passed on, and the connection is used again; or it is not.
WHOLE, LAST = "whole", "last"
#: Begun, and cut off.
CUT = "cut"

#: (what it is, what the server says, what the client gets: a status of ours, or WHOLE, LAST or CUT with the body abc).
ANSWERS: list[tuple[str, bytes, int | str]] = [
    ("length", OK + CL + b"\r\nabc", WHOLE),
    ("chunked", OK + TE + b"\r\n" + CH, WHOLE),
    ("until the end", OK + b"\r\nabc", LAST),
    ("HTTP/1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nabc", LAST),
    ("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\n" + CL + b"\r\nabc", LAST),
    ("HTTP/1.0 kept alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CL + b"\r\nabc", WHOLE),
    ("close", OK + b"Connection: close\r\n" + CL + b"\r\nabc", LAST),
    ("close in upper case", OK + b"Connection: CLOSE\r\n" + CL + b"\r\nabc", LAST),
    ("close among others", OK + b"Connection: foo, close\r\n" + CL + b"\r\nabc", LAST),
    ("close in a second field", OK + b"Connection: keep-alive\r\nConnection: close\r\n" + CL + b"\r\nabc", LAST),
    ("keep-alive", OK + b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n" + CL + b"\r\nabc", WHOLE),
    ("length and chunks", OK + CL + TE + b"\r\n" + CH, 502),
    ("chunks and length", OK + TE + CL + b"\r\n" + CH, 502),
    ("two lengths", OK + CL + b"Content-Length: 4\r\n\r\nabcd", 502),
    ("the same length twice", OK + CL + CL + b"\r\nabc", 502),
    ("a list of lengths", OK + b"Content-Length: 3, 3\r\n\r\nabc", 502),
    ("a length with a plus", OK + b"Content-Length: +3\r\n\r\nabc", 502),
    ("a negative length", OK + b"Content-Length: -3\r\n\r\nabc", 502),
    ("a hexadecimal length", OK + b"Content-Length: 0x3\r\n\r\nabc", 502),
    ("an empty length", OK + b"Content-Length:\r\n\r\nabc", 502),
    ("a length with white space around", OK + b"Content-Length: \t3 \r\n\r\nabc", WHOLE),
    ("a length of 2**64", OK + b"Content-Length: 18446744073709551616\r\n\r\nabc", 502),
    ("a space before the colon of the length", OK + b"Content-Length : 3\r\n\r\nabc", 502),
    ("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + TE + b"\r\n" + CH, 502),
    ("chunks twice", OK + TE + TE + b"\r\n" + CH, 502),
    ("gzip, chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CH, 502),
    ("identity", OK + b"Transfer-Encoding: identity\r\n" + CL + b"\r\nabc", 502),
    ("xchunked", OK + b"Transfer-Encoding: xchunked\r\n\r\n" + CH, 502),
    ("chunked with a vertical tab", OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CH, 502),
    ("chunked in upper case", OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + CH, WHOLE),
    ("chunked behind a fold", OK + b"X: y\r\n Transfer-Encoding: chunked\r\n" + CL + b"\r\nabc", 502),
    ("chunked behind a bare LF", OK + b"X: y\nTransfer-Encoding: chunked\r\n" + CL + b"\r\nabc", 502),
    ("chunked behind a bare CR", OK + b"X: y\rTransfer-Encoding: chunked\r\n" + CL + b"\r\nabc", 502),
    ("chunked hidden by Connection", OK + b"Connection: Transfer-Encoding\r\n" + TE + b"\r\n" + CH, WHOLE),
    ("length hidden by Connection", OK + b"Connection: Content-Length\r\n" + CL + b"\r\nabc", WHOLE),
    ("a bad chunk", OK + TE + b"\r\n3\r\nabc\r\nzz\r\n", 502),
    ("a chunk without its line end", OK + TE + b"\r\n3\r\nabc0\r\n\r\n", 502),
    ("a chunk with a bare LF", OK + TE + b"\r\n3\nabc\r\n0\r\n\r\n", 502),
    ("a chunk size that overflows", OK + TE + b"\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", 502),
    ("extensions", OK + TE + b"\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n", WHOLE),
    ("trailers", OK + TE + b"\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", WHOLE),
    ("trailers that frame", OK + TE + b"\r\n3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", 502),
    ("no end", OK + CL + b"\r\nab", CUT),
    ("no last chunk", OK + TE + b"\r\n3\r\nabc\r\n", CUT),
    ("no end of the trailers", OK + TE + b"\r\n3\r\nabc\r\n0\r\nX: y\r\n", CUT),
    ("bytes behind a length", OK + CL + b"\r\nabcd", LAST),
    ("an answer behind a length", OK + CL + b"\r\nabc" + OK + CL + b"\r\nabc", LAST),
    ("bytes behind chunks", OK + TE + b"\r\n" + CH + b"x", LAST),
    ("an answer behind chunks", OK + TE + b"\r\n" + CH + OK + CL + b"\r\nabc", LAST),
    ("an interim before", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK + CL + b"\r\nabc", WHOLE),
    ("100 before, unasked", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + CL + b"\r\nabc", WHOLE),
    ("an interim with a body", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc" + OK + CL + b"\r\nabc", 502),
    ("interims without end", b"HTTP/1.1 102 Processing\r\n\r\n" * 5000, 502),
    ("no answer behind an interim", b"HTTP/1.1 103 Early Hints\r\n\r\n", 502),
    ("a large head", OK + b"X: " + b"y" * 70000 + b"\r\n" + CL + b"\r\nabc", 502),
    ("an empty line before", b"\r\n" + OK + CL + b"\r\nabc", WHOLE),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n" + CL + b"\r\nabc", 502),
    ("HTTP/0.9", b"abc", 502),
    ("HTTP/1.2", b"HTTP/1.2 200 OK\r\n" + CL + b"\r\nabc", 502),
    ("http in lower case", b"http/1.1 200 OK\r\n" + CL + b"\r\nabc", 502),
    ("RTSP", b"RTSP/1.0 200 OK\r\n" + CL + b"\r\nabc", 502),
    ("status 000", b"HTTP/1.1 000 Zero\r\n" + CL + b"\r\nabc", 502),
    ("status 99", b"HTTP/1.1 99 Low\r\n" + CL + b"\r\nabc", 502),
    ("status 1000", b"HTTP/1.1 1000 High\r\n" + CL + b"\r\nabc", 502),
    ("a status with a sign", b"HTTP/1.1 +20 OK\r\n" + CL + b"\r\nabc", 502),
    ("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 502),
    ("101, unasked", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc", 502),
    ("no reason phrase", b"HTTP/1.1 200\r\n" + CL + b"\r\nabc", WHOLE),
    ("a reason phrase of bytes above 127", b"HTTP/1.1 200 \xe9\r\n" + CL + b"\r\nabc", WHOLE),
    ("a bare LF behind the status line", b"HTTP/1.1 200 OK\n" + CL + b"\r\nabc", 502),
    ("a bare CR in the reason phrase", b"HTTP/1.1 200 O\rK\r\n" + CL + b"\r\nabc", 502),
    ("a NUL in a value", OK + b"X: a\0b\r\n" + CL + b"\r\nabc", 502),
    ("control bytes in the reason phrase", b"HTTP/1.1 200 O\0K\x11\r\n" + CL + b"\r\nabc", WHOLE),
    ("a space in a name", OK + b"X Y: z\r\n" + CL + b"\r\nabc", 502),
    ("no colon", OK + b"XY\r\n" + CL + b"\r\nabc", 502),
    ("an empty name", OK + b": y\r\n" + CL + b"\r\nabc", 502),
    ("a fold", OK + b"X: y\r\n z\r\n" + CL + b"\r\nabc", 502),
    ("a fold of the first field", b"HTTP/1.1 200 OK\r\n X: y\r\n" + CL + b"\r\nabc", 502),
    (
        "hop-by-hop fields",
        OK + b"Connection: X-A\r\nX-A: 1\r\nProxy-Connection: x\r\nTE: x\r\n" + CL + b"\r\nabc",
        WHOLE,
    ),
    ("fields that we say too", OK + b"Date: now\r\nServer: me\r\nX-Request-ID: 1\r\n" + CL + b"\r\nabc", WHOLE),
]

#: Fields that are of one connection.
_HOPS = {b"proxy-connection", b"te", b"x-a", b"keep-alive", b"upgrade", b"trailer"}


class AnswerTests(SynchronousTestCase):
    """
    The table of answers.
    """

    def check(self, raw: bytes, pieces: list[bytes], verdict: int | str, method: bytes) -> None:
        """
        Hold what the client gets against the verdict.
        """
        answer = answered(pieces, method)
        whole_read = len(pieces) == 1
        if isinstance(verdict, int):
            if not whole_read and answer.status == 200:
                self.assertFalse(answer.whole)  # it was begun when the fault came
            else:
                self.assertEqual((answer.status, answer.whole), (verdict, True))
            self.assertFalse(answer.reused)
            return
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.whole, verdict != CUT)
        if verdict != CUT:
            self.assertEqual(answer.body, b"abc")
        if whole_read:
            self.assertEqual(answer.reused, verdict == WHOLE)
        elif verdict != WHOLE:
            self.assertFalse(answer.reused and raw.endswith(b"\r\nabc"))
        names = [name for name, _ in answer.fields]
        self.assertEqual(_HOPS & set(names), set())
        for name in (b"date", b"server", b"x-request-id", b"connection", b"content-length", b"transfer-encoding"):
            self.assertLess(names.count(name), 2, name)

    def test_table(self) -> None:
        """
        Each is passed on whole, or refused, or visibly cut off, however its bytes are cut.
        """
        random = Random(11)
        failed = []
        for name, raw, verdict in ANSWERS:
            ways = [[raw]]
            if len(raw) < 1000:
                ways.append([raw[at : at + 1] for at in range(len(raw))])
                places = [0, *sorted(random.sample(range(1, len(raw)), 2)), len(raw)]
                ways.append([raw[a:b] for a, b in pairwise(places)])
            for number, pieces in enumerate(ways):
                try:
                    self.check(raw, pieces, verdict, b"GET")
                except AssertionError as error:
                    failed.append(f"{name} (cut {number}): {error}")
        self.assertEqual(failed, [], "\n" + "\n".join(failed))

    def test_head(self) -> None:
        """
        To a HEAD no byte of a body is passed on, and what comes as one spoils the connection.
        """
        for fields, body in ((CL, b"abc"), (TE, CH), (b"", b"abc")):
            bare = answered([OK + fields + b"\r\n"], b"HEAD")
            self.assertEqual((bare.status, bare.body, bare.whole), (200, b"", True), fields)
            self.assertEqual(bare.reused, fields != TE, fields)
            answer = answered([OK + fields + b"\r\n" + body], b"HEAD")
            self.assertEqual((answer.status, answer.body, answer.whole, answer.reused), (200, b"", True, False), fields)

    def test_bodiless(self) -> None:
        """
        Nor behind a 204 or a 304.
        """
        for line in (b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 304 Not Modified\r\n"):
            for fields in (b"", CL):
                bare = answered([line + fields + b"\r\n"])
                self.assertEqual((bare.status, bare.whole, bare.reused), (int(line[9:12]), True, True))
                answer = answered([line + fields + b"\r\nabc"])
                self.assertEqual((answer.status, answer.body, answer.whole), (int(line[9:12]), b"", True))
                self.assertFalse(answer.reused)

    def test_reset(self) -> None:
        """
        What only an orderly end would end is broken by a reset.
        """
        answer = answered([OK + b"\r\nabc"], clean=False)
        self.assertEqual((answer.status, answer.whole), (200, False))
        answer = answered([OK + CL + b"\r\nabc"], clean=False)
        self.assertEqual((answer.status, answer.whole), (200, True))
