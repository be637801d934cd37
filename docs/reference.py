"""
Makes the reference part of ``configuration.rst`` from the docstrings of the configuration classes.

    python docs/reference.py            # write it
    python docs/reference.py --check    # has it been written?  A test asks.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from attrs import NOTHING, Attribute, Factory, fields, has

from twistginx.config import schema
from twistginx.config.address import HostName, ServerAddress, parse_endpoint
from twistginx.config.convert import key_of
from twistginx.config.glob import Glob
from twistginx.config.headernames import parse_header_pattern
from twistginx.config.networks import Entry, NetworkSet
from twistginx.config.rates import ByteRate, Rate
from twistginx.config.regex import Regex
from twistginx.config.serviceurl import ServiceURL
from twistginx.config.tables.health import Octets, Statuses
from twistginx.config.tables.match import Wanted, parse_method, parse_path
from twistginx.config.tables.upstream import parse_ip_address
from twistginx.config.template import Template
from twistginx.config.units import Duration, Size
from twistginx.registry import BUILT_IN, Registry

PAGE = Path(__file__).with_name("configuration.rst")

#: What follows this line is made.
MARK = ".. Made by docs/reference.py from the docstrings of the configuration classes: change it there.\n"

#: The tables of a file, in the order of a reader, with their titles.
TABLES = (
    ("``[process]``", schema.Process),
    ("``[log]``", schema.Log),
    ("``[upstream.NAME]``", schema.Upstream),
    ("``[listener.NAME]``", schema.Listener),
    ("``[networks]``", schema.Networks),
    ("``[match.NAME]``", schema.Match),
    ("``[map.NAME]``", schema.Map),
    ("``[[site]]``", schema.Site),
    ("``[defaults]``, ``[site.defaults]``", schema.Defaults),
    ("``[[site.route]]``", schema.Route),
    ("``[[stream]]``", schema.Stream),
    ("``[[stream.route]]``", schema.StreamRoute),
)

KINDS = {
    "resource": "Resources: what answers",
    "policy": "Policies: what stands around a resource",
    "balance": "Balancers",
    "stream": "What takes the connections of a stream",
    "store": "``[shared]``: what workers and machines share",
    "discovery": "Where servers are found",
}

#: Keys that are not fields of their classes: name, kind, text.
MORE = {
    schema.Upstream: [
        (
            "balance",
            'name or table, default: "round_robin"',
            "How one is chosen: the name of a balancer, or a table ``{ NAME = { options } }``.",
        ),
        (
            "discover",
            "table",
            "Where more servers are found; a table for each source: ``etcd``, ``file``, ``http``, ``srv``, plugins.",
        ),
        ("hash_key", "template", 'Short for ``balance = { hash = { hash_key = "..." } }``.'),
        ("servers_file", "path", 'Short for ``discover = { file = "..." }``.'),
    ],
    schema.Stream: [
        ("upstream", "text", 'Short for one ``[[stream.route]]`` with ``proxy = { upstream = "..." }``.'),
    ],
}

#: The same for texts that a function parses.
PARSED = {
    parse_endpoint: "endpoint or name",
    parse_header_pattern: "name or pattern",
    parse_ip_address: "IP address",
    parse_method: "method",
    parse_path: "path",
}

#: A type, as a reader calls it; a subclass is called like its base.
WORDS = {
    Duration: "duration",
    Size: "size",
    Rate: "rate",
    ByteRate: "rate of bytes",
    ServerAddress: "address",
    ServiceURL: "URL",
    HostName: "host name",
    Entry: "address or list",
    NetworkSet: "list of networks",
    Template: "template",
    Statuses: "statuses",
    Regex: "regular expression",
    Glob: "glob",
    Wanted: "text or ~regex",
    schema.Match: "condition",
    Octets: "text",
    Path: "path",
    bool: "true or false",
    int: "number",
    str: "text",
}


def kind(hint: Any) -> str:
    """
    What may be written for a value of this type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(each) for each in arguments if each is not type(None)))
    if origin is Annotated:
        return next((PARSED[each] for each in hint.__metadata__ if each in PARSED), kind(arguments[0]))
    if origin is Literal:
        return ", ".join(f'"{each}"' for each in arguments)
    if origin is tuple:
        return f"list of {kind(arguments[0])}"
    if origin is dict:
        return f"table of {kind(arguments[1])}"
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            return ", ".join(f'"{each.value}"' for each in hint)
        if has(hint) and hint not in WORDS and not issubclass(hint, Template):
            return "table"
        for known, word in WORDS.items():
            if issubclass(hint, known):
                return word
    return "any value"


