"""
Tests for twistginx.policies.basic_auth.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bcrypt
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.http.conversation import answers
from tests.policies.guarded import SITE, GuardedCase, basic
from twistginx.errors import ProxyError
from twistginx.interfaces import IPolicyModule
from twistginx.net.timers import Ticker
from twistginx.policies import basic_auth
from twistginx.policies.basic_auth import QUEUE, SHARE, Book, Desk
from twistginx.policies.passwords import Users

HASH = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
FILES = {"htpasswd": f"ann:{HASH}\nj\xfcrgen:{HASH}\n".encode()}


class BasicAuthTests(GuardedCase):
    """
    Requests.
    """

    def test_module(self) -> None:
        """
        It is a policy's module.
        """
        verifyObject(IPolicyModule, basic_auth)

    def test_challenge(self) -> None:
        """
        Without credentials, or with wrong ones, the client is told how to prove itself; all kinds look the same.
        """
        self.serve('basic_auth = { file = "htpasswd", realm = "The \\"shop\\"" }', FILES)
        for fields in (
            (),
            (basic("ann", "x"),),
            (basic("eve", "sesame"),),
            ("Authorization: Bearer x",),
            ("Authorization: Basic",),
            ("Authorization: Basic !!",),
            ("Authorization: Basic YW5u",),
            (basic("ann", "x" * 2000),),
            (basic("ann", "sesame"), basic("ann", "sesame")),
        ):
            answer = self.told(*fields)
            self.assertEqual(answer.status, 401, fields)
            self.assertEqual(answer.get(b"www-authenticate"), b'Basic realm="The \\"shop\\"", charset="UTF-8"')
            self.assertEqual(self.record[0], "authentication_required")

    def test_user(self) -> None:
        """
        Who is let in is named to the app and to the log, whatever he says of himself; the password goes no further.
        """
        self.serve('basic_auth = "htpasswd"', FILES)
        lines = self.passed(
            basic("ann", "sesame"),
            *("X-Auth-User: root", "X_Auth_User: root", "x.auth.user: root", "Connection: X-Auth-User"),
        )
        self.assertEqual([line for line in lines if "root" in line or "Authorization" in line], [])
        self.assertIn("X-Auth-User: ann", lines)
        self.assertEqual(self.record, ("", "", "ann"))
        self.assertIn("X-Auth-User: j\xc3\xbcrgen", self.passed(basic("j\xfcrgen", "sesame")))

    def test_spoofed_without_user(self) -> None:
        """
        A name that the site lets in although it may be taken for ours is taken out all the same.
        """
        self.serve('basic_auth = "htpasswd"', FILES)
        text = SITE.replace("[[site.route]]", 'allow_header_names = ["x_a*", "x_other"]\n[[site.route]]')
        self.server.load(text + '\nbasic_auth = "htpasswd"')
        lines = self.passed(basic("ann", "sesame"), "X_Auth_User: root", "X_Other: 1")
        self.assertIn("X_Other: 1", lines)
        self.assertNotIn("X_Auth_User: root", lines)

    def test_options(self) -> None:
        """
        Another header, none, and the password for the app.
        """
        self.serve('basic_auth = { file = "htpasswd", user_header = "Remote-User", keep_authorization = true }', FILES)
        lines = self.passed(basic("ann", "sesame"))
        self.assertIn("Remote-User: ann", lines)
        self.assertIn(basic("ann", "sesame"), lines)
        self.serve('basic_auth = { file = "htpasswd", user_header = "" }', FILES)
        self.assertEqual([line for line in self.passed(basic("ann", "sesame")) if "ann" in line], [])

    def test_inline(self) -> None:
        """
        Users in the configuration itself, their hashes out of files or not, beside those of a file.
        """
        self.serve(
            f"basic_auth = {{ file = 'htpasswd', users = {{ bob = '{HASH}', zoe = '{{file.zoe}}' }} }}",
            {**FILES, "zoe": HASH.encode() + b"\n"},
        )
        for user in ("ann", "bob", "zoe"):
            self.assertIn(f"X-Auth-User: {user}", self.passed(basic(user, "sesame")))

    def test_file_changes(self) -> None:
        """
        Who is taken out of the file is out, although he was verified a moment ago; who is put in is in.
        """
        self.serve('basic_auth = "htpasswd"', FILES)
        self.passed(basic("ann", "sesame"))
        (self.server.directory / "htpasswd").write_text(f"eve:{HASH}")
        self.server.advance(3)
        self.assertEqual(self.told(basic("ann", "sesame")).status, 401)
        self.passed(basic("eve", "sesame"))

    def test_wrong(self) -> None:
        """
        What is wrong is said where it stands, without a hash.
        """
        for policies, problem in (
            ("basic_auth = {}", "basic_auth: has no users"),
            ('basic_auth = "none"', 'basic_auth.file: the file "'),
            ('basic_auth.file = "bad"', "cannot be used: line 1: the password is in a form that is not read"),
            ('basic_auth.users = { a = "sesame1" }', "basic_auth.users.a: is in a form that is not read"),
            (f"basic_auth.users = {{ 'a:b' = '{HASH}' }}", "a name has no colon in it"),
            ('basic_auth = { file = "bad", realm = "a\\nb" }', "basic_auth.realm: is not one line of ASCII"),
            ('basic_auth = { file = "good", user_header = "Host" }', "user_header: Host has a meaning of its own"),
            ('basic_auth = { file = "good", user_header = "X_User" }', "X_User may be taken for another header"),
            ('basic_auth = { file = "good", user_header = "X-Forwarded-For" }', "has a meaning of its own"),
            ("basic_auth = 1", "basic_auth: "),
        ):
            text = self.refused(policies, {"bad": b"ann:sesame1", "good": FILES["htpasswd"]})
            self.assertIn(problem, text, policies)
            self.assertNotIn("sesame1", text)


class Slow:
    """
    Threads that a test lets finish.
    """

    def __init__(self) -> None:
        self.jobs: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []

    def run(self, work: Any, *arguments: Any) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.jobs.append((waiting, work, arguments))
        return waiting

    def finish(self) -> None:
        """
        Do the oldest job.
        """
        waiting, work, arguments = self.jobs.pop(0)
        waiting.callback(work(*arguments))


class Word:
    """
    A password that counts how often it was verified.
    """

    def __init__(self) -> None:
        self.asked = 0

    def verify(self, password: bytes) -> bool:
        self.asked += 1
        return password == b"sesame"


def credentials(user: str, password: str) -> bytes:
    return basic(user, password).split(" ")[-1].encode()


class BookTests(SynchronousTestCase):
    """
    Verifying, remembering and waiting.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticker = Ticker(self.clock)
        self.slow = Slow()
        self.desk = Desk(self.slow)  # type: ignore[arg-type]  # it runs
        self.word = Word()
        self.book = Book(Users({b"ann": self.word}), None, self.desk, self.ticker)  # type: ignore[dict-item]

    def ask(
        self, user: str = "ann", password: str = "sesame", seconds: float = 60.0, client: bytes = b"192.0.2.7"
    ) -> Any:
        return self.book.look_up(credentials(user, password), seconds, client)

    def test_remembered(self) -> None:
        """
        What was right is right at once, for a while; what was wrong is verified each time.
        """
        first = self.ask()
        self.slow.finish()
        self.assertEqual(self.successResultOf(first), b"ann")
        self.assertEqual(self.ask(), b"ann")
        self.ticker.now += 60
        self.assertIsInstance(self.ask(), Deferred)
        wrong = self.ask(password="x")
        self.slow.finish()
        self.slow.finish()
        self.assertEqual(self.successResultOf(wrong), b"")
        self.assertIsInstance(self.ask(password="x"), Deferred)

    def test_not_remembered(self) -> None:
        """
        Where nothing is to be remembered, nothing is.
        """
        self.ask(seconds=0.0)
        self.slow.finish()
        self.assertIsInstance(self.ask(), Deferred)
        self.slow.finish()
        self.assertEqual(self.ask(), b"ann")
        self.assertIsInstance(self.ask(seconds=0.0), Deferred)

    def test_nobody(self) -> None:
        """
        With users in two places, a name that nobody has is looked for in one of them, always in the same, and not in
        the same for all: else the time would tell who is in the other.
        """
        inline, listed = Users({b"ann": Word()}), Users({b"bob": Word()})  # type: ignore[dict-item]
        book = Book(inline, SimpleNamespace(value=listed), self.desk, self.ticker)
        self.assertEqual((book._among(b"ann"), book._among(b"bob")), (inline, listed))
        names = [b"%d" % number for number in range(200)]
        found = [book._among(name) for name in names]
        self.assertEqual(found, [book._among(name) for name in names])
        self.assertTrue(50 < found.count(inline) < 150, found.count(inline))

    def test_passwords_are_not_kept(self) -> None:
        """
        What is remembered is of no use to who reads it: neither the password nor a plain hash of it is there.
        """
        self.ask()
        self.slow.finish()
        (digest,) = self.book._known
        self.assertNotIn("sesame", repr(self.book._known))
        other = Book(Users({}), None, self.desk, self.ticker)
        self.assertNotEqual(other._key, self.book._key)
        self.assertEqual(len(digest), 16)

    def test_together(self) -> None:
        """
        The same credentials, asked for by several at once, are verified once; one who leaves takes nobody with him.
        """
        waiting = [self.ask() for _ in range(3)]
        self.assertEqual(len(self.slow.jobs), 1)
        waiting[0].addErrback(lambda _: None)
        waiting[0].cancel()
        self.slow.finish()
        for each in waiting[1:]:
            self.assertEqual(self.successResultOf(each), b"ann")
        self.assertEqual((self.word.asked, self.desk.waiting), (1, 0))

    def test_queue(self) -> None:
        """
        So many may wait, and no more; afterwards there is room again.
        """
        for number in range(QUEUE):
            self.ask(password=str(number), client=b"%d" % number)
        error = self.assertRaises(ProxyError, self.ask, "ann", "one more")
        self.assertEqual(error.reason.word, "authentication_unavailable")
        self.assertIn((b"Retry-After", b"1"), error.fields)
        self.slow.finish()
        self.ask(password="one more")

    def test_share(self) -> None:
        """
        One client alone does not fill the queue: others are verified behind his guesses.
        """
        for number in range(SHARE):
            self.ask(password=str(number))
        error = self.assertRaises(ProxyError, self.ask, "ann", "one more")
        self.assertIn("of this client", error.detail)
        self.ask(password="0")  # what waits already waits once
        right = self.ask(client=b"192.0.2.8")
        while self.slow.jobs:
            self.slow.finish()
        self.assertEqual(self.successResultOf(right), b"ann")
        self.assertEqual((self.desk.waiting, self.desk._clients), (0, {}))
        self.ask(password="one more")

    def test_bounded(self) -> None:
        """
        The oldest is forgotten first.
        """
        self.book._known.update({b"%d" % n: (b"x", self.book._inline, 1e9) for n in range(4096)})
        self.ask()
        self.slow.finish()
        self.assertEqual(len(self.book._known), 4096)
        self.assertNotIn(b"0", self.book._known)
        self.assertEqual(self.ask(), b"ann")

    def test_mistake(self) -> None:
        """
        A fault in verifying lets nobody in.
        """
        first = self.ask()
        self.slow.jobs[0][0].errback(ZeroDivisionError())
        self.failureResultOf(first, ZeroDivisionError)
        self.assertEqual(self.desk.waiting, 0)


