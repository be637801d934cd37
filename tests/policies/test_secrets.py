"""
Secrets are where they are needed, and nowhere else: not in dumps, logs and error pages.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import bcrypt
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tests.policies.guarded import GuardedCase, basic
from twistginx.config.dump import dump
from twistginx.config.load import load
from twistginx.config.reader import read
from twistginx.errors import ConfigError
from twistginx.observe.accesslog import combined, json
from twistginx.registry import Registry

HASH = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()

#: Everything that takes a secret, each by another way in.
POLICIES = """
    access.headers = { X-Origin-Verify = "{env.VERIFY}" }
    basic_auth.users = { ann = "{file.hash}" }
    api_key = { keys = { robot = "{credential.robot}" }, query = "key" }
    jwt.secret = "{file.jwt}"
    signed_url.keys = { a = "{env.SIGN}" }
"""

SECRETS = {
    "VERIFY": "verify-me-0123456789",
    "hash": HASH,
    "robot": "robot-0123456789abcdef",
    "jwt": "jwt-0123456789abcdef0123456789abcdef",
    "SIGN": "sign-0123456789abcdef",
}


class SecretTests(GuardedCase):
    """
    A configuration that is full of secrets.
    """

    def setUp(self) -> None:
        credentials = Path(self.mktemp()).absolute()
        credentials.mkdir()
        (credentials / "robot").write_text(SECRETS["robot"])
        self.serve(
            POLICIES,
            {"hash": HASH.encode(), "jwt": SECRETS["jwt"].encode() + b"\n"},
            VERIFY=SECRETS["VERIFY"],
            SIGN=SECRETS["SIGN"],
            CREDENTIALS_DIRECTORY=str(credentials),
        )

    def not_in(self, text: str) -> None:
        """
        None of them is in a text, neither as it is nor as its plain hash.
        """
        for name, secret in SECRETS.items():
            self.assertNotIn(secret, text, name)
            self.assertNotIn(sha256(secret.encode()).hexdigest(), text, name)

    def test_dump(self) -> None:
        """
        The dump has what was written, and reads back.
        """
        text = dump(self.server.generation.root)  # type: ignore[union-attr]
        self.not_in(text)
        for written in ("{env.VERIFY}", "{file.hash}", "{credential.robot}", "{file.jwt}", "{env.SIGN}"):
            self.assertIn(written, text)

    def test_repr(self) -> None:
        """
        Neither the configuration nor what is built of it tells.
        """
        generation = self.server.generation
        assert generation is not None
        self.not_in(repr(generation.root))
        for route in generation.sites[0].routes:
            self.not_in(repr([route, *map(vars_of, route.admit)]))

    def test_logs_and_pages(self) -> None:
        """
        Neither a refusal nor a success tells: not the page, not the logs.
        """
        requests: tuple[tuple[str, ...], ...] = (
            (),
            (f"X-Origin-Verify: {SECRETS['VERIFY']}",),
            (f"X-Origin-Verify: {SECRETS['VERIFY']}", basic("ann", "sesame")),
            (f"X-Origin-Verify: {SECRETS['VERIFY']}", basic("ann", "sesame"), f"X-API-Key: {SECRETS['robot']}"),
        )
        with capturedLogs() as events:
            for fields in requests:
                for accept in ("text/html", "application/json", "text/plain"):
                    connection = self.ask(*fields, f"Accept: {accept}", target="/")
                    self.not_in(connection.take().decode())
                    connection.close()
        self.not_in("\n".join(map(eventAsText, events)))
        lines = b"\n".join(form(*each) for form in (combined(), json()) for each in self.server.records)
        self.not_in(lines.decode())
        self.not_in("\n".join(record.detail for _, record in self.server.records))
        self.assertEqual({record.status for _, record in self.server.records}, {401, 403})

    def test_urls(self) -> None:
        """
        A secret in a URL is asked for, and is in no log, and nowhere where somebody looks.
        """
        for policy in (
            'jwt.jwks_url = "http://127.0.0.1:9092/keys?token={env.SIGN}"',
            'forward_auth = "http://127.0.0.1:9092/keys?token={env.SIGN}"',
        ):
            with capturedLogs() as events:
                self.serve(f"    {policy}", SIGN=SECRETS["SIGN"])
                connection = self.ask("Accept: text/html", "Authorization: Bearer e30.e30.e30")
                service = self.server.accept()
                self.assertTrue(service.take().startswith(f"GET /keys?token={SECRETS['SIGN']} HTTP".encode()))
                service.reset()
                self.not_in(connection.take().decode())
                self.assertEqual(self.record[0], "authentication_unavailable")
            self.not_in("\n".join([*map(eventAsText, events), self.record[1]]))
            self.not_in(repr(self.server.generation.root))  # type: ignore[union-attr]

    def test_errors(self) -> None:
        """
        Nor does what is wrong with a configuration.
        """
        for policies in (
            'basic_auth.users = { a = "{env.KEY}" }',
            'basic_auth.users = { a = "x{env.KEY}" }',
            'jwt = { secret = "{env.KEY}", algorithms = "{env.KEY}" }',
            'access = "{env.KEY}"',
            'forward_auth = "{env.KEY}"',
            'api_key = { keys = { a = "{env.KEY}" }, header = "{env.KEY} x" }',
            'basic_auth = { users = { a = "{env.KEY}" }, realm = "{env.KEY}\\n" }',
        ):
            self.refused(policies)


def vars_of(admit: Any) -> list[Any]:
    """
    What a policy has.
    """
    policy = admit.__self__
    return [getattr(policy, name) for name in type(policy).__slots__]


class CredentialTests(SynchronousTestCase):
    """
    ``{credential.NAME}``: what systemd has passed to the service.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "word").write_text("sesame\n")
        self.file = self.directory / "site.toml"

    def write(self, body: str) -> Path:
        self.file.write_text(f"[[site]]\nlisten = 'tcp:80'\n[[site.route]]\nrespond.body = '{body}'\n")
        return self.file

    def test_read(self) -> None:
        """
        It is what the file in the directory says, and a secret.
        """
        environment = {"CREDENTIALS_DIRECTORY": str(self.directory)}
        source, problems = read(self.write("open {credential.word}"), environment)
        self.assertEqual(problems, [])
        self.assertEqual(source.tree["site"][0]["route"][0]["respond"]["body"], "open sesame")
        self.assertEqual([secret.written for secret in source.secrets.values()], ["open {credential.word}"])
        again, _ = read(self.file, environment)
        self.assertTrue(source.same_as(again))
        (self.directory / "word").write_text("other")
        again, _ = read(self.file, environment)
        self.assertFalse(source.same_as(again))
        root = load(self.file, Registry(()), environment)
        self.assertNotIn("other", dump(root))

    def test_missing(self) -> None:
        """
        What is not there is said where it stands.
        """
        for name, environment, problem in (
            ("word", {}, "the environment has no variable CREDENTIALS_DIRECTORY"),
            ("none", {"CREDENTIALS_DIRECTORY": str(self.directory)}, 'the credential "none" cannot be read'),
            ("../x", {"CREDENTIALS_DIRECTORY": str(self.directory)}, '"../x" is not the name of a credential'),
            ("", {"CREDENTIALS_DIRECTORY": str(self.directory)}, '"" is not the name of a credential'),
        ):
            _, problems = read(self.write(f"{{credential.{name}}}"), environment)
            self.assertEqual(len(problems), 1, problems)
            self.assertIn(problem, str(problems[0]))
            self.assertTrue(re.search(r"site\.toml:4:16: site\[0\]\.route\[0\]\.respond\.body: ", str(problems[0])))
        self.assertRaises(ConfigError, load, self.file, Registry(()), {})
