"""
A request: who asks for what, and its way from the head to the resource that answers.

To third parties it is a ``twisted.web.server.Request`` (``http.twistedrequest``).  Our own resources and policies use
the smaller interface of docs/architecture.rst.  The way back is ``http.response``.
"""

from __future__ import annotations

import tempfile
from copy import copy
from io import BytesIO
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import http, resource

from twistginx.config.networks import unmapped
from twistginx.config.units import Size
from twistginx.errors import ProxyError, Retry
from twistginx.http import requestid
from twistginx.http.body import RequestBody
from twistginx.http.lazy import lazy
from twistginx.http.message import Fields, Reply, RequestHead
from twistginx.http.response import Response, release
from twistginx.http.targets import quoted
from twistginx.http.wire import IDEMPOTENT

if TYPE_CHECKING:
    from twistginx.http.channel import Channel

#: How often a request may be given to another route.
_MOST_REROUTES = 10

#: What is known of a request by its target, and made when somebody asks.
_OF_THE_TARGET = (
    *("_segments", "args", "path", "postpath", "prepath", "sitepath", "target_path", "target_query", "uri"),
    *("captured", "matched_path", "retargeted", "routed_path"),
)

#: Bodies up to this size, in bytes, are kept in memory for resources that want them whole; larger ones in a file.
CONTENT_IN_MEMORY = 100_000


