"""
Tests for ``twistginx.config.changes``.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.changes import changes
from twistginx.config.schema import Defaults, Listener, ListenerLimits, Log, Process, Root, Site, Stream, Upstream, Use

BALANCE = Use("round_robin", None, None, ())


def root(sites=(), streams=(), listeners=(), files=(), **upstreams):
    """
    A configuration; an upstream is told by its number of idle connections.
    """
    return Root(
        process=Process(),
        log=Log(),
        defaults=Defaults(),
        upstreams={name: Upstream(name, ("server",), BALANCE, keepalive=size) for name, size in upstreams.items()},
        listeners={name: Listener(name, endpoint, **options) for name, endpoint, options in listeners},
        sites=tuple(sites),
        streams=tuple(streams),
        source=SimpleNamespace(
            files=[SimpleNamespace(base=Path("/etc"))], contents={Path(path): content for path, content in files}
        ),
    )


def site(*listen, names=()):
    return Site(listen=listen, names=names)


class ChangesTests(SynchronousTestCase):
    """
    A reload says in a line what it changes.
    """

    def test_nothing(self):
        """
        The same twice.
        """
        self.assertEqual(
            changes(root([site("tcp:1")], app=1), root([site("tcp:1")], app=1)),
            "nothing is another",
        )

    def test_upstreams(self):
        """
        New, different, gone.
        """
        self.assertEqual(changes(root(a=1, b=1, c=1), root(b=2, c=1, d=1)), "upstreams +d ~b -a")

    def test_sites_and_listeners(self):
        """
        A site is called by its names, or by its addresses when it has none.
        """
        old = root([site("tcp:1", names=("a.test", "b.test")), site("tcp:2")])
        new = root([site("tcp:1", "tcp:3", names=("a.test", "b.test"))])
        self.assertEqual(changes(old, new), "listeners +tcp:3 -tcp:2; sites ~a.test, b.test -tcp:2")

    def test_named_listener(self):
        """
        A listener is its address, whatever it is called.
        """
        old = root([site("edge", names=("a.test",))], listeners=[("edge", "tcp:1", {})])
        new = root([site("edge", names=("a.test",))], listeners=[("edge", "tcp:2", {})])
        self.assertEqual(changes(old, new), "listeners +tcp:2 -tcp:1")

    def test_options_of_a_listener(self):
        """
        An option of a listener is a change of it; to have a table without any is none.
        """
        plain, named = (
            root([site(listen, names=("a.test",))], listeners=[("edge", "tcp:1", options)])
            for listen, options in (("tcp:1", {}), ("edge", {}))
        )
        self.assertNotIn("listeners", changes(plain, named))
        limited = root(
            [site("edge", names=("a.test",))], listeners=[("edge", "tcp:1", {"limits": ListenerLimits(connections=5)})]
        )
        self.assertEqual(changes(named, limited), "listeners ~tcp:1")
        self.assertIn("listeners ~tcp:1", changes(plain, limited))

    def test_sites_of_one_name(self):
        """
        A site that has the name of another one, on other listeners, is not overlooked.
        """
        old = root([site("tcp:1", names=("a",)), site("tcp:2", names=("a",))])
        new = root([site("tcp:3", names=("a",)), site("tcp:2", names=("a",))])
        self.assertEqual(changes(old, new), "listeners +tcp:3 -tcp:1; sites ~a")

    def test_files(self):
        """
        A certificate that was renewed in its place is told, by its path from the configuration's directory; what is in
        a file never is.
        """
        old = root(files=[("/etc/a.pem", b"old"), ("/etc/b.pem", b"same"), ("/run/key", b"x")])
        new = root(files=[("/etc/a.pem", b"new"), ("/etc/b.pem", b"same"), ("/run/key", b"y")])
        self.assertEqual(changes(old, new), "files ~a.pem ~/run/key")

    def test_streams(self):
        """
        Streams are called by their addresses.
        """
        self.assertEqual(
            changes(root(), root(streams=[Stream(listen=("tcp:5432",))])),
            "listeners +tcp:5432; streams +tcp:5432",
        )
