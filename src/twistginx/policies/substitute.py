"""
``substitute``: texts in the bodies of responses, replaced on their way.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any, Final

from attrs import Attribute, field, frozen
from zope.interface import moduleProvides

from twistginx.config.regex import Regex
from twistginx.config.scope import current
from twistginx.config.tables.fields import COMPOSED
from twistginx.config.template import CAPTURE, ResponseTemplate, Variable
from twistginx.config.units import Size
from twistginx.errors import ConfigError
from twistginx.http.coding import MediaTypes, forget_bytes, is_encoded, is_transformable, weaken
from twistginx.http.message import RequestHead, ResponseHead
from twistginx.http.variables import compile_template
from twistginx.interfaces import IContext, IPolicyModule
from twistginx.policies.substitution import Literal, Pattern, Spans, Substitution

moduleProvides(IPolicyModule)

name = "substitute"
api = 1
#: Above ``compress``: on the way out it comes first.
rank = 650
applies_to = frozenset(("http",))
many = False

_NOT_MODIFIED: Final = 304

#: Statuses whose bodies are none, or parts.
_LEFT_ALONE: Final = frozenset((*range(100, 200), 204, 205, 206, 416))

#: Bytes that a text to look for may have.
_LONGEST: Final = 4096


@frozen
class Rule:
    """
    One replacement.

    :ivar find: the text to replace.
    :ivar regex: or a regular expression for it, in RE2's syntax.
    :ivar replace: what is put in its place, a template; ``{1}`` and ``{name}`` are what ``regex`` captures.  What other
        variables put in is escaped as HTML has it.
    :ivar once: the first time only.
    """

    replace: str = field()
    find: str = ""
    regex: Regex | None = field(default=None)
    once: bool = False
    #: ``replace``; None while that is wrong.
    template: ResponseTemplate | None = field(init=False, eq=False, repr=False, metadata=COMPOSED)

    @template.default
    def _parsed(self) -> ResponseTemplate | None:
        with suppress(ValueError):
            return self._parse()
        return None

    def _parse(self) -> ResponseTemplate:
        captures = frozenset[str]() if self.regex is None else self.regex.captures
        with current().within(captures=captures).entered():
            parsed: ResponseTemplate = ResponseTemplate.parse(self.replace)  # type: ignore[assignment]
            return parsed

    @replace.validator
    def _check_replace(self, attribute: Attribute[Any], value: str) -> None:
        self._parse()

    @regex.validator
    def _check(self, attribute: Attribute[Any], value: Regex | None) -> None:
        if (value is None) is (not self.find):
            raise ValueError("one of find and regex is needed, and not both")


@frozen
class Config:
    """
    Replace texts in the bodies of responses.  ``substitute = [{ find = "a", replace = "b" }]`` is short for ``rules``.

    At any place the first rule counts that is found there, and what it has put in is not looked at again.  Bodies are
    replaced as they pass, as bytes; ``find`` and ``replace`` are UTF-8.  An upstream is asked not to compress; what is
    encoded all the same, a part (206), and what says ``Cache-Control: no-transform``, is left alone.

    :ivar rules: what is replaced with what.
    :ivar types: media types, with ``text/*``, ``*+json`` and ``*`` for several.
    :ivar window: bytes that a match of a regular expression may have to be found for sure; so many are kept back while
        the body comes.
    """

    rules: tuple[Rule, ...]
    types: tuple[str, ...] = field(default=("text/html",), metadata={"single": True})
    window: Size = field(default=Size(1024))

    @window.validator
    def _check_window(self, attribute: Attribute[Any], value: Size) -> None:
        if not 1 <= value <= 1 << 16:
            raise ValueError(f"is {value}; expected 1 to 64KiB")

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``substitute = [{ find = "a", replace = "b" }]``.
        """
        if not isinstance(value, list):
            raise ValueError('expected rules such as [{ find = "a", replace = "b" }]')
        return {"rules": value}


#: ``(request, head, buffer, spans)`` to the bytes that are put in.
Maker = Callable[[Any, Any, bytes, Spans], bytes]


def make(config: Config, context: IContext) -> Substitute:
    """
    The policy.
    """
    if not config.rules:
        raise ConfigError("is empty", key="rules", expected='expected a rule such as { find = "a", replace = "b" }')
    try:
        types = MediaTypes(config.types)
    except ValueError as error:
        raise ConfigError(str(error), key="types") from None
    rules = []
    for position, rule in enumerate(config.rules):
        key = f"rules.{position}"
        if rule.regex is None:
            text = rule.find.encode("utf-8", "surrogateescape")
            if len(text) > _LONGEST:
                raise ConfigError(f"has {len(text)} bytes", key=f"{key}.find", expected=f"expected {_LONGEST} at most")
            sought: Literal | Pattern = Literal(text, rule.once)
        else:
            if rule.regex.find(b"") is not None:
                raise ConfigError("matches nothing, which is everywhere", key=f"{key}.regex")
            sought = Pattern(rule.regex.find, int(config.window), rule.once)
        rules.append((sought, _maker(rule)))
    return Substitute(tuple(rules), types, context.log)


def _maker(rule: Rule) -> Maker:
    """
    What makes the replacement.
    """
    assert rule.template is not None
    makers: list[bytes | Maker] = []
    for part in rule.template.parts:
        if not isinstance(part, Variable):
            makers.append(part.encode("utf-8", "surrogateescape"))
        elif rule.regex is not None and part.name == CAPTURE and part.argument in rule.regex.captures:
            makers.append(_group(int(rule.regex.names.get(part.argument, part.argument))))
        else:
            makers.append(_variable(part))
    if all(isinstance(each, bytes) for each in makers):
        constant = b"".join(each for each in makers if isinstance(each, bytes))
        return lambda request, head, buffer, spans: constant

    def fill(request: Any, head: Any, buffer: bytes, spans: Spans) -> bytes:
        return b"".join([each if isinstance(each, bytes) else each(request, head, buffer, spans) for each in makers])

    return fill


def _variable(part: Variable) -> Maker:
    get = compile_template(ResponseTemplate(str(part), (part,)))

    def fill(request: Any, head: Any, buffer: bytes, spans: Spans) -> bytes:
        # Whoever makes a link chooses what many variables are: it must not become a tag of the page.
        return escape(get(request, head).decode("latin-1")).encode("latin-1")

    return fill


def _group(group: int) -> Maker:
    def fill(request: Any, head: Any, buffer: bytes, spans: Spans) -> bytes:
        start, stop = spans[group]
        return b"" if start < 0 else buffer[start:stop]

    return fill


class Substitute:
    """
    The policy of one route.
    """

    __slots__ = ("_log", "_rules", "_types", "_warned")

    def __init__(self, rules: tuple[tuple[Literal | Pattern, Maker], ...], types: MediaTypes, log: Any) -> None:
        self._rules: Final = rules
        self._types: Final = types
        self._log: Final = log
        self._warned = False

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return [
            f"replaces by {len(self._rules)} rule{'s' * (len(self._rules) > 1)} in {', '.join(self._types.patterns)}",
            "asks for no compression",
        ]

    def prepare(self, request: Any, head: RequestHead) -> None:
        """
        See ``IPolicy``.
        """
        head.fields.put(b"Accept-Encoding", b"identity")

    def responding(self, request: Any, head: ResponseHead) -> Substitution | None:
        """
        See ``IPolicy``.
        """
        fields = head.fields
        if head.status == _NOT_MODIFIED:
            weaken(fields)
            return None
        content_type = fields.first(b"content-type")
        if content_type is None or not self._types.has(content_type) or head.status in _LEFT_ALONE:
            return None
        if is_encoded(fields):
            if not self._warned:
                self._warned = True
                coding = fields.joined(b"content-encoding").decode("latin-1")
                self._log.warn("nothing is substituted in what is encoded already ({coding})", coding=coding)
            return None
        if not is_transformable(fields):
            return None
        forget_bytes(fields)
        head.length = None
        if request.head.method == b"HEAD":
            return None
        rules = [(rule, _bound(maker, request, head)) for rule, maker in self._rules]
        return Substitution(rules, content_type.lower().startswith(b"text/event-stream"))


def _bound(maker: Maker, request: Any, head: ResponseHead) -> Callable[[bytes, Spans], bytes]:
    return lambda buffer, spans: maker(request, head, buffer, spans)
