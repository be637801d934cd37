"""
Twisted's own server, files and reverse proxy: C{stock_twisted.py STATIC TLS PROXY UPSTREAM ROOT CERT KEY LOG}.
"""

from __future__ import annotations

import sys

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.endpoints import serverFromString  # noqa: E402
from twisted.web.proxy import ReverseProxyResource  # noqa: E402
from twisted.web.server import Site  # noqa: E402
from twisted.web.static import File  # noqa: E402


def main(static: str, tls: str, front: str, upstream: str, root: str, cert: str, key: str, log: str) -> None:
    """
    Serve until the end.
    """
    files = File(root)
    proxy = ReverseProxyResource("127.0.0.1", int(upstream), b"")
    for endpoint, resource in (
        (f"tcp:{static}:interface=127.0.0.1:backlog=4096", files),
        (f"ssl:{tls}:interface=127.0.0.1:backlog=4096:privateKey={key}:certKey={cert}", files),
        (f"tcp:{front}:interface=127.0.0.1:backlog=4096", proxy),
    ):
        serverFromString(reactor, endpoint).listen(Site(resource, logPath=log))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
