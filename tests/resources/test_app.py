"""
Tests for L{twistginx.resources.app}, over the real channel.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.wsgi import WSGIResource
from zope.interface.verify import verifyObject

from tests.resources.serving import Context, Served
from twistginx.errors import ConfigError
from twistginx.interfaces import IResourceModule
from twistginx.resources import app

APPS = """
    from functools import partial

    from klein import Klein
    from twisted.web.resource import Resource

    class Hello(Resource):
        isLeaf = True

        def __init__(self, name=b"hello"):
            super().__init__()
            self.name = name

        def render_GET(self, request):
            return self.name + b" " + b"/".join(request.postpath)

        def render_POST(self, request):
            return request.content.read()

    resource = Hello(b"instance")

    class Tree:
        resource = Hello(b"nested")

    def factory():
        return Hello(b"factory")

    klein = Klein()

    @klein.route("/k/<name>")
    def k(request, name):
        return "klein " + name

    def with_options(one=1, two=2):
        return Hello(b"options")

    def klein_factory():
        return klein

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"wsgi ", environ["PATH_INFO"].encode(), b" ", environ["wsgi.input"].read()]

    class WSGI:
        def __call__(self, environ, start_response):
            return wsgi(environ, start_response)

    wsgi_object = WSGI()

    def wrapped(*args, **kwargs):
        return wsgi(*args, **kwargs)

    middleware = partial(wsgi)

    def wsgi_factory():
        return wsgi

    async def asgi(scope, receive, send):
        pass

    class ASGI:
        async def __call__(self, scope, receive, send):
            pass

    asgi_object = ASGI()

    def asgi_factory():
        return asgi

    def broken():
        raise LookupError("no database")

    async def coroutine():
        return resource

    def wants(argument, another, third):
        pass

    number = 7

    def makes_number():
        return 7
