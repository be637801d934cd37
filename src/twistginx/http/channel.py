"""
One client's HTTP/1.1 connection: THE HOT PATH.

Bytes come in at ``dataReceived``, go through the parser, and leave it as messages.  One request is answered at a time,
in order (RFC 9112 section 9.3); what is pipelined behind it waits in the parser, and reading stops while it does, so
that a connection never holds more than one read.

A connection has one deadline at any time, and says by ``_limit`` what it means.  It keeps its listener, and takes the
listener's live frontend for each request anew: that is all that a reload has to change.

It is one file, longer than others, because body, deadlines and flow control are decided by one state, that of the one
request that is being answered: in two files, each would have to be read with the other.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import maxsize
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistginx.config.networks import unmapped
from twistginx.errors import ProxyError
from twistginx.http.body import RequestBody
from twistginx.http.ending import Ending
from twistginx.http.message import RequestHead
from twistginx.http.parser import RequestParser
from twistginx.http.request import Request
from twistginx.http.wire import CONTINUE
from twistginx.net.guest import Guest
from twistginx.net.handover import hand_over
from twistginx.net.proxyprotocol import ProxyHeader
from twistginx.net.relay import RelayEnd
from twistginx.net.timers import NEVER

if TYPE_CHECKING:
    from twistginx.http.frontend import Frontend

#: How long, in seconds, a client may go on sending after it was answered early, so that it reads the answer.
LINGER = 5.0

#: How long, in seconds, the rate of a body is averaged over.
RATE_WINDOW = 30.0

#: The status of a WebSocket that is closed because we go (RFC 6455 section 7.4.1).
_GOING_AWAY = 1001

#: Characters of a path in the log of what was cut, at most.
_LOGGED = 200

#: Bytes that a client may send after an upgrade request before that is answered.
_LEFTOVER = 65536


@implementer(IPushProducer)
class Channel(Protocol):
    """
    An HTTP/1.1 server connection.

    :ivar deadline: seconds on the ticker's clock.
    :ivar address: of the client, or of the proxy before us.
    :ivar proxy_header: what a proxy before us has said by the PROXY protocol; None where that is not spoken.
    :ivar peer_ip: its text; ``b"unix"`` for a UNIX socket.
    :ivar scheme: ``b"http"`` or ``b"https"``, as the connection was made.
    :ivar closing: no further request is taken from this connection.
    :ivar writable: does the client read?  False: whatever produces the response is to wait.
    """

    # Many of them rest, and a dict of so many names would not share its keys.  Who adds to a channel from outside still
    # can: Twisted's Protocol has a dict.
    __slots__ = (
        "_begun",
        "_body",
        "_continues",
        "_counted",
        "_keepalive",
        "_limit",
        "_lingering",
        "_parser",
        "_reading",
        "_starting",
        "_terms",
        "_unsent",
        "_window",
        "address",
        "closing",
        "deadline",
        "frontend",
        "listener",
        "peer_ip",
        "request",
        "scheme",
        "ticker",
        "writable",
    )

    #: ITCPTransport, or a layer that looks like it.
    transport: Any
    proxy_header: ProxyHeader | None = None

    def __init__(self, listener: Any, address: IAddress) -> None:
        # Of the connection.
        self.listener = listener
        self.address = address
        self.frontend: Frontend = listener.frontend
        self.ticker = self.frontend.ticker
        self._keepalive = self.frontend.timeouts.keepalive
        self.peer_ip = b""
        self.scheme = b"http"
        self.closing = False
        self.writable = True
        self.deadline = NEVER
        self._limit = "header"
        self._unsent = 0  # bytes, when the write deadline was set
        self._begun = 0  # requests
        self._parser = RequestParser(self.frontend.head_bound, self.frontend.fields_bound, self.frontend.key)
        self._terms: Any = None  # that the connection was made under
        self._reading = True
        self._lingering = False
        self._starting = False
        # Of the request that is being answered.
        self.request: Request | None = None
        self._body: RequestBody | None = None
        self._continues = False
        self._window = NEVER  # when the rate of the body is looked at next, on the ticker's clock
        self._counted = 0  # bytes of the body, when the window began

    # What the transport says.

    def connectionMade(self) -> None:
        transport = self.transport
        header = self.proxy_header
        if ISSLTransport.providedBy(transport) or (header is not None and header.by_tls):
            self.scheme = b"https"
            self._terms = self.frontend.terms.get(getattr(transport, "context", None))
        host = getattr(self.address, "host", None)
        self.peer_ip = unmapped(host).encode() if host else b"unix"
        self.listener.connections.add(self)
        # The channel is the transport's one producer for as long as it lives, and passes a pause on to whatever
        # produces the response: a registration per connection, not per response.
        transport.registerProducer(self, True)
        self.ticker.watch(self)
        self._expect("header", self.frontend.timeouts.header)

    def dataReceived(self, data: bytes) -> None:
        if self._lingering:
            return
        parser = self._parser
        parser.feed(data)
        if self.request is None:
            self._serve()
            return
        body = self._body
        if body is not None and not body.ended:
            self._body_arrived(body)
        if self.request is not None:
            self._throttle()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.listener.connections.discard(self)
        self.ticker.forget(self)
        self._parser.close()
        self.closing = True
        request, self.request = self.request, None
        self._body = None
        if request is not None:
            request.connectionLost(reason)

    # What the transport says as the consumer of our bytes.

    def pauseProducing(self) -> None:
        """
        The client does not read as fast as we write.
        """
        self.writable = False
        self._await_writing()
        if self.request is not None:
            self.request.pause_source()

    def resumeProducing(self) -> None:
        """
        The client has read what was written.
        """
        self.writable = True
        request = self.request
        if request is not None:
            if self._limit == "write":
                self._await_body()
            request.resume_source()
        elif not self.closing:
            self._limit = ""
            self._serve()

    def stopProducing(self) -> None:
        """
        The connection is gone; connectionLost says so too.
        """

    # The life of a request.

    def _serve(self) -> None:
        """
        Answer what has arrived, one request after the other.
        """
        if self._starting:  # a request ended before its own start returned; the loop below goes on
            return
        self._starting = True
        parser = self._parser
        messages = parser.messages
        # A client that does not read is answered nothing more: the answers would pile up here.
        while self.request is None and self.writable and not self.closing:
            if messages:
                self._begin(*messages.pop(0))
            elif parser.leftover or parser.suspended:
                parser.resume()
            else:
                break
        self._starting = False
        if self.closing:
            return
        if self.request is None and self.writable:
            if parser.refusal is not None:
                self._refuse(parser.refusal)
                return
            # A head has its time from its first byte on; the first one of a connection, from the connection on.
            limit = self._limit
            if limit != "header":
                if parser.in_head:
                    self._expect("header", self.frontend.timeouts.header)
                elif limit != "keepalive":
                    self._limit = "keepalive"
                    self.deadline = self.ticker.now + self._keepalive
        if messages or parser.leftover or self._body is not None or not self._reading:
            self._throttle()

    def _begin(self, head: RequestHead, body: RequestBody | None) -> None:
        """
        Start one request.
        """
        frontend = self.listener.frontend
        if frontend is not self.frontend:
            if not hasattr(frontend, "site_for"):  # since a reload, another protocol is spoken at this address
                self.loseConnection()
                return
            self.frontend = frontend
            self._keepalive = frontend.timeouts.keepalive
        frontend.tally.requests += 1
        self._begun += 1
        if self._begun >= frontend.requests_bound:
            head.keep_alive = False
        self.deadline = NEVER
        self._limit = ""
        request = self.request = Request(self, head, body)
        if body is not None:
            self._body = body
            self._continues = head.expects_continue
            self._window = NEVER
            body.watch(self._body_wanted)
            self._await_body()
        host = head.host
        site = frontend.found[host] if host in frontend.found else frontend.site_for(host)
        if self._terms is not None and site is not None and site.terms != self._terms:
            # RFC 9110 section 15.5.20: what this connection has proved is not what the site asks for.
            request.refuse(ProxyError("misdirected_request", "the TLS connection was made for another site"))
            return
        request.begin(site)

    def request_done(self, request: Ending) -> None:
        """
        The response is written (or the failure is).  Called by the request, once.
        """
        if request is not self.request:
            return
        self.request = None
        body, self._body = self._body, None
        if body is not None and not body.complete:
            self._linger()
            return
        if self.closing or not request.head.keep_alive:
            parser = self._parser
            if parser.messages or parser.leftover:
                self._linger()  # there are requests behind it, which nobody answers
            else:
                self.loseConnection()
            return
        if self.writable:
            self._limit = ""
        else:
            self._await_writing()
        if not self._starting:
            self._serve()

    def _refuse(self, error: ProxyError) -> None:
        """
        What came in is no request: answer the failure, and close.
        """
        self.frontend.tally.requests += 1
        head = self._parser.unfinished()
        head.keep_alive = False
        # The rest of what the client is sending is unknown, so it is read for a while after the answer.
        body = self._body = RequestBody(None)
        body.discard()
        request = self.request = Request(self, head, None)
        request.refuse(error)

    # The request's body.

    def _body_arrived(self, body: RequestBody) -> None:
        """
        A read of the body, or of what follows it: hand it on.
        """
        request = self.request
        assert request is not None
        if body.limit is not None and body.received > body.limit:
            request.fail(request.too_large())
            return
        try:
            body.deliver()
        except Exception:
            request.processingFailed(Failure())
        if body is self._body:
            if not body.complete and self._parser.refusal is not None:
                request.fail(self._parser.refusal)
            elif self._limit == "idle":
                if self.ticker.now >= self._window and not body.complete and self._too_slow(body):
                    setting = self.frontend.setting("limits.min_rate", self.frontend.min_rate)
                    request.fail(ProxyError("request_body_timeout", "too few bytes in a while", setting))
                    return
                self._await_body()

    def _too_slow(self, body: RequestBody) -> bool:
        """
        A window has ended: has too little of the body come in it?
        """
        slow = body.received - self._counted < self.frontend.min_rate * RATE_WINDOW
        self._begin_window(body)
        return slow

    def _begin_window(self, body: RequestBody) -> None:
        """
        From now on the client is expected to send.
        """
        self._window = self.ticker.now + RATE_WINDOW if self.frontend.min_rate else NEVER
        self._counted = body.received

    def _body_wanted(self) -> None:
        """
        The receiver of the body has started, or resumed.
        """
        body = self._body
        if body is None:
            return
        if self._continues:
            self._continues = False
            if not body.received and self.request is not None and not self.request.started:
                self.write(CONTINUE)
                if self._limit == "idle":
                    self._await_body()
        body.deliver()
        request = self.request
        if request is not None:
            if body is self._body and not body.complete and self._parser.refusal is not None:
                request.fail(self._parser.refusal)  # it came in the same read as the head
                return
            self._throttle()

    def _await_body(self) -> None:
        """
        Set the deadline for the next bytes of the body, if any are to come, and the client has been asked for them.
        """
        body = self._body
        if body is None or body.complete:
            self._limit = ""
            self.deadline = NEVER
        else:
            self._limit = "idle"
            if self._reading and not self._continues:
                self.deadline = self.ticker.now + self.frontend.timeouts.idle
                if self._window == NEVER:
                    self._begin_window(body)
            else:
                self.deadline = self._window = NEVER

    def _await_writing(self) -> None:
        """
        Set the deadline for the client to take more of what was written.
        """
        self._unsent = self._count_unsent()
        self._expect("write", self.frontend.timeouts.write)

    def pace(self) -> None:
        """
        What is written waits for us, and not for the client, who begins to have time for it now.
        """
        if self._limit == "write":
            self._await_writing()

    def _count_unsent(self) -> int:
        """
        How many bytes the transport has not passed on, where it can say so.
        """
        unsent = getattr(self.transport, "unsent", None)
        return 0 if unsent is None else unsent()

    def _throttle(self) -> None:
        """
        Read on, unless what has been read already waits.
        """
        parser = self._parser
        body = self._body
        reading = not (parser.messages or len(parser.leftover) > _LEFTOVER or (body is not None and body.blocked))
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()  # a pausable transport, as all of TCP is
            else:
                self.transport.pauseProducing()
            if self._limit == "idle":
                self._await_body()

    # What requests call.

    def write(self, data: bytes) -> None:
        """
        Bytes of a response, framed.
        """
        self.transport.write(data)

    def writeSequence(self, pieces: list[bytes]) -> None:
        """
        Pieces of a response, framed; large ones are not copied.
        """
        self.transport.writeSequence(pieces)

    def take_over(self, protocol: IProtocol, leave: Callable[[], object] | None = None) -> None:
        """
        HTTP has ended on this connection; ``protocol`` has it from here.

        A relay's end sees to it itself that the listener knows of it, because a relay is not over when one side is.

        :param leave: asks an app to end, when the listener drains.
        """
        parser = self._parser
        rest = parser.leftover
        parser.close()
        self.closing = True
        self.request = None
        self._body = None
        self.ticker.forget(self)
        self.listener.connections.discard(self)
        transport = self.transport
        transport.unregisterProducer()
        if not self._reading:
            self._reading = True
            transport.resumeProducing()
        if not isinstance(protocol, RelayEnd):
            Guest(protocol, transport, self.listener.connections, leave)
        if getattr(transport, "protocol", None) is not protocol:
            hand_over(self, protocol)
        if rest:
            protocol.dataReceived(rest)

    def loseConnection(self) -> None:
        """
        Close when all is written.
        """
        self.closing = True
        self._parser.close()
        transport = self.transport
        transport.unregisterProducer()
        self._await_writing()
        transport.loseConnection()

    def abort(self) -> None:
        """
        Break the connection so that nobody can take what was sent for a whole message.
        """
        self.closing = True
        self._parser.close()
        self.request = None
        self._body = None
        self.transport.abortConnection()

    @property
    def doing(self) -> str:
        """
        What is being answered, for the log; without the query, which may hold what is nobody's business.
        """
        request = self.request
        if request is None:
            return "in no request"
        path = request.uri.partition(b"?")[0].decode("latin-1")
        return f"in {request.method.decode('latin-1')} {path[:_LOGGED]}"

    def cut(self) -> None:
        """
        The time for draining is over.
        """
        if self.request is not None:
            self.request.give_up(ProxyError("shutting_down", setting="process.drain_timeout"))
        self.abort()

    def drain(self) -> None:
        """
        Close as soon as the request that is being answered is; the client is told by ``Connection: close``.

        Where nothing is asked, a client that keeps the connection busy is asking by now: it has
        ``listener.parting`` seconds for one request more, so that it can be told the same way.
        """
        if self.closing:
            return
        if self.request is not None:
            self.closing = True
            return
        parting = self.listener.parting
        if not parting:
            self.closing = True
            self.loseConnection()
            return
        self._begun = maxsize  # the next one is the last
        if not self._parser.in_head:
            self.deadline = min(self.deadline, self.ticker.now + parting)

    # What twisted.web.server.Request asks of its channel.

    def getPeer(self) -> Any:
        return self.transport.getPeer()

    def getHost(self) -> Any:
        return self.transport.getHost()

    def isSecure(self) -> bool:
        return self.scheme == b"https"

    def _respondToBadRequestAndDisconnect(self) -> None:
        """
        Called by Twisted's requestReceived for a form that it cannot parse.
        """
        if self.request is not None:
            self.request.fail(ProxyError("http_request_error", "a form that cannot be parsed"))

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        """
        Called by Twisted's WebSocketResource, which writes the 101 itself.
        """
        request = self.request
        assert request is not None
        request.status = 101
        request.started = True
        request.take_over(protocol, lambda: protocol.loseConnection(_GOING_AWAY))  # type: ignore[attr-defined]

    def taken_away(self, request: Request, transport: Any) -> None:
        """
        A resource has helped itself to our transport, as Autobahn's WebSocketResource does, and left us None.

        It has connected its protocol already, and given it the request to answer.
        """
        self.transport = transport
        protocol = getattr(transport, "wrappedProtocol", None) or transport.protocol
        request.status = 101
        request.started = True
        close = getattr(protocol, "sendCloseFrame", None)
        request.take_over(protocol, None if close is None else lambda: close(_GOING_AWAY))

    @property
    def site(self) -> Any:
        return self.request.site if self.request is not None else None

    # Time.

    def _expect(self, limit: str, seconds: float) -> None:
        self._limit = limit
        self.deadline = self.ticker.now + seconds

    def deadline_passed(self) -> None:
        """
        Called by the ticker.
        """
        limit = self._limit
        request = self.request
        if limit == "header":
            if self._parser.in_head:
                setting = self.frontend.setting("timeouts.header", f"{self.frontend.timeouts.header:g}s")
                self._refuse(ProxyError("request_header_timeout", setting=setting))
            else:
                self.loseConnection()
        elif limit == "idle" and request is not None:
            setting = self.frontend.setting("timeouts.idle", f"{self.frontend.timeouts.idle:g}s")
            request.fail(ProxyError("request_body_timeout", setting=setting))
        elif limit == "keepalive":
            self.loseConnection()
        elif limit == "write":
            self._writing_too_slow()
        else:
            self.abort()  # it goes on sending what nobody wants

    def _writing_too_slow(self) -> None:
        """
        The client has not taken all that was written in the time for it: it may be slow, but not as slow as it likes.
        """
        frontend = self.frontend
        seconds = frontend.timeouts.write
        taken = self._unsent - self._count_unsent()
        if taken > 0 and taken >= frontend.min_rate * seconds:
            self._await_writing()
            return
        if self.request is not None:
            if taken > 0:
                setting = frontend.setting("limits.min_rate", frontend.min_rate)
            else:
                setting = frontend.setting("timeouts.write", f"{seconds:g}s")
            self.request.give_up(ProxyError("response_write_timeout", setting=setting))
        self.abort()

    def _linger(self) -> None:
        """
        The client was answered before all of its request had come.

        Closing now would make its system throw the answer away (RFC 9112 section 9.6), so close our half, and drop what
        still comes for a while.
        """
        self.closing = True
        self._lingering = True
        self._parser.close()
        transport = self.transport
        transport.unregisterProducer()
        if not self._reading:
            self._reading = True
            transport.resumeProducing()
        # What the client has not read yet has the time of a write.
        self._expect("linger", LINGER if self.writable else max(LINGER, self.frontend.timeouts.write))
        half_close = getattr(transport, "loseWriteConnection", None)
        if half_close is not None:
            half_close()
