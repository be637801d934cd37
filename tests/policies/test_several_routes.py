"""
Tests for guards and limits where one request comes to several routes: C{try_files}, C{on_error}.
"""

from __future__ import annotations

from time import time
from typing import Any

import bcrypt
import jwt as pyjwt
from twisted.trial.unittest import SynchronousTestCase

from tests.http.conversation import Answer, answers
from tests.policies.guarded import ENVIRONMENT, KEY, basic
from twistginx.errors import ConfigError
from twistginx.http.signature import Signer
from twistginx.shared.local import LocalStore
from twistginx.testing import MemoryServer

FILES = {"htpasswd": b"ann:" + bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)), "www/a.txt": b"a"}

TRY_FILES = """
    [[site]]
    listen = "tcp:80"
    [site.defaults]
    {defaults}
    [[site.route]]
    path = "/app"
    respond = {{ body = "app {{user}}" }}
    [[site.route]]
    static = {{ root = "www", try_files = ["{{path}}", "/app?x=1"] }}
"""

ON_ERROR = """
    [upstream.app]
    servers = ["127.0.0.1:9001"]
    [upstream.spare]
    servers = ["127.0.0.1:9002"]
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    {policies}
    on_error = {{ upstreams = {{ "4xx,5xx" = "spare" }} }}
    proxy = {{ upstream = "app" }}
"""


class _Case(SynchronousTestCase):
    """
    A server in memory.
    """

    server: MemoryServer

    def serve(self, config: str) -> None:
        self.server = MemoryServer(config, FILES, environment=ENVIRONMENT)
        self.addCleanup(self.server.close)

    def ask(self, *fields: str, target: str = "/gone", body: str = "", method: str = "GET") -> Any:
        """
        A client that has asked.
        """
        client = self.server.connect()
        client.send("\r\n".join([f"{method} {target} HTTP/1.1", "Host: a", *fields, "", body]).encode())
        return client

    def told(self, *fields: str, **more: str) -> Answer:
        """
        What it is told.
        """
        client = self.ask(*fields, **more)
        (answer,) = answers(client.take())
        client.close()
        return answer


class RerouteTests(_Case):
    """
    A request that C{try_files} has given to another route, with the same guards and limits.
    """

    def test_credentials(self) -> None:
        """
        Whoever is asked a second time for what the first guard has taken out of the request need not be told again.
        """
        token = pyjwt.encode({"sub": "robot", "exp": int(time()) + 60}, KEY, "HS256")
        link = Signer({b"k": KEY.encode()}).sign(b"/gone", b"k", int(time()) + 60).decode()
        for policy, fields, target, user in (
            ('basic_auth = "htpasswd"', [basic("ann", "sesame")], "/gone", "ann"),
            ('api_key = { keys = { robot = "{env.KEY}" } }', [f"X-API-Key: {KEY}"], "/gone", "robot"),
            ('api_key = { keys = { robot = "{env.KEY}" }, query = "k" }', [], f"/gone?k={KEY}", "robot"),
            ('jwt = { secret = "{env.KEY}", cookie = "t", keep = false }', [f"Cookie: t={token}"], "/gone", "robot"),
            ('signed_url = { keys = { k = "{env.KEY}" } }', [], link, ""),
        ):
            with self.subTest(policy=policy):
                self.serve(TRY_FILES.format(defaults=policy))
                answer = self.told(*fields, target=target)
                self.assertEqual((answer.status, answer.body.decode()), (200, f"app {user}"))
                self.assertIn(self.told().status, (401, 403))

    def test_other_users(self) -> None:
        """
        The guard of the other route decides for itself.
        """
        other = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
        config = TRY_FILES.format(defaults='basic_auth = "htpasswd"').replace(
            'path = "/app"', f'path = "/app"\n    basic_auth = {{ users = {{ eve = "{other}" }} }}'
        )
        self.serve(config)
        self.assertEqual(self.told(basic("ann", "sesame")).status, 401)

    def test_rate(self) -> None:
        """
        It counts once, and tells how the client stands once.
        """
        self.serve(TRY_FILES.format(defaults='rate_limit = { rate = "3/h", headers = true }'))
        told = [self.told() for _ in range(4)]
        self.assertEqual([each.status for each in told], [200, 200, 200, 429])
        self.assertEqual([each.get(b"RateLimit") for each in told[:2]], [b'"default";r=2', b'"default";r=1'])

    def test_concurrency(self) -> None:
        """
        It is one of those that are answered, and gives back what it held; also where the route is the same one.
        """
        for fallback in ("/app?x=1", "/others/?"):
            with self.subTest(fallback=fallback):
                self.serve(TRY_FILES.format(defaults="concurrency = 1").replace("/app?x=1", fallback))
                status = 200 if "app" in fallback else 404
                self.assertEqual([self.told().status for _ in range(3)], [status] * 3)
                (store,) = (kept for kept in self.server.runtime.kept.values() if isinstance(kept, LocalStore))
                self.assertEqual(store._held, {})

    def test_body(self) -> None:
        """
        One with a body that is paced.
        """
        self.serve(TRY_FILES.format(defaults='bandwidth = { upload = "1KiB/s" }'))
        self.assertEqual(self.told("Content-Length: 3", body="abc").status, 200)


class OnErrorTests(_Case):
    """
    What answers in place of a failure.
    """

    def test_not_let_in(self) -> None:
        """
        Another upstream gets nothing that has not been let in: not what was refused, and not what nobody could decide.
        """
        self.serve(ON_ERROR.format(policies='forward_auth = "http://127.0.0.1:9091/"'))
        client = self.ask()
        self.server.refuse()
        self.assertEqual([each.status for each in answers(client.take())], [503])
        self.assertEqual(self.server.connecting(), [])
        self.serve(ON_ERROR.format(policies='basic_auth = "htpasswd"'))
        self.assertEqual(self.told().status, 401)
        self.assertEqual(self.server.connecting(), [])

    def test_let_in(self) -> None:
        """
        What was let in, or need not be, goes to it.
        """
        for policies in ('basic_auth = "htpasswd"', 'headers = { set = { X-A = "1" } }'):
            self.serve(ON_ERROR.format(policies=policies))
            self.ask(basic("ann", "sesame"))
            self.server.refuse()
            self.assertEqual(self.server.connecting(), [("127.0.0.1", 9002)])

    def test_guarded_route(self) -> None:
        """
        A route that is not for everybody cannot answer whoever fails.
        """
        config = """
            [[site]]
            listen = "tcp:80"
            [site.defaults]
            basic_auth = "htpasswd"
            [[site.route]]
            name = "sorry"
            path = "/sorry"
            respond = { body = "sorry" }
            [[site.route]]
            on_error = { routes = { "4xx" = "sorry" } }
            respond = { body = "hello" }
        """
        error = self.assertRaises(ConfigError, MemoryServer, config, FILES)
        self.assertIn('on_error.routes.4xx: the route "sorry" has basic_auth', str(error))
        self.assertIn("basic_auth = false", str(error))
        self.serve(config.replace('path = "/sorry"', 'path = "/sorry"\n            basic_auth = false'))
        answer = self.told()
        self.assertEqual((answer.status, answer.body), (401, b"sorry"))
