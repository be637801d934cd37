"""
What is said when a value is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time
from difflib import get_close_matches
from typing import Any, Final

from attrs import evolve, frozen

from twistginx.config.scanner import KeyPath
from twistginx.config.text import written

_KINDS: Final = ((list, "an array"), (dict, "a table"), ((date, time), "a date or a time"))

#: How much of two words is to be the same: "paht" is close to "path", "match" is not.
_CLOSE: Final = 0.7

#: A string up to this length is shown in messages.
_SHOWN: Final = 60

#: What people write who come from other servers, and our word for it.
_SYNONYMS: Final = {
    "alias": "static",
    "backend": "upstream",
    "bind": "listen",
    "domains": "names",
    "file_server": "static",
    "hostname": "names",
    "hosts": "names",
    "location": "route",
    "proxy_pass": "proxy",
    "return": "respond",
    "reverse_proxy": "proxy",
    "root": "static",
    "server": "site",
    "server_name": "names",
    "server_names": "names",
    "ssl_certificate": "tls",
    "virtual_host": "site",
    "when": "match",
}


@frozen
class Fault:
    """
    One thing that is wrong with a value.

    :ivar path: the keys that lead to it, from the value that was structured.
    :ivar of_key: it is the key that is wrong, not its value.
    """

    path: KeyPath
    message: str
    expected: str = ""
    of_key: bool = False


class Rejected(ValueError):
    """
    A value that cannot be what it is to be.
    """

    def __init__(self, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.expected = expected


class Faults(Exception):
    """
    All that is wrong with a value.

    :ivar partial: the object with defaults for what is wrong; None when something without a default is.
    """

    def __init__(self, faults: list[Fault], partial: Any = None) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults
        self.partial = partial


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """
    The nearest of the ``known`` words, or all of them, as a hint.
    """
    names = sorted(set(known))
    word = word.lower().replace("-", "_")
    close = [_SYNONYMS[word]] if _SYNONYMS.get(word) in names else get_close_matches(word, names, 1, _CLOSE)
    close += [name for name in names if name.startswith(word[:5])] if len(word) > len("key") else []
    if close:
        return f'did you mean "{close[0]}"?'
    if len(names) == 1:
        return f'expected "{names[0]}"'
    return f"expected one of {', '.join(names)}" if names else ""


def shown(value: Any) -> str:
    """
    ``value`` in a message: what was written, and of long things only what they are.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = written(value)
        return f'the string "{text}"' if len(text) <= _SHOWN and text.isprintable() else "a string"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return next((name for types, name in _KINDS if isinstance(value, types)), type(value).__name__)


def wrong(value: Any, expected: str) -> Rejected:
    """
    The error that says that ``value`` is not what is ``expected``.
    """
    return Rejected(f"is {shown(value)}", f"expected {expected}")


def faults_of(error: Exception, *prefix: str | int) -> list[Fault]:
    """
    What ``error`` says about the value that ``prefix`` leads to.
    """
    if isinstance(error, Faults):
        return [evolve(fault, path=(*prefix, *fault.path)) for fault in error.faults]
    if isinstance(error, Rejected):
        return [Fault(prefix, str(error), error.expected)]
    if isinstance(error, (ValueError, TypeError)):
        return [Fault(prefix, str(error.args[0]) if error.args else type(error).__name__)]
    return [Fault(prefix, f"cannot be read: {type(error).__name__}: {error}")]
