"""
What a table is called by the names in it, so that it can be found again in another version of the file.
"""

from __future__ import annotations

from typing import Any, Final

from twistginx.config.scanner import KeyPath

#: The keys whose values name a table of an array, the best first.
_NAMES: Final = ("name", "names", "exact", "path", "regex", "listen", "listen_tls", "key", "per")


def place_of(tree: Any, path: KeyPath) -> str:
    """
    The place of the table at ``path``, without numbers that change when a table is put before it:
    ``site(example.com)/route(/api)/rate_limit``.

    :param tree: of a ``Source``.
    """
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"({_label(tree, key)})"
        else:
            text += f"/{key}" if text else key
        try:
            tree = tree[key]
        except (TypeError, LookupError):  # a table that was inherited, or is no table
            tree = None
    return text


def _label(tables: Any, index: int) -> str:
    """
    What the table at ``index`` is called among its like.
    """
    if not isinstance(tables, list):
        return str(index)
    names = [_name(table) for table in tables[: index + 1]]
    earlier = names[:-1].count(names[-1])
    return f"{names[-1]}#{earlier + 1}" if earlier else names[-1]


def _name(table: Any) -> str:
    if isinstance(table, dict):
        for key in _NAMES:
            value = table.get(key)
            if isinstance(value, str):
                return str(value)
            if isinstance(value, list) and value:
                return str(value[0])
    return ""
