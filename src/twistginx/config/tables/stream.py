"""
``[[stream]]``.
"""

from __future__ import annotations

from attrs import Factory, field, frozen

from twistginx.config.tables.fields import COMPOSED, SINGLE, Endpoint, Policy, Use


@frozen
class StreamRoute:
    """
    ``[[stream.route]]``: which connections, and what takes them: it has exactly one stream resource (``proxy``, ...).

    :ivar name: for messages and logs; may be empty.
    """

    resource: Use = field(metadata=COMPOSED)
    name: str = ""


@frozen
class Stream:
    """
    ``[[stream]]``: raw connections.

    :ivar listen: endpoint strings, or names of listeners.
    :ivar name: for messages and logs; may be empty.
    :ivar routes: in the order of the file.  ``upstream = "db"`` is short for one with ``proxy = { upstream = "db" }``.
    :ivar policies: by name: what stands before every connection.
    """

    listen: tuple[Endpoint, ...] = field(default=(), metadata=SINGLE)
    name: str = ""
    routes: tuple[StreamRoute, ...] = field(default=(), metadata=COMPOSED)
    policies: dict[str, Policy] = field(default=Factory(dict), metadata=COMPOSED)
