"""
A reverse proxy for proxy.py: everything to the port that the environment names.
"""

from __future__ import annotations

import os

from proxy.http import Url
from proxy.http.server import ReverseProxyBasePlugin

UPSTREAM = b"http://127.0.0.1:" + os.environ["UPSTREAM"].encode()


class Forward(ReverseProxyBasePlugin):
    """
    The plugin, named on its command line.
    """

    def routes(self) -> list[str]:
        """
        Every path.
        """
        return [r"/.*"]

    def handle_route(self, request, pattern) -> Url:
        """
        The same path on the upstream.
        """
        return Url.from_bytes(UPSTREAM + request.path)