class CrowdTests(GuardedCase):
    """
    The queue, as clients meet it.
    """

    def test_too_many(self) -> None:
        """
        One too many is answered 503, and may come again.
        """
        self.serve('basic_auth = "htpasswd"', FILES)
        desk = self.server.runtime.kept["basic_auth", "desk"]
        desk.waiting = QUEUE
        connection = self.ask(basic("ann", "sesame"))
        (answer,) = answers(connection.take())
        self.assertEqual((answer.status, answer.get(b"retry-after")), (503, b"1"))
        self.assertEqual(self.record[0], "authentication_unavailable")
        desk.waiting = 0
        connection.close()
        self.passed(basic("ann", "sesame"))


class SpoofingTests(GuardedCase):
    """
    What a client says about itself in a header that is ours.
    """

    def spoofed(self, *fields: str) -> list[str]:
        """
        What of it the app sees.
        """
        lines = self.passed(*fields, "X-Auth-User: root", "X_Auth_User: root", "X.auth-user: root", "x-auth-USER: root")
        return [line for line in lines if "root" in line]

    def test_other_routes(self) -> None:
        """
        On a route without a password, of a site that has one with, the app would believe it as well.
        """
        self.serve('basic_auth = "htpasswd"\n[[site.route]]\nproxy = "http://127.0.0.1:9001"', FILES)
        self.server.load(
            SITE + 'exact = "/"\n[[site.route]]\npath = "/in"\nbasic_auth = "htpasswd"\nproxy = "http://127.0.0.1:9001"'
        )
        self.assertEqual(self.spoofed(), [])

    def test_conditional(self) -> None:
        """
        The same where the policy is not for this request.
        """
        self.serve('basic_auth = { file = "htpasswd", when = { methods = ["POST"] } }', FILES)
        self.assertEqual(self.spoofed(), [])

    def test_other_sites(self) -> None:
        """
        Where nobody sets it, it is a header like any other.
        """
        self.serve("")
        self.assertEqual(len(self.spoofed()), 2)


