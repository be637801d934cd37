"""
What python-app.toml serves below /files: a tree of ordinary ``twisted.web`` resources.
"""

from __future__ import annotations

from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import Data


class Sum(Resource):
    """
    Adds up the numbers in the path.
    """

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """
        The sum, as text.
        """
        numbers = [int(segment) for segment in request.postpath if segment.isdigit()]
        return f"{sum(numbers)}\n".encode()


root = Resource()
root.putChild(b"", Data(b"Try sum/1/2/3.\n", "text/plain"))
root.putChild(b"sum", Sum())
