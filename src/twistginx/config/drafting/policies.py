"""
The policies of routes and streams: which there are, and what they inherit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from twistginx.config.drafting.draft import WHEN, Draft
from twistginx.config.scanner import KeyPath
from twistginx.config.schema import Policy
from twistginx.errors import ConfigError


class Policies:
    """
    Makes policies of their tables.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def of(self, tables: dict[str, Any], path: KeyPath, inherited: Mapping[str, Policy]) -> dict[str, Policy]:
        """
        The inherited policies with those of ``tables`` over them.
        """
        policies = dict(inherited)
        for name, value in tables.items():
            if value is False:
                policies.pop(name, None)
                continue
            policy = self._policy(name, value, (*path, name))
            if policy is not None:
                policies[name] = self._merged(inherited.get(name), policy)
        return policies

    def of_stream(self, tables: dict[str, Any], path: KeyPath) -> dict[str, Policy]:
        """
        What stands before the connections of a stream.
        """
        policies = {}
        for name, value in tables.items():
            if not self._is_for_streams(name):
                known = ", ".join(sorted(filter(self._is_for_streams, self._draft.policies)))
                hint = f"expected one of {known}"
                self._draft.report((*path, name), "is for requests, and a stream has none", hint, of_key=True)
                continue
            policies[name] = value
            tables_of = value if isinstance(value, list) else [value]
            if any(isinstance(each, dict) and WHEN in each for each in tables_of):
                self._draft.report((*path, name), f"has {WHEN}, which is about requests, and a stream has none")
        return self.of(policies, path, {})

    def _is_for_streams(self, name: str) -> bool:
        """
        Can the policy of that name stand before a raw connection?  One that cannot be imported says so where it is
        used.
        """
        try:
            return "stream" in self._draft.registry.find("policy", name).applies_to
        except ConfigError:
            return True

    def _policy(self, name: str, value: Any, path: KeyPath) -> Policy | None:
        if not isinstance(value, list):
            use = self._draft.use("policy", name, value, path)
            return use if use is None or not use.module.many else (use,)
        try:
            module = self._draft.registry.find("policy", name)
        except ConfigError:
            return self._draft.use("policy", name, value, path)  # which reports it
        # Where only one makes sense, there may be several for different requests, and one for all others; unless the
        # module makes one of an array.
        conditional = [isinstance(each, dict) and WHEN in each for each in value]
        several = True in conditional and not getattr(module, "takes_arrays", False)
        if not module.many and not several:
            return self._draft.use("policy", name, value, path)
        if not module.many and conditional.count(False) > 1:
            self._draft.report(
                path, f"more than one {name} is for all requests", "expected when in all but one of them"
            )
        uses = [self._draft.use("policy", name, each, (*path, index)) for index, each in enumerate(value)]
        return tuple(use for use in uses if use is not None)

    def _merged(self, inherited: Policy | None, own: Policy) -> Policy:
        """
        ``own`` with what it takes from ``inherited``: nothing, unless its module has ``merge(inherited, own)``.  What
        is for other requests stays beside it.
        """
        above = inherited if isinstance(inherited, tuple) else (inherited,) if inherited is not None else ()
        mine = own if isinstance(own, tuple) else (own,)
        merge = getattr(mine[0].module, "merge", None) if mine else None
        if merge is None or not above:
            return own
        kept = {repr(use.when): use for use in above}
        result = []
        for use in mine:
            other = kept.pop(repr(use.when), None)
            try:
                result.append(use if other is None else evolve(use, config=merge(other.config, use.config)))
            except ValueError as error:
                self._draft.report(use.where, f"does not go with what is inherited: {error}")
        result += kept.values()
        return result[0] if len(result) == 1 and not isinstance(own, tuple) else tuple(result)