class GuessingTests(GuardedCase):
    """
    Wrong passwords, limited by C{rate_limit} with C{failures}.
    """

    POLICY = 'basic_auth = "htpasswd"\nrate_limit = { rate = "2/min", failures = true'

    def guess(self, password: str = "x", client: str = "192.0.2.7") -> int:
        """
        What becomes of a guess.
        """
        return self.told(basic("ann", password), client=client).status

    def test_shut(self) -> None:
        """
        Who has guessed wrong too often is refused without a look at his next guess, until there is a token again; for
        others, and for requests that do not fail, nothing is counted.
        """
        self.serve(self.POLICY + " }", FILES)
        for _ in range(5):
            self.passed(basic("ann", "sesame"))
            self.assertEqual(self.told().status, 401)
        self.assertEqual([self.guess() for _ in range(4)], [401, 401, 429, 429])
        answer = self.told(basic("ann", "sesame"))
        self.assertEqual((answer.status, answer.get(b"Retry-After")), (429, b"30"))
        self.assertEqual(self.record[0], "rate_limited")
        self.assertEqual(self.guess(client="192.0.2.8"), 401)
        self.server.advance(31)
        self.assertEqual([self.guess() for _ in range(2)], [401, 429])
        self.server.advance(31)
        self.passed(basic("ann", "sesame"))

    def test_dry_run(self) -> None:
        """
        It refuses nobody.
        """
        self.serve(self.POLICY + ", dry_run = true }", FILES)
        self.assertEqual([self.guess() for _ in range(4)], [401] * 4)

    def test_refused(self) -> None:
        """
        What cannot be held up, or is not asked there.
        """
        self.assertIn("goes without delay", self.refused(self.POLICY + ', delay = "1s" }', FILES))
        stream = """
            [upstream.db]
            servers = ["127.0.0.1:5432"]
            [[stream]]
            listen = "tcp:5000"
            upstream = "db"
            rate_limit = { rate = "1/s", failures = true }
        """
        self.assertIn("a stream has none", self.refused(stream))