class Request(Response):
    """
    One request, being answered.

    :ivar head: as it was received.
    :ivar body: what is still arriving, or None.
    :ivar site: the virtual host, or None when none answers for the name.
    :ivar route: the route that was chosen, or None.
    :ivar status: what was answered; 0 until then.
    :ivar started: a final head has been written.
    :ivar ended: the response is complete, or given up.
    :ivar sent_bytes: of the response's body.
    :ivar source: what produces the response, or None.
    :ivar watcher: who wants to know that the client is gone, or None.
    :ivar upstream_name: the peer that answered, for the log.
    :ivar split: the name of the upstream that it was given to, where the route splits; else empty.
    :ivar remote_user: who has proved to be somebody to a policy of the route; empty where nobody has.
    :ivar vouched: names, in lower case, of fields of ``head`` that policies have put there, and nobody may take out.
    :ivar admitted: the policies of the route have been asked, and let it in.
    :ivar limits: what limits have granted, by what tells them apart, so that a request counts once for each, however
        many routes it comes to (``reroute``); None: nothing.
    :ivar shown: credentials that policies have accepted, by the name of the policy; None: none.  They may have been
        taken out of ``head``, where the policies of another route would miss them after ``reroute``.
    :ivar tunnel: of a request that became a tunnel: what is called when that ends; None where nobody would know.
    :ivar matched_path: the path, normalised; what routes match.  After a rewrite, what files are named by.
    :ivar routed_path: what ``matched_path`` was when the route was chosen; empty where nothing has been rewritten.
    :ivar captured: what the pattern of the route has captured, or None.
    :ivar reroutes: how often ``reroute`` has been called.
    """

    def __init__(self, channel: Channel, head: RequestHead, body: RequestBody | None) -> None:
        # Not Twisted's: what that makes is made below, when somebody asks.
        self.channel = channel
        self.head = head
        self.body = body
        self._began = monotonic()

    reroutes = 0

    # Who asks, and for what.

    @lazy
    def fields(self) -> Fields:
        return self.head.fields

    @lazy
    def target_path(self) -> bytes:
        route = self.route
        if route is None or not route.strip:
            return self.head.path
        left: bytes = route.stripped(self.head.path, self.matched_path)
        return left

    @lazy
    def target_query(self) -> bytes | None:
        """
        The query that the resource sees: that of the head, or what a rewrite has made of it.
        """
        return self.head.query

    def retarget(self, path: bytes, raw: bytes, query: bytes | None) -> None:
        """
        Show the resource another target than was sent: what is logged, and told by ``head``, stays as it was.

        :param path: normalised, as ``matched_path``, without what ``strip_prefix`` takes away.
        :param raw: the same as it is to be sent.
        """
        route = self.route
        prefix: bytes = route.prefix if route.strip else b""
        if not self.routed_path:
            self.routed_path = self.matched_path
        self.matched_path = prefix + path
        self.target_path = raw
        self.target_query = query
        self.retargeted = True
        # To resources of Twisted's, this is what was asked for.
        self.path = quoted(prefix) + raw
        self.uri = self.path if query is None else b"%b?%b" % (self.path, query)
        for made in ("args", "prepath", "postpath", "sitepath", "_segments"):
            self.__dict__.pop(made, None)

    @lazy
    def peer_ip(self) -> bytes:
        return self.channel.peer_ip

    @lazy
    def from_trusted(self) -> bool:
        site = self.site
        return site is not None and site.trusted is not None and site.trusted.contains(self.channel.peer_ip)

    @lazy
    def client_ip(self) -> bytes:
        site = self.site
        if site is None or site.trusted is None or not self.from_trusted:
            return self.channel.peer_ip
        # Right to left: the first address that is not a trusted proxy's is the client's (RFC 7239 section 5.2, for the
        # older field); what stands left of it is the client's own claim.
        trusts = self.site.trusted.contains
        address = self.channel.peer_ip
        for hop in reversed(self.head.fields.joined(b"x-forwarded-for").split(b",")):
            hop = _bare_address(hop.strip())  # noqa: PLW2901
            if not hop:
                break
            try:
                ip_address(hop.decode("ascii"))
            except ValueError:
                break  # no address: a claim that nobody can have checked
            address = hop
            if not trusts(address):
                break
        return address

    @lazy
    def scheme(self) -> bytes:
        if self.from_trusted:
            claimed = self.head.fields.first(b"x-forwarded-proto")
            if claimed is not None and claimed.strip().lower() in (b"http", b"https"):
                return claimed.strip().lower()
        return self.channel.scheme

    @property
    def repeatable(self) -> bool:
        """
        May another server be given it, after what has happened to it so far?
        """
        if self.body is not None and self.body.started:
            return False
        error = self.error
        return self.method in IDEMPOTENT or (error is not None and error.reason.retry is Retry.UNSENT)

    @lazy
    def request_id(self) -> bytes:
        """
        The name of this request: what a trusted proxy calls it, or a new one.
        """
        site = self.site
        if site is None or site.trusted is None or not self.from_trusted:
            return requestid.made()
        return requestid.accepted(self.head.first(requestid.LOWER)) or requestid.made()

    # From head to resource.

    def begin(self, site: Any) -> None:
        """
        Answer this request.  Called by the channel, once; never raises.
        """
        self.site = site
        try:
            if self.head.doubtful is not None:
                self._sort_out(self.head.doubtful)
            if site is None:
                self.fail(ProxyError("destination_not_found", "no site has this name"))
                return
            if site.trusted is None:
                self.client_ip = self.channel.peer_ip  # which nobody can say otherwise
            if site.identity is not None:
                site.identity.take_out(self.head)
            route = self.route = site.route_for(self)
            if route is None:
                if self.head.path == b"*":
                    self._handleStar()
                    return
                self.fail(ProxyError("destination_not_found", "no route matches"))
                return
            for received in route.received:
                received(self)
            body = self.body
            if body is not None:
                if self._asked is None:
                    body.unsayable = site.identity
                body.limit = route.body_limit
                # Of a chunked body, what came with the head has been counted, and no more.
                if (body.received if body.length is None else body.length) > route.body_limit:
                    self.fail(self.too_large())
                    return
            if self.ended:
                return
            if route.admit:
                self._admit(0)
            elif route.streaming:
                route.resource.render(self)
            else:
                self._render()
        except ProxyError as error:  # a refusal costs no Failure: there may be many
            self.fail(error.with_traceback(None))
        except Exception:
            self.processingFailed(Failure())

    def reroute(self, target: bytes) -> None:
        """
        Have the site answer for another target, as if the client had asked for that: its route, with the policies of
        this.  Nothing may have been taken of the body, or sent.

        The policies of the route that is left hear that the request has finished, when it has; they, and the log, see
        the head as it was received.

        :param target: a path, encoded, and a query.
        """
        if self.ended or self.started:
            return
        if self._asked is None:
            self._asked = self.head
        if self.route is not None:
            self._told = (*self._told, *self.route.finished)
            self.route = None
        self.admitted = False
        self.reroutes += 1
        if self.reroutes > _MOST_REROUTES:
            self.fail(ProxyError("proxy_internal_error", "routes that lead to each other"))
            return
        head = self.head = copy(self.head)
        head.target = target
        head.path, mark, query = target.partition(b"?")
        head.query = query if mark else None
        head.doubtful = None
        for known in _OF_THE_TARGET:
            self.__dict__.pop(known, None)
        self.begin(self.site)

    def refuse(self, error: ProxyError) -> None:
        """
        Answer what is no valid request.
        """
        self.site = None
        self.fail(error)

    def too_large(self) -> ProxyError:
        """
        The failure of a body that is larger than the route allows.
        """
        return ProxyError("request_body_too_large", setting=f"limits.body = {Size(self.route.body_limit)}")

    def _sort_out(self, doubtful: Fields) -> None:
        """
        Fields whose names might be taken for others: what the site allows goes back to the fields.
        """
        dropped = len(doubtful)
        if self.site is not None:
            kept, dropped = self.site.names.sort_out(doubtful)
            self.head.fields.extend(kept)
        self.channel.frontend.tally.dropped_fields += dropped

    def _admit(self, index: int) -> None:
        """
        Ask the policies from ``index`` on.
        """
        admit = self.route.admit
        while index < len(admit):
            outcome = admit[index](self)
            index += 1
            if outcome is None:
                if self.started:
                    return  # a policy that has answered by itself has not let anybody in
                continue
            if isinstance(outcome, Deferred):
                self._waiting = outcome
                outcome.addCallbacks(self._admitted, self._not_admitted, callbackArgs=(index,))
                return
            self._answer(outcome)
            return
        self.admitted = True
        self._render()

    def _answer(self, outcome: Any) -> None:
        """
        Answer what a policy has decided.
        """
        if not isinstance(outcome, Reply):
            name = type(outcome).__name__
            raise TypeError(f"a policy has decided {name}, which is neither None, nor a Reply, nor a Deferred of these")
        self.respond(outcome)

    def _admitted(self, outcome: Reply | None, index: int) -> None:
        if self.ended or self.started:
            if isinstance(outcome, Reply):
                release(outcome.body)
            return
        self._waiting = None
        try:
            if outcome is not None:
                self._answer(outcome)
            else:
                self._admit(index)
        except Exception:
            self.processingFailed(Failure())

    def _not_admitted(self, failure: Failure) -> None:
        """
        A policy that fails, fails closed.
        """
        if not self.ended:  # else it was cancelled: nobody waits for it
            self._waiting = None
            self.processingFailed(failure)

    def _render(self) -> None:
        route = self.route
        if route.streaming:
            route.resource.render(self)
        elif self.body is None:
            self._render_tree()
        else:
            self._untidy = True
            self._collected = self.content = (
                BytesIO() if (self.body.length or CONTENT_IN_MEMORY) <= CONTENT_IN_MEMORY else tempfile.TemporaryFile()
            )
            self.body.start(self)

    def body_data(self, data: bytes) -> None:
        """
        A piece of a body that is wanted whole.
        """
        content = self._collected
        if isinstance(content, BytesIO) and content.tell() + len(data) > CONTENT_IN_MEMORY:
            self._collected = self.content = tempfile.TemporaryFile()
            self._collected.write(content.getvalue())
            content = self._collected
        content.write(data)

    def body_end(self, trailers: Fields) -> None:
        """
        The body is whole.
        """
        if self.ended:
            return
        try:
            self._render_tree()
        except Exception:
            self.processingFailed(Failure())

    def _render_tree(self) -> None:
        """
        Any IResource, as twisted.web renders it.
        """
        if self.body is not None:
            # Parses forms into args, and calls process().
            http.Request.requestReceived(self, self.method, self.uri, self.clientproto)
        else:
            self.process()

    def process(self) -> None:
        """
        Called by Twisted's requestReceived: find the resource in the tree, and render it.
        """
        try:
            found = self.site.getResourceFor(self)
            if resource._IEncodingResource.providedBy(found):
                self._encoder = found.getEncoder(self)
            channel = self.channel
            transport = channel.transport
            self.render(found)
            if channel.transport is None:
                channel.taken_away(self, transport)
        except Exception:
            self.processingFailed(Failure())


def _bare_address(hop: bytes) -> bytes:
    """
    An entry of X-Forwarded-For without port and brackets.
    """
    if hop[:1] == b"[":
        hop = hop[1:].partition(b"]")[0]
    elif hop.count(b":") == 1:
        hop = hop.partition(b":")[0]
    return unmapped(hop.decode("latin-1")).encode("latin-1") if b"." in hop and b":" in hop else hop
