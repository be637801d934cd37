"""
C{docs/http.rst} says what is so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import NOTHING, fields
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config import schema

ROOT = Path(__file__).parent.parent

#: Tables of which the page has every limit and every timeout, by what they are called there.
TABLES = {
    "listener.NAME.timeouts": schema.ListenerTimeouts,
    "listener.NAME.limits": schema.ListenerLimits,
    "upstream.NAME.timeouts": schema.UpstreamTimeouts,
    "limits": schema.RouteLimits,
}

#: Limits in tables that have other keys as well.
SINGLE = {
    "listener.NAME.backlog": (schema.Listener, "backlog"),
    "upstream.NAME.keepalive": (schema.Upstream, "keepalive"),
    "process.max_connections": (schema.Process, "max_connections"),
    "process.drain_timeout": (schema.Process, "drain_timeout"),
}


def default(table: Any, name: str) -> str:
    """
    What holds where nothing is written, as the page writes it.
    """
    value = getattr(fields(table), name).default
    assert value is not NOTHING
    return "none" if value is None else str(value)


class LimitTests(SynchronousTestCase):
    """
    Every default limit and timeout stands on the page.
    """

    def test_defaults(self) -> None:
        """
        With its key and its value, and nothing else does.
        """
        expected = {
            f"{key}.{each.name}": default(table, each.name) for key, table in TABLES.items() for each in fields(table)
        }
        expected |= {key: default(*place) for key, place in SINGLE.items()}
        page = (ROOT / "docs" / "http.rst").read_text("utf-8")
        self.assertEqual(dict(re.findall(r"(?m)^``([\w.]+)`` — (\S+)$", page)), expected)
