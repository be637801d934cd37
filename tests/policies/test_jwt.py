"""
Tests for twistginx.policies.jwt and twistginx.policies.jwks.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hmac import digest
from time import time
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.http.conversation import answers
from tests.net.authority import CA
from tests.policies.guarded import KEY, SITE, GuardedCase
from twistginx.interfaces import IPolicyModule
from twistginx.policies import jwt
from twistginx.policies.claims import claim_of, has_claim, texts_of
from twistginx.policies.credentials import LONGEST
from twistginx.policies.jwks import read_key_set
from twistginx.testing import Connection

RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None = "k1", **more: Any) -> dict[str, Any]:
    """
    The public half of a key, as a key set has it.
    """
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    kind: Any = next((each for cls, each in kinds.items() if isinstance(key, cls)), OKPAlgorithm)
    made: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return {**made, **({} if kid is None else {"kid": kid}), **more}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "k1", **claims: Any) -> str:
    """
    A token of ann's, good for a minute; a claim that is None is not there.
    """
    said = {"sub": "ann", "iss": "https://idp", "aud": "app", "exp": int(time()) + 60, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return pyjwt.encode(said, key, algorithm, headers={} if kid is None else {"kid": kid})


def bearer(text: str) -> str:
    return f"Authorization: Bearer {text}"


def encoded(part: bytes) -> bytes:
    return urlsafe_b64encode(part).rstrip(b"=")


FILES = {"keys.json": key_set(jwk(RSA))}
POLICY = 'jwt = { key_file = "keys.json", issuer = "https://idp", audience = "app" }'


class TokenTests(GuardedCase):
    """
    Which tokens are good.
    """

    def bad(self, text: str, detail: str) -> None:
        """
        A token that is refused, for a reason that the log has, and the client has not.
        """
        answer = self.told(bearer(text))
        self.assertEqual((answer.status, answer.get(b"www-authenticate")), (401, b'Bearer error="invalid_token"'))
        self.assertIn(f"jwt: {detail}", self.record[1])

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, jwt)

    def test_good(self) -> None:
        """
        A good token lets in whose it is; the app sees it, and what it says, which nobody else can say.
        """
        self.serve(POLICY.replace(" }", ', claims = { X-Roles = "realm_access.roles", X-Mail = "email" } }'), FILES)
        good = token(realm_access={"roles": ["a", "b"]})
        for _ in range(2):  # the second time it is remembered
            lines = self.passed(bearer(good), "X-Roles: root", "X_Mail: root@", "X-Mail: root@", "X-Auth-User: root")
            self.assertEqual([line for line in lines if "root" in line], [])
            self.assertIn("X-Auth-User: ann", lines)
            self.assertIn("X-Roles: a,b", lines)
            self.assertIn(bearer(good), lines)
            self.assertEqual(self.record[2], "ann")

    def test_bad(self) -> None:
        """
        Expired, too early, for others, by others, of another key, cut off, changed.
        """
        self.serve(POLICY, FILES)
        now = int(time())
        self.bad(token(exp=now - 31), "it has expired")
        self.bad(token(exp=None), "it does not say what it must")
        self.bad(token(nbf=now + 60), "it is not valid yet")
        self.bad(token(aud="other"), "it is for somebody else")
        self.bad(token(aud=None), "it does not say what it must")
        self.bad(token(iss="https://other"), "it is by another issuer")
        self.bad(token(iss=None), "it does not say what it must")
        self.bad(token(OTHER), "its signature is not right")
        self.bad(token(kid="k2"), "its key is not known")
        good = token()
        self.bad(good[:-8], "it")
        self.bad(good.replace(".", ".x", 1), "it")
        for nonsense in ("x", "a.b.c", "...", good.split(".")[0]):
            self.bad(nonsense, "it is not a signed token")
        self.assertEqual(self.told().get(b"www-authenticate"), b"Bearer")
        self.assertEqual(self.told("Authorization: Basic x").status, 401)
        self.assertEqual(self.told(bearer(good), bearer("x")).status, 401)

    def test_times(self) -> None:
        """
        A time is a number, and one that there can be; whatever else an issuer writes there is refused, and is no error
        of ours.
        """
        self.serve(POLICY, FILES)
        now = int(time())
        self.passed(bearer(token(exp=now + 60.5, nbf=now - 1.5, iat=now - 2)))
        for name in ("exp", "nbf", "iat"):
            for value in (str(now + 60), "x", [now], {}, False, float("inf"), float("nan"), 10**400, 10.0**18):
                signed = encoded(b'{"alg":"RS256","kid":"k1"}') + b"."
                said = {"sub": "ann", "iss": "https://idp", "aud": "app", "exp": now + 60, name: value}
                signed += encoded(json.dumps(said).encode())
                signature = RSA.sign(signed, PKCS1v15(), SHA256())
                self.bad((signed + b"." + encoded(signature)).decode(), "it ")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_nested(self) -> None:
        """
        What is nested deeper than anybody reads is no token; what Python 3.13 still reads is not signed.
        """
        self.serve(POLICY, FILES)
        for head, wrong in (
            (b"[" * 9000, "it is not a signed token"),
            (b'{"alg":"RS256","kid":"k1","x":' + b"[" * 4000 + b"]" * 4000 + b"}", "it"),
        ):
            self.bad((encoded(head) + b".e30.e30").decode(), wrong)

    def test_leeway(self) -> None:
        """
        Clocks differ a little.
        """
        self.serve(POLICY, FILES)
        now = int(time())
        self.passed(bearer(token(exp=now - 10)))
        self.passed(bearer(token(nbf=now + 10)))

    def test_confusion(self) -> None:
        """
        A signature that is not needed, a public key that is taken for a secret, a key that the token brings along: no.
        """
        for files, key in ((FILES, FILES["keys.json"]), ({"keys.json": pem(RSA)}, pem(RSA))):
            self.serve(POLICY, files)
            body = encoded(json.dumps({"sub": "root", "iss": "https://idp", "aud": "app", "exp": time() + 60}).encode())
            for header in (
                {"alg": "none"},
                {"alg": "None"},
                {"alg": "HS256"},
                {"alg": "HS256", "kid": "k1"},
                {"alg": "RS256", "crit": ["exp"], "kid": "k1"},
                {"alg": "ES256", "kid": "k1"},
                {"alg": "RS256", "kid": "k1", "jwk": jwk(OTHER)},
                {"alg": ["RS256"]},
                {},
            ):
                signed = encoded(json.dumps({"typ": "JWT", **header}).encode()) + b"." + body
                for signature in (b"", digest(key, signed, "sha256"), digest(pem(RSA), signed, "sha256")):
                    text = (signed + b"." + encoded(signature)).decode()
                    self.assertEqual(self.told(bearer(text)).status, 401, (header, signature))

    def test_algorithms(self) -> None:
        """
        Each kind of key, with the algorithms of its kind alone, of those that are allowed.
        """
        keys = key_set(jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d"))
        policy = POLICY.replace(" }", ', algorithms = ["RS256", "PS256", "ES256", "EdDSA"] }')
        self.serve(policy, {"keys.json": keys})
        for key, algorithm, kid in ((RSA, "RS256", "r"), (RSA, "PS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "d")):
            self.passed(bearer(token(key, algorithm, kid)))
            self.passed(bearer(token(key, algorithm, None)))
        self.bad(token(RSA, "RS512", "r"), "it is signed by another algorithm")
        self.bad(token(RSA, "RS256", "e"), "its key is not known")

    def test_secret(self) -> None:
        """
        A secret that is shared with the issuer.
        """
        self.serve('jwt.secret = "{env.KEY}"')
        self.passed(bearer(token(KEY, "HS256", aud=None)))
        self.bad(token(KEY, "HS256"), "it is for somebody else")
        self.bad(token(KEY[::-1], "HS256", aud=None), "its signature is not right")
        self.bad(token(RSA, aud=None), "it is signed by another algorithm")

    def test_places(self) -> None:
        """
        In a cookie, in the query; taken out, where the app is not to see it.
        """
        self.serve(POLICY.replace(" }", ', header = "", cookie = "t", query = "t", keep = false }'), FILES)
        good = token()
        self.assertNotIn(good, "".join(self.passed(f"Cookie: a=1; t={good}")))
        self.assertEqual(self.passed(target=f"/?t={good}")[0], "GET / HTTP/1.1")
        self.assertEqual(self.told(bearer(good)).status, 401)

    def test_one_place(self) -> None:
        """
        The app sees the token that was verified, and none beside it that was not, wherever that stands.
        """
        self.serve(POLICY.replace(" }", ', cookie = "t", query = "t" }'), FILES)
        good, bad = token(), token(OTHER, sub="root")
        for fields, target in (
            ([bearer(good), f"Cookie: t={bad}"], f"/?t={bad}"),
            ([bearer(bad), bearer(bad), f"Cookie: a=1; t={good}"], f"/?%74={bad}"),
            ([bearer(bad + "x" * LONGEST), f"Cookie: t={good}"], "/"),
        ):
            seen = "\n".join(self.passed(*fields, target=target))
            self.assertIn(good, seen)
            self.assertNotIn(bad, seen)
        self.assertEqual(self.told(target=f"/?t={good}&%74={bad}").status, 401)

    def test_require(self) -> None:
        """
        A good token that lacks a claim is answered 403.
        """
        self.serve(POLICY.replace(" }", ', require = { scope = ["write", "admin"], "a.b" = "1" } }'), FILES)
        self.passed(bearer(token(scope="read write", a={"b": [2, 1]})))
        for claims in ({}, {"scope": "writer", "a": {"b": 1}}, {"scope": "admin"}, {"scope": "admin", "a": {"b": 2}}):
            answer = self.told(bearer(token(**claims)))
            self.assertEqual(answer.status, 403, claims)
            self.assertEqual(answer.get(b"www-authenticate"), b'Bearer error="insufficient_scope"')
        self.assertIn("the token does not have the claim a.b", self.record[1])

    def test_expires_while_remembered(self) -> None:
        """
        A token that is remembered as good is looked at again when it has expired, and when the keys have changed.
        """
        self.serve(POLICY.replace(" }", ', leeway = "0s" }'), FILES)
        policy = self.server.generation.sites[0].routes[0].admit[0].__self__  # type: ignore[union-attr]
        good = token()
        self.passed(bearer(good))
        (remembered,) = policy._good.values()
        self.assertLessEqual(remembered.until, int(time()) + 60)
        (self.server.directory / "keys.json").write_bytes(key_set(jwk(OTHER)))
        self.server.advance(3)
        self.bad(good, "its signature is not right")

    def test_header_injection(self) -> None:
        """
        What a claim has in it ends no line.
        """
        self.serve(POLICY.replace(" }", ', claims = { X-Name = "name" } }'), FILES)
        lines = self.passed(bearer(token(name="a\r\nX-Admin: 1")))
        self.assertIn("X-Name: a  X-Admin: 1", lines)

    def test_wrong(self) -> None:
        """
        What is wrong is said where it stands.
        """
        for policies, problem in (
            ("jwt = {}", "jwt: one of jwks_url, key_file and secret is needed"),
            (f"jwt.secret = '{KEY}'", "jwt.secret: is a secret in plain text"),
            ("jwt.secret = '{file.short}'", "jwt.secret: can be guessed"),
            ('jwt = { key_file = "keys.json", algorithms = ["none"] }', 'jwt.algorithms: has "none"; expected ES256'),
            ('jwt = { key_file = "keys.json", algorithms = "HS256" }', 'jwt.algorithms: has "HS256"'),
            ('jwt = { secret = "{env.KEY}", algorithms = "RS256" }', 'jwt.algorithms: has "RS256"'),
            ('jwt.key_file = "short"', "jwt.key_file: the file"),
            ('jwt = { jwks_url = "http://a", refresh = "1s" }', "jwt.refresh: is less than a minute"),
            ('jwt = { key_file = "keys.json", claims = { Host = "sub" } }', "jwt.claims.Host: Host has a meaning"),
        ):
            self.assertIn(problem, self.refused(policies, {**FILES, "short": b"tooshort"}), policies)


class FetchedTests(GuardedCase):
    """
    Keys at a URL.
    """

    POLICY = 'jwt = { jwks_url = "http://127.0.0.1:9092/keys", audience = "app", timeout = "5s" }'

    def idp(self) -> Connection:
        """
        Be the identity provider.
        """
        self.assertEqual(self.server.connecting(), [("127.0.0.1", 9092)])
        idp = self.server.accept()
        self.assertTrue(idp.take().startswith(b"GET /keys HTTP/1.1\r\nHost: 127.0.0.1:9092\r\n"))
        return idp

    def publish(self, *keys: dict[str, Any], idp: Connection | None = None) -> None:
        """
        Answer with a key set.
        """
        body = key_set(*keys)
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        (idp or self.idp()).send(head + body)

    def status(self, connection: Any) -> int:
        (answer,) = answers(connection.take())
        connection.close()
        return answer.status

    def test_fetched(self) -> None:
        """
        They are fetched at the start, and then from time to time.
        """
        self.serve(self.POLICY)
        self.publish(jwk(RSA))
        self.passed(bearer(token()))
        self.server.advance(3601)
        self.publish(jwk(OTHER))
        self.assertEqual(self.status(self.ask(bearer(token(kid="k1")))), 401)
        self.passed(bearer(token(OTHER)))

    def test_wait(self) -> None:
        """
        Requests that come before the keys wait for them.
        """
        self.serve(self.POLICY)
        clients = [self.ask(bearer(token())) for _ in range(2)]
        self.publish(jwk(RSA))
        for client in clients:
            upstream = self.server.accept()
            upstream.take()
            upstream.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            self.assertEqual(self.status(client), 204)

    def test_unknown_key(self) -> None:
        """
        A token with a key that is not known has the keys fetched, once for all that come in ten seconds.
        """
        self.serve(self.POLICY)
        self.publish(jwk(RSA))
        self.assertEqual(self.told(bearer(token(OTHER, kid="k2"))).status, 401)  # just fetched
        self.server.advance(11)
        clients = [self.ask(bearer(token(OTHER, kid="k2"))) for _ in range(3)]
        self.publish(jwk(RSA), jwk(OTHER, "k2"))
        for client in clients:
            upstream = self.server.accept()
            upstream.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            self.assertEqual(self.status(client), 204)
        self.assertEqual(self.told(bearer(token(kid="k3"))).status, 401)

    def test_away(self) -> None:
        """
        Keys that were never fetched: 503.  Later, those that there are go on being used, and the log says why.
        """
        self.serve(self.POLICY)
        client = self.ask(bearer(token()))
        with capturedLogs() as events:
            self.server.refuse()
        self.assertEqual(self.status(client), 503)
        self.assertEqual(self.record[0], "authentication_unavailable")
        self.assertIn("connection_refused", " ".join(str(event.get("complaint", "")) for event in events))
        self.server.advance(11)
        self.publish(jwk(RSA))
        self.passed(bearer(token()))
        self.server.advance(3601)
        for answer in (b"HTTP/1.1 500 Oops\r\n", b"HTTP/1.1 200 OK\r\n"):
            idp = self.idp()
            idp.send(answer + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
            self.passed(bearer(token()))
            self.server.advance(11)
        self.publish(jwk(RSA))

    def test_late(self) -> None:
        """
        An answer that does not come ends the waiting.
        """
        self.serve(self.POLICY)
        client = self.ask(bearer(token()))
        self.idp()
        self.server.advance(6)
        self.assertEqual(self.status(client), 503)

    def test_reload(self) -> None:
        """
        They are kept over a reload, and not fetched for it; and forgotten when nobody wants them.
        """
        self.serve(self.POLICY)
        self.publish(jwk(RSA))
        self.server.load(SITE + self.POLICY.replace('"app"', '["app", "b"]'))
        self.passed(bearer(token(aud="b")))
        self.server.load(SITE)
        self.server.advance(7200)
        self.assertEqual(self.server.connecting(), [])


class KeySetTests(SynchronousTestCase):
    """
    What is read.
    """

    def test_left_out(self) -> None:
        """
        Secrets, keys for encryption, short ones, and what nobody knows.
        """
        weak = rsa.generate_private_key(65537, 1024)
        keys = read_key_set(
            key_set(
                jwk(RSA, "good"),
                jwk(RSA, "enc", use="enc"),
                jwk(weak, "weak"),
                {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
                {"kty": "oct", "crv": "P-256", "k": "c2VjcmV0", "kid": "trick"},
                {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
                {"kid": "nothing"},
                jwk(EC, None, alg="ES256"),
                jwk(EC, "other", alg="RS256"),
            )
        )
        self.assertEqual([key.kid for key in keys], ["good", None])
        self.assertEqual(keys[1].algorithms, {"ES256"})

    def test_private(self) -> None:
        """
        A private key that has strayed into a set is used as the public one that it has in it.
        """
        made = json.loads(RSAAlgorithm.to_jwk(RSA))
        (key,) = read_key_set(key_set(made))
        self.assertIsInstance(key.key, rsa.RSAPublicKey)

    def test_pem(self) -> None:
        """
        A public key, or a certificate.
        """
        for key, algorithm in ((RSA, "PS512"), (EC, "ES256"), (ED, "EdDSA")):
            (read,) = read_key_set(pem(key))
            self.assertIn(algorithm, read.algorithms)
        certificate = CA.issue_cert("idp.example").cert_chain_pems[0].bytes()
        (read,) = read_key_set(certificate)
        self.assertTrue(read.algorithms)

    def test_wrong(self) -> None:
        """
        What is no key set is not taken for one.
        """
        for content in (b"", b"{}", b"[]", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [1]}', b"[" * 100000, b"\xff"):
            self.assertRaises(ValueError, read_key_set, content)
        self.assertRaises(ValueError, read_key_set, b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n")


class ClaimTests(SynchronousTestCase):
    """
    What is made of claims.
    """

    CLAIMS = {"a": {"b": {"c": 1}, "d.e": 2}, "f.g": 3, "list": ["x", 1, True], "n": None, "scope": "a b", "s": "a b"}

    def test_claim(self) -> None:
        """
        A dot leads inside, unless it is of the name.
        """
        for claim, value in (("a.b.c", 1), ("f.g", 3), ("a.d.e", 2), ("a.x", None), ("a.b.c.d", None), ("x", None)):
            self.assertEqual(claim_of(self.CLAIMS, claim), value)

    def test_texts(self) -> None:
        """
        Header values.
        """
        for claim, value in (("list", (b"x,1,true",)), ("n", ()), ("f.g", (b"3",)), ("a.b", (b'{"c": 1}',))):
            self.assertEqual(texts_of(claim_of(self.CLAIMS, claim)), value)

    def test_has(self) -> None:
        """
        The claim itself, a part of a list, a word of a scope.
        """
        for claim, value, has in (
            *(("list", "x", True), ("list", "1", True), ("list", "y", False), ("scope", "b", True)),
            *(("s", "b", False), ("s", "a b", True), ("n", "null", False), ("f.g", "3", True)),
        ):
            self.assertIs(has_claim(self.CLAIMS, claim, frozenset((value,))), has, (claim, value))
