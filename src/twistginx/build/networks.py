"""
Lists of addresses, with their names and files -> who is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twistginx.config.faults import did_you_mean
from twistginx.config.networks import ALL, Entry, NetworkSet
from twistginx.errors import ConfigError
from twistginx.net.addresslist import AddressList, Everybody, Fixed, fixed, read_addresses
from twistginx.net.watchedfile import WatchedFile

if TYPE_CHECKING:
    from twistginx.build.building import Building, Key

Parse = Callable[[bytes], Any]


class Networks:
    """
    The lists of one generation.
    """

    def __init__(self, building: Building) -> None:
        self._building = building
        self._named: dict[str, AddressList] = {}

    def build(self) -> None:
        """
        Build all lists that have a name, used or not, so that what is wrong with them is said where it stands.
        """
        for name in self._building.root.networks:
            made = self._building.attempt(("networks", name), partial(self._made, name))
            self._named[name] = AddressList(()) if made is None else made

    def watched(self, path: Path, parse: Parse) -> WatchedFile[Any]:
        """
        A file that is read again when it changes; one for all who read it with the same ``parse``, over reloads too.

        :raise ConfigError: when it cannot be read now, or is wrong.
        """
        building = self._building
        runtime = building.runtime
        file: WatchedFile[Any] = building.keep(
            ("file", path, parse), lambda: WatchedFile(path, parse, runtime.reactor, runtime.ticker)
        )
        building.start_and_stop(file)
        return file

    def addresses(self, entries: Sequence[Entry], key: str) -> AddressList:
        """
        Who is meant by ``entries``.

        :param key: where they stand, for errors.
        :raise ConfigError: for a name that nothing has, and a file that cannot be read.
        """
        parts: list[tuple[str, Any]] = []
        networks = [entry.network for entry in entries if entry.network is not None]
        if networks:
            parts.append((key, fixed(networks)))
        for index, entry in enumerate(entries):
            try:
                if entry.file is not None:
                    parts.append((str(entry), self.watched(entry.file, read_addresses)))
                elif entry.name == ALL:
                    parts.append((ALL, Fixed(Everybody())))
                elif entry.name:
                    parts.append((f"networks.{entry.name}", Fixed(self._list(entry.name))))
            except ConfigError as error:
                raise ConfigError(error.message, f"{key}.{index}", error.expected) from error
        return AddressList(parts)

    def trusted(self, entries: Sequence[Entry], where: Key) -> NetworkSet | AddressList | None:
        """
        The proxies that are trusted by ``trusted_proxies``; None: none are.

        :param where: the table of the site.
        :raise ConfigError: as :meth:`addresses`.
        """
        for index, entry in enumerate(entries):
            everybody = entry.network is not None and entry.network.range is not None and not entry.network.range.prefixlen
            if everybody or entry.name == ALL:
                self._building.warn(
                    (*where, "trusted_proxies", index), "trusts everybody, so that each client chooses its address itself"
                )
        networks = [entry.network for entry in entries if entry.network is not None]
        if len(networks) == len(entries):
            return NetworkSet(networks) or None
        return self.addresses(entries, "trusted_proxies")

    def _list(self, name: str) -> AddressList:
        found = self._named.get(name)
        if found is None:
            if name in self._building.root.source.tree.get("networks", {}):
                return AddressList(())  # it has a problem, which is reported already
            hint = did_you_mean(name, list(self._named)) if self._named else ""
            raise ConfigError(
                f'there is no list "{name}"', expected=hint or "expected a network, or a name of [networks]"
            )
        return found

    def _made(self, name: str) -> AddressList:
        config = self._building.root.networks[name]
        listed = self.addresses(config.addresses, "addresses")
        return AddressList(
            [(name, Fixed(listed))], self.addresses(config.without, "without") if config.without else None
        )
