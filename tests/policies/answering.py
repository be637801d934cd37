"""
A resource of Twisted's that says how it was asked.
"""

from twisted.web.resource import Resource


class Telling(Resource):
    """
    A leaf, two segments down.
    """

    def getChild(self, path, request):
        return self

    def render_GET(self, request):
        prepath, postpath = b",".join(request.prepath).decode(), b",".join(request.postpath).decode()
        args = ",".join(f"{name.decode()}:{values[0].decode()}" for name, values in request.args.items())
        text = (
            f"uri={request.uri.decode()} path={request.path.decode()} prepath={prepath} postpath={postpath} args={args}"
        )
        return text.encode()


resource = Telling()
