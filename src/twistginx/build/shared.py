"""
``[shared]`` -> the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twistginx.shared.local import LocalStore

if TYPE_CHECKING:
    from twistginx.build.building import Building


def make_store(building: Building) -> Any:
    """
    Where the state is that workers and machines share, an ``IStore``.  It outlives reloads that do not change the
    table.
    """
    use, memory = building.root.shared, building.runtime.memory
    if memory is not None and (use is None or use.name == "memory"):
        return memory
    if use is None:
        return LocalStore()  # the table has a problem, which is reported already
    key = ("shared", use.name, use.config)
    store = building.runtime.kept.get(key)
    if store is None:
        store = building.make(use)
    if store is None:
        return LocalStore()  # see above
    building.start_and_stop(store)
    return building.keep(key, lambda: store)
