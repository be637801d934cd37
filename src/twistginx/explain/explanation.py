"""
What a configuration would do with a request: which site and which route, why not the others, and what then.

Nothing is opened, asked or sent.  A policy or a resource that can say what it would do has ``explain(request)``
(``interfaces.IExplaining``); the order is that of a real request, so what an earlier one has changed, a later one sees.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import evolve, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from twistginx.build.generation import Generation, ListenerPlan
from twistginx.config.networks import UNIX
from twistginx.errors import REASONS, ProxyError
from twistginx.explain.answer import Answer, Passed, Step
from twistginx.explain.question import PORTS, Question
from twistginx.http.frontend import Frontend
from twistginx.http.message import PHRASES, Reply, RequestHead
from twistginx.http.parser import RequestParser
from twistginx.http.request import Request
from twistginx.policies.satisfy import verdict
from twistginx.routing.router import Route, Site

#: The port of an endpoint string of Twisted's.
_PORT: Final = re.compile(r"(?:tcp|tcp6|ssl):(?:port=)?(\d+)")

#: What a phase of a policy sees.
_PHASES: Final = (
    ("received", "the request"),
    ("admit", "whether the request may go on"),
    ("prepare", "what an upstream gets"),
    ("responding", "the answer"),
    ("finished", "the end"),
)


def explain(generation: Generation, question: Question) -> Answer:
    """
    What ``generation`` would do.
    """
    answer = Answer(f"{question.method} {question.scheme}://{question.authority}{question.target}")
    found = _listener(generation, question)
    if found is None:
        listeners = ", ".join(generation.listeners) or "none"
        return _failed(answer, "connection_refused", f"no listener is for it; there are: {listeners}", status=0)
    endpoint, plan = found
    answer = evolve(answer, listener=f"{endpoint}{' under TLS' if plan.tls is not None else ''}")
    parser = RequestParser(plan.frontend.head_bound, plan.frontend.fields_bound, plan.frontend.key)
    parser.feed(question.wire)
    if parser.refusal is not None:
        return _refused(answer, parser.refusal)
    if not parser.messages:
        return _failed(answer, "http_request_error", "the request is not complete")
    head: RequestHead = parser.messages[0][0]
    return _Explanation(generation, question, plan, head).of(answer)


def _listener(generation: Generation, question: Question) -> tuple[str, ListenerPlan] | None:
    """
    The listener that a request comes in by.  Where its port is not said, and nobody listens on the usual one, ours may
    be behind another: then any will do that knows the host.
    """
    secure = question.scheme == "https"
    plans = [
        (endpoint, plan)
        for endpoint, plan in generation.listeners.items()
        if isinstance(plan.frontend, Frontend) and (plan.tls is not None or endpoint.startswith("ssl:")) is secure
    ]
    usual = PORTS[question.scheme]
    ports = {endpoint: int(match[1]) for endpoint, _ in plans if (match := _PORT.match(endpoint))}
    # Without the dot of the root, as the field is read.
    host = question.authority.lower().replace(".:", ":").removesuffix(".").encode("utf-8", "surrogateescape")

    def order(entry: tuple[str, ListenerPlan]) -> tuple[bool, bool]:
        endpoint, plan = entry
        site = plan.frontend.site_for(host)
        return ports.get(endpoint) != usual, site is None or site is plan.frontend.default

    if question.port is not None:
        plans = [entry for entry in plans if ports.get(entry[0]) == question.port]
    return min(plans, key=order, default=None)


@frozen(eq=False)
class _Channel:
    """
    As much of a connection as a request looks at.
    """

    frontend: Any
    peer_ip: bytes
    scheme: bytes
    port: int
    proxy_header: None = None
    transport: None = None
    closing: bool = False
    writable: bool = True
    ticker: Any = field(init=False)

    @ticker.default
    def _ticker(self) -> Any:
        return self.frontend.ticker

    def getPeer(self) -> Any:
        return _address(self.peer_ip.decode(), 49152)

    def getHost(self) -> Any:
        return _address("127.0.0.1", self.port)

    def isSecure(self) -> bool:
        return self.scheme == b"https"


def _address(host: str, port: int) -> Any:
    if host == UNIX:
        return UNIXAddress(None)
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


class _Explanation:
    """
    One request, on its way.
    """

    def __init__(self, generation: Generation, question: Question, plan: ListenerPlan, head: RequestHead) -> None:
        self._generation = generation
        self._plan = plan
        port = question.port or PORTS[question.scheme]
        channel = _Channel(plan.frontend, question.client.encode(), question.scheme.encode(), port)
        self._request: Any = Request(channel, head, None)  # type: ignore[arg-type]  # it is like one

    def of(self, answer: Answer) -> Answer:
        request = self._request
        head = request.head
        site = self._plan.frontend.site_for(head.host)
        if site is None:
            return _failed(answer, "destination_not_found", "no site has this name")
        request.site = site
        number = self._generation.sites.index(site)
        answer = evolve(answer, site=site.label, site_where=self._where("site", number))
        if self._plan.tls is not None and self._is_misdirected(site):
            return _failed(answer, "misdirected_request", "the TLS connection was made for another site")
        if head.doubtful is not None:
            before = [name.decode("latin-1") for _, name, _ in head.doubtful]
            kept, _ = site.names.sort_out(head.doubtful)
            head.fields.extend(kept)
            let_in = {name.decode("latin-1") for _, name, _ in kept}
            answer = evolve(answer, dropped=tuple(name for name in before if name not in let_in))
        if site.identity is not None:
            site.identity.take_out(head)
        try:
            route = site.route_for(request)
        except ProxyError as error:
            return _refused(answer, error)
        path = request.matched_path
        numbers = {id(each): index for index, each in enumerate(site.routes)}
        before_it = site.routes if route is None else site.routes[: numbers[id(route)]]
        answer = evolve(
            answer,
            matched_path=path.decode("utf-8", "backslashreplace"),
            passed=tuple(
                Passed(each.name, self._where("site", number, "route", numbers[id(each)]), each.why_not(request, path))
                for each in before_it
            ),
        )
        if route is None:
            return _failed(answer, "destination_not_found", "no route matches")
        request.route = route
        answer = evolve(answer, route=route.name, route_where=self._where("site", number, "route", numbers[id(route)]))
        return self._through(answer, route)

    def _through(self, answer: Answer, route: Route) -> Answer:
        """
        Past the policies, to the resource.
        """
        steps: list[Step] = []
        # ``satisfy = "any"``: who has let the request in, and who has not.
        ways = route.guards if "any" in route.guard else ()
        entered = ""
        refusals: list[Reply | ProxyError] = []
        try:
            for name, policy, condition in route.stack:
                if name in ways and entered:
                    steps.append(Step(name, True, (f"is asked only where {entered} does not let the request in",)))
                    continue
                try:
                    step, reply = self._step(name, policy, condition)
                except ProxyError as error:
                    if name not in ways:
                        raise
                    refusals.append(error)
                    if len(refusals) == len(ways):
                        verdict(refusals)
                    words = error.detail or error.reason.text
                    step, reply = Step(name, True, (f"does not let the request in ({words}); another may",)), None
                else:
                    entered = name if name in ways else entered
                steps.append(step)
                if reply is not None:
                    return evolve(answer, policies=tuple(steps), resource=name, status=reply.status, lines=_told(reply))
            lines, reply = _said(route.resource, self._request)
        except ProxyError as error:
            return _refused(evolve(answer, policies=tuple(steps)), error)
        if reply is not None:
            answer = evolve(answer, status=reply.status)
            lines += _told(reply)
        if not lines:
            made = type(route.resource)
            lines = (f"{made.__module__}.{made.__qualname__}",)
        return evolve(answer, policies=tuple(steps), resource=route.kind or "a resource", lines=lines)

    def _step(self, name: str, policy: Any, condition: Any) -> tuple[Step, Reply | None]:
        """
        What a policy would do, and its answer, where it would answer itself.
        """
        request = self._request
        if condition is not None:
            reason = condition.why_not(request, request.routed_path or request.matched_path)
            if reason:
                return Step(name, False, (reason,)), None
        lines, reply = _said(policy, request)
        if not lines and not hasattr(policy, "explain"):
            seen = [words for phase, words in _PHASES if hasattr(policy, phase)]
            lines = (f"looks at {', '.join(seen)}",) if seen else ()
        return Step(name, True, lines), reply

    def _is_misdirected(self, site: Site) -> bool:
        name = self._request.head.host.partition(b":")[0]
        context = self._plan.tls.table.context_for(name or None) if self._plan.tls is not None else None
        terms = self._plan.frontend.terms.get(context)
        return terms is not None and site.terms != terms

    def _where(self, *path: str | int) -> str:
        return str(self._generation.root.source.position(path, of_key=True))


def _said(made: Any, request: Any) -> tuple[tuple[str, ...], Reply | None]:
    """
    What ``made`` says that it would do, and what it would answer, if it would.

    :raise ProxyError: when it would refuse.
    """
    tell = getattr(made, "explain", None)
    if tell is None:
        return (), None
    try:
        said = tell(request)
    except ProxyError:
        raise
    except Exception as error:  # it may be anybody's
        return (f"cannot say: {type(error).__name__}: {error}",), None
    if isinstance(said, str):
        return (said,), None
    said = list(said or ())
    reply = said.pop() if said and isinstance(said[-1], Reply) else None
    return tuple(map(str, said)), reply


def _told(reply: Reply) -> tuple[str, ...]:
    """
    An answer, in words.
    """
    location = reply.fields.first(b"location")
    words = f"{reply.status} {PHRASES.get(reply.status, b'').decode()}".strip()
    return (words if location is None else f"{words}, Location: {location.decode('ascii', 'backslashreplace')}",)


def _refused(answer: Answer, error: ProxyError) -> Answer:
    return _failed(answer, error.reason.word, error.detail or error.reason.text, error.reason.status)


def _failed(answer: Answer, word: str, reason: str, status: int | None = None) -> Answer:
    return evolve(answer, failure=word, reason=reason, status=REASONS[word].status if status is None else status)
