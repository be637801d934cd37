"""
What a request for a file is answered: the whole, parts of it, or that nothing has changed.
"""

from __future__ import annotations

from time import time

from twisted.internet.interfaces import IReactorTime

from twistginx.http.message import Fields, Reply, RequestHead
from twistginx.resources.conditions import GO_ON, NOT_MODIFIED, conditions_in, evaluate, range_holds
from twistginx.resources.multipart import content_range, multipart
from twistginx.resources.ranges import parse_range
from twistginx.resources.representation import KeptFile, OpenFile


def answer_to(head: RequestHead, file: KeptFile | OpenFile, reactor: IReactorTime) -> Reply:
    """
    The answer that the conditions and ranges of a request select (RFC 9110 sections 13.2 and 14.2).

    :param reactor: what gives other connections their turn, while parts of a large file are sent.
    """
    conditions = conditions_in(head.fields)
    representation = file.representation
    tag, modified, size = representation.tag, representation.modified, representation.size
    now = time()
    verdict = evaluate(conditions, tag, modified, now)
    if verdict == NOT_MODIFIED:
        return file.unchanged
    if verdict != GO_ON:
        return Reply(verdict)
    if head.method == b"HEAD":
        return Reply(200, representation.fields, b"", size)
    wanted = conditions.get(b"range")
    ranges = None
    if wanted is not None and range_holds(conditions, tag, modified, now):
        ranges = parse_range(wanted, size)
    if ranges is None:
        return file.whole
    if not ranges:
        return Reply(416, [(b"Content-Range", b"bytes */%d" % size)])
    if len(ranges) > 1:
        return multipart(file, ranges, reactor)
    start, length = ranges[0]
    partial = Fields(representation.fields)
    partial.add(b"Content-Range", content_range(start, length, size))
    return Reply(206, partial, file.part(start, length))


def with_digest(reply: Reply, digest: bytes) -> Reply:
    """
    The same answer, and what the digest of the whole is (RFC 9530 section 3): parts have it, too.
    """
    if reply.status not in (200, 206):
        return reply
    fields = Fields(reply.fields)
    fields.add(b"Repr-Digest", digest)
    return Reply(reply.status, fields, reply.body, reply.length)
