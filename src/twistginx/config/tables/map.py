"""
``[map.NAME]``: a value for a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Attribute, field, frozen

from twistginx.config.networks import Network
from twistginx.config.regex import Regex
from twistginx.config.scope import current
from twistginx.config.template import Template

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_names(_: Any, attribute: Attribute[Any], value: Mapping[str, Any]) -> None:
    """
    A validator of tables whose keys are the names of variables.
    """
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError(f'"{name}" cannot be the name of a variable; expected letters, digits and underscores')


def parse_rules(rules: Mapping[str, str]) -> dict[Regex, Template]:
    """
    What regexes stand for; their captures are known in it, and those of no other.

    :raise ValueError: with a short reason.
    """
    parsed = {}
    for text, value in rules.items():
        regex = Regex.parse(text)
        with current().within(captures=regex.captures).entered():
            parsed[regex] = Template.parse(value)
    return parsed


def _check_rules(_: Any, attribute: Attribute[Any], value: Mapping[str, str]) -> None:
    parse_rules(value)


def _check_networks(_: Any, attribute: Attribute[Any], value: Mapping[str, Template]) -> None:
    for text in value:
        if Network.parse(text).range is None:
            raise ValueError(f'"{text}" is no network; expected one such as "10.0.0.0/8"')


@frozen
class Map:
    """
    ``{map.NAME}`` is what this table has for the value of ``of``: of ``exact``, else of the smallest ``network`` that
    it is an address of, else of the longest ``prefix`` that it begins with, else of the first ``regex`` that is found
    in it, else ``default``.

    :ivar of: what is looked up: "{header.x-tenant}".
    :ivar exact: values by whole value.
    :ivar network: values by networks, where ``of`` is an address: { "10.0.0.0/8" = "office" }.
    :ivar prefix: values by what it begins with.
    :ivar regex: values by regex, in the order of the file; ``{1}`` and ``{name}`` are what it captures.
    :ivar default: what stands for all others.
    :ivar ignore_case: ``of`` is in lower case before it is looked up.
    """

    of: Template
    exact: dict[str, Template] = field(factory=dict)
    network: dict[str, Template] = field(factory=dict, validator=_check_networks)
    prefix: dict[str, Template] = field(factory=dict)
    regex: dict[str, str] = field(factory=dict, validator=_check_rules)
    default: Template = Template("", ())
    ignore_case: bool = False


@frozen
class Variables:
    """
    ``[variables]``: templates by name, for ``{var.NAME}`` in all sites; ``[site.variables]`` and ``variables`` of a
    route are the same for less, and go before.
    """

    variables: dict[str, Template] = field(factory=dict, validator=check_names)
