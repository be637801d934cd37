"""
``respond``: a fixed answer, or one made of the request's variables.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, time
from math import isfinite
from typing import Any, Final

from attrs import field, frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer, moduleProvides

from twistginx.config.template import Template
from twistginx.errors import ConfigError, ProxyError
from twistginx.http.fields import ConfiguredFields
from twistginx.http.message import Fields, Reply
from twistginx.http.variables import Getter, compile_template
from twistginx.interfaces import IContext, IResourceModule, IStreaming

moduleProvides(IResourceModule)

name = "respond"
api = 1

#: Statuses whose responses have no content (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).
_BODYLESS: Final = frozenset((204, 205, 304))

_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json"


@frozen
class Config:
    """
    Answer without asking anybody.  ``respond = "pong"`` is short for ``body``, ``respond = 404`` for ``status``.

    :ivar status: the status, from 200 to 599.
    :ivar body: the body, a template; its type is text/plain unless ``headers`` says otherwise.
    :ivar json: instead of ``body``: any value, sent as JSON.  The strings in it are templates.
    :ivar headers: name to value; the values are templates.  One that comes out empty is not sent.
    :ivar close: say nothing at all, and close the connection: to who is nobody's client.
    """

    status: int = 200
    body: Template | None = None
    json: Any = None
    headers: dict[str, Template] = field(factory=dict)
    close: bool = False

    @classmethod
    def from_shorthand(cls, value: object) -> dict[str, object]:
        """
        ``respond = "pong"`` or ``respond = 404``.
        """
        if isinstance(value, str):
            return {"body": value}
        if isinstance(value, int) and not isinstance(value, bool):
            return {"status": value}
        raise ValueError('expected a text, a status or a table such as { body = "pong" }')


def make(config: Config, context: IContext) -> RespondResource | Silence:
    """
    The resource.
    """
    if config.close:
        if config != Config(close=True):
            raise ConfigError("says nothing, and there is something to say", key="close", expected="expected it alone")
        return Silence()
    if not 200 <= config.status <= 599:  # HTTP's
        raise ConfigError(
            f"{config.status} is not a status", key="status", expected="expected a number from 200 to 599"
        )
    if config.body is not None and config.json is not None:
        raise ConfigError('there is a "body" as well', key="json", expected="write one of the two")
    if config.status in _BODYLESS and (config.body is not None or config.json is not None):
        key = "body" if config.json is None else "json"
        raise ConfigError(f"a response with the status {config.status} has no body", key=key, expected=f"remove {key}")
    for each in config.headers:
        if each.lower() in ("date", "server"):
            # A Reply has neither (http.message.Reply); the policy changes what is sent.
            raise ConfigError(
                f"{each} is not this table's to say",
                key=f"headers.{each}",
                expected=f'write headers = {{ set = {{ {each} = "..." }} }} beside it',
            )
    return RespondResource(config)


@implementer(IStreaming)
class Silence(Resource):
    """
    Closes the connection, whatever is asked for.
    """

    isLeaf = True

    def render(self, request: Any) -> int:
        """
        Answer nothing.
        """
        channel = request.channel
        request.give_up(ProxyError("http_request_denied", "respond.close: it is not answered"))
        channel.loseConnection()
        return NOT_DONE_YET

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return ["closes the connection without an answer"]


@implementer(IStreaming)
class RespondResource(Resource):
    """
    Answers every request alike, whatever its method.
    """

    isLeaf = True

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._status = config.status
        self._body: Getter | None = None
        kind = None
        constant = True
        if config.json is not None:
            kind = _JSON
            self._body, constant = _json_body(config.json)
        elif config.body is not None:
            kind = _TEXT
            self._body, constant = compile_template(config.body), config.body.is_constant
        self._headers = ConfiguredFields.of(config.headers, "headers")
        typed = kind is None or b"content-type" in self._headers.names
        self._first = Fields() if typed else Fields.of([(b"Content-Type", kind or b"")])
        self._constant = self._fill(None) if constant and self._headers.constant is not None else None

    def render(self, request: Any) -> int:
        """
        Answer at once.
        """
        request.respond(self._constant or self._fill(request))
        return NOT_DONE_YET

    def explain(self, request: Any) -> list[Reply]:
        """
        See ``IExplaining``.
        """
        return [self._constant or self._fill(request)]

    def _fill(self, request: Any) -> Reply:
        body = b"" if self._body is None else self._body(request)
        return Reply(self._status, Fields([*self._first, *self._headers.fill(request)]), body)


def _json_body(value: Any) -> tuple[Getter, bool]:
    """
    ``value`` as JSON (RFC 8259): what makes it, and whether that is always the same.
    """
    fill, constant = _json_value(value, "json")

    def encode(request: Any) -> bytes:
        return json.dumps(fill(request), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    if constant:
        encoded = encode(None)
        return (lambda request: encoded), True
    return encode, False


def _json_value(value: Any, key: str) -> tuple[Callable[[Any], Any], bool]:
    """
    What makes one value of a JSON text, and whether it is always the same.

    Variables are put into a string before it is encoded, so the text is valid whatever a client sends.

    :param key: where it stands, for errors.
    """
    if isinstance(value, str):
        try:
            template = Template.parse(value)
        except ValueError as error:
            raise ConfigError(str(error), key=key) from None
        get = compile_template(template)
        return (lambda request: get(request).decode("utf-8", "replace")), template.is_constant
    if isinstance(value, dict):
        members = {member: _json_value(each, f"{key}.{member}") for member, each in value.items()}
        fills = {member: fill for member, (fill, _) in members.items()}
        constant = all(each for _, each in members.values())
        return (lambda request: {member: fill(request) for member, fill in fills.items()}), constant
    if isinstance(value, list | tuple):
        items = [_json_value(each, f"{key}.{position}") for position, each in enumerate(value)]
        constant = all(each for _, each in items)
        return (lambda request: [fill(request) for fill, _ in items]), constant
    if isinstance(value, date | time):  # A datetime is a date.
        text = value.isoformat()
        return (lambda request: text), True
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"{value} cannot be written in JSON", key=key, expected="expected a finite number")
    return (lambda request: value), True
