"""
Tests for docs/cookbook/guards.rst.
"""

from __future__ import annotations

import os
from pathlib import Path

import bcrypt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cookbook.kitchen import Asked, KitchenCase, Secure, certificate, ok
from tests.net.authority import CA, asking, serving
from tests.policies.guarded import KEY, basic
from tests.policies.test_jwt import RSA, bearer, jwk, key_set, token

HTPASSWD = {"htpasswd": b"ann:" + bcrypt.hashpw(b"sesame", bcrypt.gensalt(4))}


class GuardTests(KitchenCase):
    """
    Who comes in, and who does not.
    """

    page = "guards"

    def test_a_password_for_an_area(self) -> None:
        """
        The area is closed, however it is spelled; all else is open; nobody says himself who he is.
        """
        self.serve(HTPASSWD)
        refused = self.ask("/admin/users")
        self.assertEqual(
            (refused.status, refused.get(b"www-authenticate")), (401, b'Basic realm="Administration", charset="UTF-8"')
        )
        self.assertEqual(self.status("/admin", basic("ann", "wrong")), 401)
        for target in ("/x/../admin", "/%61dmin", "//admin", "/admin;x", "/./admin/"):
            self.assertIn(self.status(target), (400, 401), target)
        self.assertEqual(self.asked, [])
        self.assertEqual(self.says("/admin/users", basic("ann", "sesame"), "X-Auth-User: eve"), b"9001 /admin/users")
        self.assertEqual(self.says("/open", "X-Auth-User: eve", "X_Auth_User: eve"), b"9001 /open")
        inside, outside = self.asked
        self.assertEqual((inside.fields["x-auth-user"], inside.fields.get("authorization")), ("ann", None))
        self.assertFalse({"x-auth-user", "x_auth_user"} & set(outside.fields))

    def test_the_office_or_a_password(self) -> None:
        """
        One of the two is enough.
        """
        self.serve(HTPASSWD)
        host = "wiki.example.com"
        self.assertEqual(self.status("/", host=host), 401)
        self.assertEqual(self.says("/", host=host, peer="10.1.2.3"), b"9001 /")
        self.assertEqual(self.says("/", basic("ann", "sesame"), host=host), b"9001 /")
        self.assertEqual(self.status("/", basic("eve", "sesame"), host=host), 401)

    def test_a_login_service(self) -> None:
        """
        Its redirect is the client's; who it lets in has the name that it says; when it is gone, nobody comes in.
        """
        self.serve()
        host = "app.example.com"

        def service(asked: Asked) -> bytes:
            if asked.port == 9001 or asked.target.startswith("/oauth2"):
                return self.tells(asked)
            if asked.fields.get("cookie") == "session=1":
                return ok(
                    b"", "X-Auth-Request-User: ann", "X-Auth-Request-Email: ann@example.com", "Set-Cookie: session=2"
                )
            return b"HTTP/1.1 302 Found\r\nLocation: /oauth2/start?rd=/x\r\nContent-Length: 0\r\n\r\n"

        self.replies = service
        self.assertEqual(self.leads("/x", "X-Auth-Request-User: eve", host=host), (302, b"/oauth2/start?rd=/x"))
        self.assertEqual(self.says("/oauth2/start", host=host), b"4180 /oauth2/start")
        answer = self.ask("/x", "Cookie: session=1", "X-Auth-Request-User: eve", host=host)
        self.assertEqual((answer.body, answer.get(b"set-cookie")), (b"9001 /x", b"session=2"))
        self.assertEqual(self.asked[-1].fields["x-auth-request-user"], "ann")
        self.assertEqual(self.asked[-1].fields["x-auth-request-email"], "ann@example.com")
        self.replies = lambda asked: b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(self.status("/x", "Cookie: session=1", host=host), 503)

    def test_an_api_with_tokens(self) -> None:
        """
        The keys are fetched under TLS at the start; good tokens come in, others do not.
        """
        self.trust_the_authority()
        server = self.serve()
        host = "api.example.com"
        good = {"iss": "https://id.example.com/realms/main", "aud": "api"}
        provider = Secure(server.accept(), serving("id.example.com"))
        self.assertIn(b"GET /realms/main/protocol/openid-connect/certs HTTP/1.1\r\n", provider.take())
        provider.send(ok(key_set(jwk(RSA))))
        self.assertEqual(self.says("/x", bearer(token(**good)), host=host), b"9001 /x")
        self.assertEqual(self.asked[-1].fields["x-auth-user"], "ann")
        other = rsa.generate_private_key(65537, 2048)
        for bad in (
            token(**{**good, "aud": "other"}),
            token(**{**good, "iss": "https://evil.example"}),
            token(**good, exp=1),
            token(other, **good),
            token(KEY, "HS256", **good),
        ):
            self.assertEqual(self.status("/x", bearer(bad), host=host), 401)

    def test_api_keys(self) -> None:
        """
        By its hash, or as it is in the environment; and it goes no further.
        """
        self.serve(GLOBEX_KEY="fedcba9876543210fedcba9876543210")
        host = "api.example.com"
        for key, user in (("test", "acme"), ("fedcba9876543210fedcba9876543210", "globex")):
            self.assertEqual(self.says("/x", f"X-API-Key: {key}", host=host), b"9001 /x")
            self.assertEqual(self.asked[-1].fields["x-auth-user"], user)
            self.assertNotIn("x-api-key", self.asked[-1].fields)
        for fields in ((), ("X-API-Key: other",), ("X-API-Key: test", "X-API-Key: test"), ("X-Auth-User: acme",)):
            self.assertEqual(self.status("/x", *fields, host=host), 401, fields)

    def test_logins_that_are_limited(self) -> None:
        """
        Five attempts; the page itself as often as one likes; others are not touched; later it goes on.
        """
        server = self.serve()
        self.assertEqual([self.status("/login", method="POST") for _ in range(6)], [200] * 5 + [429])
        refused = self.ask("/login", method="POST")
        self.assertEqual(refused.get(b"retry-after"), b"12")
        self.assertEqual({self.status("/login") for _ in range(9)}, {200})
        self.assertEqual(self.status("/login", method="POST", peer="192.0.2.8"), 200)
        server.advance(12)
        self.assertEqual([self.status("/login", method="POST") for _ in range(2)], [200, 429])

    def test_limits_for_clients(self) -> None:
        """
        Forty at once, ten a second, twenty at a time; the office has no rate.
        """
        server = self.serve()
        self.assertEqual([self.status("/") for _ in range(41)], [200] * 40 + [429])
        server.advance(1)
        self.assertEqual([self.status("/") for _ in range(11)], [200] * 10 + [429])
        self.assertEqual({self.status("/", peer="10.1.2.3") for _ in range(50)}, {200})
        waiting = [self.client("/", peer="10.1.2.4") for _ in range(20)]
        self.assertEqual(self.status("/", peer="10.1.2.4"), 429)
        self.assertEqual({client.take()[9:12] for client in waiting}, {b"200"})
        for client in waiting:
            client.close()

    def test_blocklists(self) -> None:
        """
        Those of the file, as it is now, but for the one; and robots by their names.
        """
        server = self.serve({"blocked.txt": b"198.51.100.0/24 ; somebody\n", "www/index.html": b"home"})
        self.assertEqual(self.says("/"), b"home")
        self.assertEqual(self.status("/", peer="198.51.100.8"), 403)
        self.assertEqual(self.says("/", peer="198.51.100.7"), b"home")
        for agent, status in (("curl/8.1", 403), ("x BadBot/1", 403), ("Mozilla/5.0 libcurl/8", 200)):
            self.assertEqual(self.status("/", f"User-Agent: {agent}"), status, agent)
        (server.directory / "blocked.txt").write_bytes(b"192.0.2.0/24\n198.51.100.0/24\n")
        server.advance(5)
        self.assertEqual(self.status("/"), 403)

    def test_clients_certificates(self) -> None:
        """
        With a certificate of the authority one is let in, by the name in it; without, there is no connection.
        """
        server = self.serve(
            {**certificate("example.com", "machines.example.com"), "machines-ca.crt": CA.cert_pem.bytes()}
        )
        context = asking.__wrapped__()
        request = b"GET /x HTTP/1.1\r\nHost: machines.example.com\r\nX-Client-Name: eve\r\n\r\n"
        stranger = server.connect()
        Secure(stranger, context, "machines.example.com")
        self.assertTrue(stranger.closed)
        CA.issue_cert("pump-7.example.com", common_name="pump-7").configure_cert(context)
        client = server.connect()
        tls = Secure(client, context, "machines.example.com")
        tls.send(request)
        self.work()
        self.assertTrue(tls.take().endswith(b"9001 /x"))
        self.assertEqual(self.asked[0].fields["x-client-name"], "pump-7")
        client.close()

    def trust_the_authority(self) -> None:
        """
        OpenSSL is to find it where it finds those of the system.
        """
        before = os.environ.get("SSL_CERT_FILE")
        path = Path(self.mktemp()).absolute()
        path.write_bytes(CA.cert_pem.bytes())
        os.environ["SSL_CERT_FILE"] = str(path)
        if before is None:
            self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        else:
            self.addCleanup(os.environ.__setitem__, "SSL_CERT_FILE", before)
