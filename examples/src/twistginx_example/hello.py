"""
A resource: greets whoever asks.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import moduleProvides

from twistginx.errors import ConfigError
from twistginx.interfaces import IResourceModule

moduleProvides(IResourceModule)

name = "hello"
api = 1


@frozen
class Config:
    """
    Greets whoever asks, by the name in the path.

    :ivar greeting: the word before the name.
    :ivar times: how often to say it.
    """

    greeting: str = "Hello"
    times: int = 1

    @classmethod
    def from_shorthand(cls, value: Any) -> Config:
        """
        ``hello = "Good morning"``.
        """
        if not isinstance(value, str):
            raise ValueError('expected a greeting, such as "Good morning", or a table')
        return cls(greeting=value)


class Hello(Resource):
    """
    An ordinary ``twisted.web`` resource.
    """

    isLeaf = True

    def __init__(self, greeting: str, times: int) -> None:
        super().__init__()
        self._greeting = greeting
        self._times = times

    def render_GET(self, request: Request) -> bytes:
        """
        Say it.
        """
        who = b"/".join(request.postpath).decode("utf-8", "replace") or "stranger"
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return (f"{self._greeting}, {who}!\n" * self._times).encode()


def make(config: Config, context: Any) -> Hello:
    """
    See :meth:`twistginx.interfaces.IModule.make`.
    """
    if config.times < 1:
        raise ConfigError(f"{config.times} greetings are none", key="times", expected="1 or more")
    return Hello(config.greeting, config.times)
