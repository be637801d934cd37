"""
Tests for twistginx.policies.api_key and twistginx.policies.credentials.
"""

from __future__ import annotations

from hashlib import sha256

from zope.interface.verify import verifyObject

from tests.policies.guarded import KEY, GuardedCase
from twistginx.interfaces import IPolicyModule
from twistginx.policies import api_key
from twistginx.policies.api_key import read_keys

HASH = "sha256:" + sha256(KEY.encode()).hexdigest()


class APIKeyTests(GuardedCase):
    """
    Requests with keys.
    """

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, api_key)

    def test_header(self) -> None:
        """
        A key lets in whose it is, and goes no further; whatever is no key is answered alike.
        """
        self.serve(f"api_key.keys = {{ billing = '{HASH}' }}")
        lines = self.passed(f"X-API-Key: {KEY}", "X-Auth-User: root")
        self.assertIn("X-Auth-User: billing", lines)
        self.assertNotIn(KEY, "".join(lines))
        self.assertEqual(self.record[2], "billing")
        for fields in (
            (),
            ("X-API-Key: x",),
            ("X-API-Key:",),
            (f"X-API-Key: {KEY}x",),
            (f"X-API-Key: {HASH}",),
            (f"X-API-Key: {KEY}", "X-API-Key: x"),
            (f"Authorization: Bearer {KEY}",),
        ):
            answer = self.told(*fields)
            self.assertEqual(answer.status, 401, fields)
            self.assertTrue(answer.get(b"www-authenticate"))
            self.assertNotIn(KEY, self.record[1])

    def test_places(self) -> None:
        """
        Behind Bearer, in a cookie, in the query; what is taken out there leaves the rest as it is.
        """
        self.serve(
            f"api_key = {{ keys = {{ billing = '{HASH}' }}, header = 'Authorization', cookie = 'key', query = 'key' }}"
        )
        self.assertNotIn(KEY, "".join(self.passed(f"Authorization: bearer {KEY}")))
        lines = self.passed(f"Cookie: a=1; key={KEY}; b=2")
        self.assertIn("Cookie: a=1; b=2", lines)
        self.assertEqual([line for line in self.passed(f"Cookie: key={KEY}") if line.startswith("Cookie")], [])
        for target, left in ((f"/x?a=1&key={KEY}&b=%20", "/x?a=1&b=%20"), (f"/x?key={KEY}", "/x")):
            lines = self.passed(target=target)
            self.assertEqual(lines[0], f"GET {left} HTTP/1.1")
            self.assertEqual(self.server.records[-1][0].head.target.decode(), left)
        for target in (f"/?key={KEY}&key=x", f"/?xkey={KEY}", f"/?key=x&key={KEY}", f"/?key={KEY}&%6bey=x"):
            self.assertEqual(self.told(target=target).status, 401, target)
        self.assertEqual(self.told(f"Authorization: Basic {KEY}").status, 401)
        self.assertEqual(self.told(f"Cookie: key={KEY}; key=x").status, 401)

    def test_kept(self) -> None:
        """
        Where the app is to see it, it does.
        """
        self.serve(f"api_key = {{ keys = {{ billing = '{HASH}' }}, keep = true, user_header = '' }}")
        lines = self.passed(f"X-API-Key: {KEY}")
        self.assertIn(f"X-API-Key: {KEY}", lines)
        self.assertEqual([line for line in lines if "billing" in line], [])

    def test_trailers(self) -> None:
        """
        Nobody says in a trailer either who he is: there are servers that put trailers among the other fields.
        """
        self.serve(f"api_key = {{ keys = {{ billing = '{HASH}' }} }}")
        client = self.ask(f"X-API-Key: {KEY}", "Transfer-Encoding: chunked", method="POST")
        client.send(b"1\r\na\r\n0\r\nX-Auth-User: root\r\nX-Sum: 1\r\nX~Auth~User: root\r\n\r\n")
        head, _, body = self.server.accept().take().partition(b"\r\n\r\n")
        self.assertIn(b"\r\nX-Auth-User: billing\r\n", head)
        self.assertEqual(body, b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n")
        client.reset()

    def test_keys(self) -> None:
        """
        Several keys of one user, a key out of the environment, and a file that changes.
        """
        self.serve(
            f"api_key = {{ keys = {{ a = ['{HASH}', '{{env.OTHER}}'] }}, file = 'keys' }}",
            {"keys": b"# keys\nzoe:" + b"sha256:" + sha256(b"z" * 20).hexdigest().encode()},
        )
        for key, user in ((KEY, "a"), (KEY[::-1], "a"), ("z" * 20, "zoe")):
            self.assertIn(f"X-Auth-User: {user}", self.passed(f"X-API-Key: {key}"))
        (self.server.directory / "keys").write_text("")
        self.server.advance(3)
        self.assertEqual(self.told("X-API-Key: " + "z" * 20).status, 401)

    def test_wrong(self) -> None:
        """
        What is wrong is said where it stands, without a key.
        """
        for policies, problem in (
            ("api_key = {}", "api_key: has no keys"),
            (f"api_key.keys = {{ a = '{KEY}' }}", "api_key.keys.a: is no hash"),
            ("api_key.keys = { a = 'sha256:12' }", "api_key.keys.a: is no hash"),
            ("api_key.keys = { a = '{file.short}' }", "api_key.keys.a: is a key that can be guessed"),
            ("api_key.file = 'bad'", "api_key.file: the file"),
            (f"api_key = {{ keys = {{ a = '{HASH}' }}, header = '' }}", "is looked for nowhere"),
            (f"api_key = {{ keys = {{ a = '{HASH}' }}, header = 'X Y' }}", "'X Y' is not the name of a header"),
            (f"api_key = {{ keys = {{ a = '{HASH}' }}, query = 'a=b' }}", "api_key.query: 'a=b' cannot be a name"),
        ):
            text = self.refused(policies, {"short": b"tooshort", "bad": b"ann:1234\n"})
            self.assertIn(problem, text)
            self.assertNotIn("tooshort", text)

    def test_file(self) -> None:
        """
        A file of keys; the first line that is wrong is named.
        """
        self.assertEqual(read_keys(f"\n#x\nann:{HASH}\n".encode()), {bytes.fromhex(HASH[7:]): b"ann"})
        for line in ("ann", "ann:x", f":{HASH}", f"ann:{HASH}0", HASH):
            self.assertIn("line 1: ", str(self.assertRaises(ValueError, read_keys, line.encode())))