"""


class Reactor(MemoryReactorClock):
    """
    A reactor whose threads run at once.
    """

    def callInThread(self, function, *args, **options):
        function(*args, **options)

    def callFromThread(self, function, *args, **options):
        function(*args, **options)


class AppTestCase(SynchronousTestCase):
    """
    Modules in a directory of their own.
    """

    def setUp(self):
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.context = Context(self.base, Reactor())
        self.patch(sys, "path", list(sys.path))
        self.patch(sys, "dont_write_bytecode", True)
        modules = set(sys.modules)
        self.addCleanup(lambda: [sys.modules.pop(each) for each in set(sys.modules) - modules if "zapps" in each])

    def write(self, name: str, text: str) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def make(self, name: str, search: str | None = "."):
        return app.make(app.Config(name, None if search is None else Path(search)), self.context)

    def refused(self, name: str, search: str | None = ".", key: str = "object") -> str:
        error = self.assertRaises(ConfigError, self.make, name, search)
        self.assertEqual(error.key, key)
        self.assertNotIn("\n", str(error))
        return f"{error.message}; {error.expected}"


class AppTests(AppTestCase):
    """
    What can be served.
    """

    def setUp(self):
        super().setUp()
        self.write("zapps.py", APPS)

    def get(self, name: str, target: bytes = b"/a/b", method: bytes = b"GET", body: bytes = b"") -> bytes:
        made = self.make(f"zapps:{name}")
        self.assertTrue(IResource.providedBy(made))
        answer = Served(made, self.context).get(target, method, body)
        self.assertEqual(answer.status, 200)
        return answer.body

    def test_module(self):
        """
        It is a resource's module, and a string is short for the object.
        """
        verifyObject(IResourceModule, app)
        self.assertEqual(app.Config.from_shorthand("a:b"), app.Config("a:b"))
        self.assertRaises(ValueError, app.Config.from_shorthand, 1)

    def test_resources(self):
        """
        A resource, one inside something, a class of them, and a function that makes one.
        """
        self.assertEqual(self.get("resource"), b"instance a/b")
        self.assertEqual(self.get("Tree.resource"), b"nested a/b")
        self.assertEqual(self.get("Hello"), b"hello a/b")
        self.assertEqual(self.get("factory"), b"factory a/b")
        self.assertEqual(self.get("with_options"), b"options a/b")
        self.assertEqual(self.get("resource", method=b"POST", body=b"posted"), b"posted")

    def test_klein(self):
        """
        A Klein app, and a function that makes one.
        """
        self.assertEqual(self.get("klein", b"/k/x"), b"klein x")
        self.assertEqual(self.get("klein_factory", b"/k/y"), b"klein y")

    def test_wsgi(self):
        """
        A WSGI function, object, wrapper, partial, and a function that makes one.
        """
        for name in ("wsgi", "wsgi_object", "WSGI", "middleware", "wsgi_factory"):
            self.assertIsInstance(self.make(f"zapps:{name}"), WSGIResource)
            self.assertEqual(self.get(name, b"/p", b"POST", b"sent"), b"wsgi /p sent")

    def test_wrapped_wsgi(self):
        """
        A function that takes anything is called as WSGI, because a factory says that it takes nothing.
        """
        self.assertEqual(self.get("wrapped", b"/p", b"POST", b"sent"), b"wsgi /p sent")

    def test_asgi(self):
        """
        ASGI is told from the others, and refused in so many words.
        """
        for name in ("asgi", "asgi_object", "ASGI", "asgi_factory"):
            self.assertIn("is an ASGI application", self.refused(f"zapps:{name}"), name)

    def test_nothing_to_serve(self):
        """
        What is no application is named for what it is.
        """
        self.assertIn("zapps:number is a int, and not an application", self.refused("zapps:number"))
        self.assertIn("what zapps:makes_number makes is a int", self.refused("zapps:makes_number"))
        self.assertIn("is a coroutine", self.refused("zapps:coroutine"))
        self.assertIn("is a function", self.refused("zapps:wants"))
        self.assertIn("is a module", self.refused("os:path"))

    def test_broken_factory(self):
        """
        A factory that raises says so in one line, with the line.
        """
        message = self.refused("zapps:broken")
        self.assertIn("calling zapps:broken failed: LookupError: no database (zapps.py, line ", message)

    def test_kept(self):
        """
        An app stays over reloads as long as its table is the same; a failure is not kept.
        """
        first = self.make("zapps:factory")
        self.assertIs(self.make("zapps:factory"), first)
        self.assertIsNot(self.make("zapps:Hello"), first)
        self.refused("zapps:broken")
        self.refused("zapps:broken")


class ImportTests(AppTestCase):
    """
    What cannot be imported.
    """

    def test_form(self):
        """
        The name is module:object.
        """
        for name in ("", "zapps", "zapps:", ":x", "zapps:x y", "./zapps.py:x", "zapps:x()", "a..b:c"):
            self.assertIn('such as "package.module:object"', self.refused(name))

    def test_search(self):
        """
        Without C{search} the directory of the configuration is not searched, and the error says what to write; with it
        it is, once.
        """
        self.write("zapps.py", "from twisted.web.resource import Resource as R")
        message = self.refused("zapps:R", search=None)
        self.assertIn('there is no module "zapps"', message)
        self.assertIn('search = "."', message)
        self.make("zapps:R")
        self.context.kept.clear()
        self.make("zapps:R")
        self.assertEqual(sys.path.count(str(self.base.resolve())), 1)
        self.assertIn("is not a directory", self.refused("zapps:R", search="nowhere", key="search"))

    def test_missing_module(self):
        """
        A module that is not there is named, with one that may be meant.
        """
        self.write("zapps_pkg/__init__.py", "")
        self.write("zapps_pkg/admin.py", "")
        self.assertEqual(
            self.refused("zapps_pkg.admim:x"), 'there is no module "zapps_pkg.admim"; did you mean "admin"?'
        )
        self.assertIn('did you mean "zapps_pkg"?', self.refused("zapps_pgk.admin:x"))
        self.assertIn('there is no module "zapps_pgk"', self.refused("zapps_pgk.admin:x"))

    def test_missing_attribute(self):
        """
        An object that is not there is named, with one that may be meant.
        """
        self.write("zapps.py", "class application:\n    resource = 1\n")
        self.assertEqual(
            self.refused("zapps:aplication"), 'there is no "aplication" in "zapps"; did you mean "application"?'
        )
        self.assertIn('there is no "resorce" in "application"', self.refused("zapps:application.resorce"))

    def test_broken_modules(self):
        """
        A module that fails says why, in one line.
        """
        for text, expected in (
            ("import nowhere_at_all", "importing \"zapps_{}\" failed: No module named 'nowhere_at_all'"),
            ("\nx = = 1", 'importing "zapps_{}" failed: invalid syntax (zapps_{}.py, line 2)'),
            ("\n\n1 / 0", 'importing "zapps_{}" failed: ZeroDivisionError: division by zero (zapps_{}.py, line 3)'),
            ("raise SystemExit(3)", 'importing "zapps_{}" failed: SystemExit: 3 (zapps_{}.py, line 1)'),
        ):
            number = abs(hash(text))
            self.write(f"zapps_{number}.py", text)
            message = self.refused(f"zapps_{number}:x")
            self.assertIn(expected.replace("{}", str(number)), message)
