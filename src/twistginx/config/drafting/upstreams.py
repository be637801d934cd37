"""
Upstreams, and the store: tables of which a module describes a part, or the whole.
"""

from __future__ import annotations

import re
from typing import Any, Final

from twistginx.config.drafting.draft import Draft
from twistginx.config.faults import did_you_mean, shown
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Upstream, Use

#: What balances where nothing else is said.
_BALANCE: Final = "round_robin"

#: The balancer whose one option may stand beside it.
_HASH: Final = "hash"
_HASH_KEY: Final = "hash_key"

#: Short for ``discover = { file = ... }``.
_SERVERS_FILE: Final = "servers_file"

#: Where shared state is where nothing else is said, and the schemes of URLs that are not the names of modules.
_STORE: Final = "memory"
_STORES: Final = {"rediss": "redis"}


class Upstreams:
    """
    Makes upstreams of their tables.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def upstream(self, value: dict[str, Any], path: tuple[str, str]) -> Upstream | None:
        elsewhere = ("balance", _HASH_KEY, "discover", _SERVERS_FILE)
        own = {key: each for key, each in value.items() if key not in elsewhere}
        if "servers" not in own and ("discover" in value or _SERVERS_FILE in value):
            own["servers"] = []
        if _HASH_KEY in value:
            balance = self._hash(value, path)
        else:
            balance = self._balance(value.get("balance", _BALANCE), (*path, "balance"))
        discover = self._discover(value, path)
        return self._draft.table(Upstream, own, path, name=path[-1], balance=balance, discover=discover)

    def _hash(self, value: dict[str, Any], path: KeyPath) -> Use | None:
        """
        The balancer of an upstream with ``hash_key``, which is short for a table.
        """
        if value.get("balance", _HASH) != _HASH:
            hint = f'expected balance = "{_HASH}" beside it, or {{ {_HASH} = {{ {_HASH_KEY} = "..." }} }} alone'
            self._draft.report((*path, _HASH_KEY), "is of no use to this balancer", hint, True)
            return None
        return self._draft.use("balance", _HASH, {_HASH_KEY: value[_HASH_KEY]}, path)

    def _balance(self, value: Any, path: KeyPath) -> Use | None:
        if isinstance(value, str):
            name, where = str(value), path
            options: Any = {}
        elif isinstance(value, dict) and len(value) == 1:
            ((name, options),) = value.items()
            where = (*path, name)
        else:
            self._draft.report(
                path, f"is {shown(value)}", 'expected a name such as "round_robin", or { NAME = { options } }'
            )
            return None
        if name not in self._draft.registry.names("balance"):
            hint = did_you_mean(name, self._draft.registry.names("balance"))
            self._draft.report(path, f'there is no balancer "{name}"', hint)
            return None
        return self._draft.use("balance", name, options, where)

    def _discover(self, value: dict[str, Any], path: KeyPath) -> tuple[Use | None, ...]:
        """
        What finds servers for the upstream ``value``.
        """
        tables = value.get("discover", {})
        if not isinstance(tables, dict):
            expected = 'expected a table such as { srv = "_http._tcp.app" }'
            self._draft.report((*path, "discover"), f"is {shown(tables)}", expected)
            return (None,)
        uses = [self._draft.use("discovery", name, each, (*path, "discover", name)) for name, each in tables.items()]
        if _SERVERS_FILE in value:
            if "file" in tables:
                self._draft.report(
                    (*path, _SERVERS_FILE), "stands beside discover.file", "expected one of the two", True
                )
            uses.append(self._draft.use("discovery", "file", value[_SERVERS_FILE], (*path, _SERVERS_FILE)))
        return tuple(uses)


def store(draft: Draft, value: Any, path: KeyPath) -> Use | None:
    """
    The store of ``[shared]``: its module describes the whole table.
    """
    if not isinstance(value, dict):
        draft.report(path, f"is {shown(value)}", "expected a table")
        return None
    store = value.get("store", _STORE)
    if not isinstance(store, str):
        draft.report((*path, "store"), f"is {shown(store)}", 'expected "memory", or a URL such as "redis://..."')
        return None
    scheme = re.split("[:+]", store, maxsplit=1)[0]
    name = _STORES.get(scheme, scheme)
    if name not in draft.registry.names("store"):
        hint = did_you_mean(name, draft.registry.names("store"))
        draft.report((*path, "store"), "names no store that there is", hint)
        return None
    return draft.use("store", name, value, path)
