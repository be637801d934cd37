"""
Streams and their routes.
"""

from __future__ import annotations

from typing import Any, Final

from twistginx.config.convert import keys_of
from twistginx.config.drafting.draft import Draft
from twistginx.config.drafting.policies import Policies
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Stream, StreamRoute

#: What takes the connections of a stream that names its upstream.
_STREAM_PROXY: Final = "proxy"


class Streams:
    """
    Makes streams of their tables.
    """

    def __init__(self, draft: Draft, policies: Policies) -> None:
        self._draft = draft
        self._policies = policies

    def stream(self, value: dict[str, Any], path: KeyPath) -> Stream | None:
        own = {key: each for key, each in value.items() if key not in ("upstream", "route")}
        policies = {key: own.pop(key) for key in self._draft.policies & own.keys()}
        for key in own.keys() - {*keys_of(Stream)}:
            del own[key]
            self._draft.unknown((*path, key), {*keys_of(Stream), "upstream", "route"})
        routes: list[StreamRoute | None] = []
        if "upstream" in value:
            if "route" in value:
                self._draft.report(
                    (*path, "upstream"), "stands beside [[stream.route]]", "expected one of the two", True
                )
            use = self._draft.use("stream", _STREAM_PROXY, {"upstream": value["upstream"]}, path)
            routes.append(None if use is None else StreamRoute(use))
        elif "route" in value:
            listed = self._draft.listed((*path, "route"), value["route"])
            routes += [self._route(table, where) for where, table in listed]
        else:
            self._draft.report(path, "goes nowhere", 'expected upstream = "NAME", or a [[stream.route]]')
        stand = self._policies.of_stream(policies, path)
        return self._draft.table(Stream, own, path, routes=tuple(routes), policies=stand)

    def _route(self, value: dict[str, Any], path: KeyPath) -> StreamRoute | None:
        names = frozenset(self._draft.registry.names("stream"))
        known = keys_of(StreamRoute)
        own = {key: each for key, each in value.items() if key in known}
        uses = []
        for key, each in value.items():
            if key in names:
                uses.append(self._draft.use("stream", key, each, (*path, key)))
            elif key not in known:
                self._draft.unknown((*path, key), {*known, *names})
        if len(uses) != 1:
            message = "has more than one resource" if uses else "has no resource, which would take the connections"
            self._draft.report(path, message, f"expected exactly one of {', '.join(sorted(names))}")
        return self._draft.table(StreamRoute, own, path, resource=uses[0] if uses else None)
