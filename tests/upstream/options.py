"""
The options of upstreams, as tests want them.
"""

from __future__ import annotations

from typing import Any

from twistginx.config.schema import Server, Upstream, UpstreamTimeouts, Use
from twistginx.config.units import Duration


def timeouts(connect: float = 3.0, first_byte: float = 60.0, idle: float = 60.0) -> UpstreamTimeouts:
    """
    In seconds.
    """
    return UpstreamTimeouts(Duration(connect), Duration(first_byte), Duration(idle))


def options(**more: Any) -> Upstream:
    """
    Of an upstream ``app``: the defaults, but for what is said.
    """
    servers: tuple[Server, ...] = ()
    return Upstream("app", servers or ("none",), Use("round_robin", None, None, ()), **more)  # type: ignore[arg-type]