def default(attribute: Attribute[Any]) -> str:
    """
    What holds where nothing is written; empty where the docstring says it, or nothing holds.
    """
    value = attribute.default
    if value is NOTHING:
        return "required"
    if value is None or isinstance(value, Factory) or (has(type(value)) and not isinstance(value, Template)):  # type: ignore[arg-type]
        return ""
    if isinstance(value, bool):
        return f"default: {str(value).lower()}"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple):
        return "default: [" + ", ".join(f'"{each}"' for each in value) + "]" if value else ""
    return f"default: {value}" if type(value) is int else f'default: "{value}"'


def manual(cls: type) -> tuple[str, dict[str, str]]:
    """
    The docstring's text, and what it says about each key.
    """
    text, *entries = re.split(r"(?m)^:ivar ", cleandoc(cls.__doc__ or ""))
    return text.strip(), {
        name: re.sub(r"\s+", " ", said).strip() for name, _, said in (entry.partition(":") for entry in entries)
    }


def keys(cls: type) -> Iterator[tuple[str, Attribute[Any], Any]]:
    """
    The keys of a table: name, attribute and type.
    """
    hints = get_type_hints(cls, include_extras=True)
    for attribute in fields(cls):
        if not attribute.metadata.get("composed"):
            yield key_of(attribute), attribute, hints[attribute.name]


def tables_of(hint: Any) -> Iterator[type]:
    """
    The tables that a value of this type may be.
    """
    if isinstance(hint, type) and kind(hint) == "table" and has(hint):
        yield hint
    for each in get_args(hint):
        yield from tables_of(each)


def table(cls: type) -> str:
    """
    The manual of a table, the tables in it included.
    """
    text, said = manual(cls)
    parts = [tidy(text), ""]
    for name, attribute, hint in keys(cls):
        inner = [each for each in tables_of(hint) if each is not cls]  # one within itself is told of once
        about = ", ".join(word for word in (kind(hint), default(attribute)) if word)
        entry = said.get(name, "")
        parts.append(f"``{name}`` ({about})")
        if entry and not (inner and tidy(manual(inner[0])[0])):
            parts += ["    " + tidy(entry), ""]
        for each in inner:
            parts += ["    " + line if line else "" for line in table(each).splitlines()] + [""]
    for name, about, entry in MORE.get(cls, ()):
        parts += [f"``{name}`` ({about})", "    " + entry, ""]
    return "\n".join(parts).strip() + "\n"


def tidy(text: str) -> str:
    """
    A docstring's text without the name of the table, which stands above it, and without Python's None.
    """
    text = re.sub(r"^``[^:]*``(?: of a site)?[:.]\s*", "", text)
    text = re.sub(r":(?:class|func|meth):`~?([^`]*)`", r"``\1``", text)
    text = re.sub(r'(?<!`)"\*', r'"\\*', text)  # a star begins emphasis
    text = re.sub(r"\. +None: ", ". Without it: ", text).replace("None: ", "without it: ")
    return text[:1].upper() + text[1:]


def heading(text: str, line: str) -> str:
    """
    A heading.
    """
    return f"{text}\n{line * len(text)}\n\n"


def reference() -> str:
    """
    The reference.
    """
    parts = [heading("The tables", "-")]
    parts += [heading(title, "~") + table(cls) + "\n" for title, cls in TABLES]
    registry = Registry(())
    for sort, title in KINDS.items():
        parts.append(heading(title, "-"))
        for each in BUILT_IN:
            if each.kind == sort:
                parts.append(heading(f"``{each.name}``", "~") + table(registry.find(sort, each.name).Config) + "\n")
    return "\n" + "".join(parts).rstrip() + "\n"


def written() -> tuple[str, str]:
    """
    The page as it is: what people wrote, and what this made.
    """
    prose, _, made = PAGE.read_text("utf-8").partition(MARK)
    return prose, made


def main(arguments: list[str]) -> int:
    """
    Write the page, or check that it needs no writing.
    """
    prose, made = written()
    if "--check" not in arguments:
        PAGE.write_text(prose + MARK + reference(), "utf-8")
    elif made != reference():
        print(f"{PAGE.name} is not up to date: run python docs/{Path(__file__).name}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
