"""
Tests for twistginx.policies.satisfy, and for the key of that name.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bcrypt
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.policies.guarded import KEY, SITE, GuardedCase, basic
from twistginx.errors import ProxyError
from twistginx.http.message import Reply
from twistginx.policies.satisfy import AnyOf

FILES = {"htpasswd": b"ann:" + bcrypt.hashpw(b"sesame", bcrypt.gensalt(4))}

GUARDS = """
    access = ["10.0.0.0/8"]
    basic_auth = "htpasswd"
    api_key.keys = { robot = "{env.KEY}" }
"""

REQUEST: Any = SimpleNamespace()
LOGIN = Reply(302, [(b"Location", b"/login")])
DENIED = ProxyError("http_request_denied", "address")
WHO = ProxyError("authentication_required", "no password", fields=((b"WWW-Authenticate", b"Basic"),))
WHO_ELSE = ProxyError("authentication_required", "no token", fields=((b"WWW-Authenticate", b"Bearer"),))
AWAY = ProxyError("authentication_unavailable", "away")


def says(outcome: Any) -> Any:
    """
    The ``admit`` of a policy that decides so, at once.
    """

    def admit(request: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return admit


def later(outcome: Any) -> Any:
    """
    One that waits first.
    """
    return lambda request: fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)


class AnyOfTests(SynchronousTestCase):
    """
    Several that decide.
    """

    def outcome(self, *admits: Any) -> Any:
        """
        What becomes of a request: None, a Reply, or a ProxyError.
        """
        try:
            outcome = AnyOf(admits).admit(REQUEST)
        except ProxyError as error:
            return error
        if not isinstance(outcome, Deferred):
            return outcome
        results: list[Any] = []
        outcome.addCallbacks(results.append, lambda failure: results.append(failure.value))
        return results[0]

    def test_one_is_enough(self) -> None:
        """
        Wherever it stands, and whether the others wait or not; who comes after it is not asked.
        """

        def never(request: Any) -> None:
            raise AssertionError

        for how in (says, later):
            for other in (says, later):
                for no in (DENIED, WHO, LOGIN, AWAY):
                    self.assertIsNone(self.outcome(how(no), other(None), never))
                    self.assertIsNone(self.outcome(other(no), how(no), says(None)))
                self.assertIsNone(self.outcome(how(None), never))

    def test_none(self) -> None:
        """
        What the client is told when nobody lets it in: of a fault first, then where to log in, then how to prove
        itself, and only then that it may not.
        """
        for how in (says, later):
            for other in (says, later):
                self.assertIs(self.outcome(how(DENIED), other(LOGIN), says(WHO)), LOGIN)
                self.assertIs(self.outcome(how(LOGIN), other(AWAY)), AWAY)
                self.assertIs(self.outcome(how(DENIED), other(DENIED)), DENIED)
                error = self.outcome(how(DENIED), other(WHO), says(WHO_ELSE))
                self.assertEqual(error.reason.word, "authentication_required")
                self.assertEqual([value for _, value in error.fields], [b"Basic", b"Bearer"])
                self.assertEqual(error.detail, "no password; no token")

    def test_mistake(self) -> None:
        """
        A policy with a mistake is no refusal that another one could make up for: it fails closed, as it would alone.
        """
        self.assertRaises(ZeroDivisionError, AnyOf([says(ZeroDivisionError()), says(None)]).admit, REQUEST)
        outcome = AnyOf([later(ZeroDivisionError()), says(None)]).admit(REQUEST)
        self.failureResultOf(outcome, ZeroDivisionError)


class SatisfyTests(GuardedCase):
    """
    The key.
    """

    def test_all(self) -> None:
        """
        By default each of them must be satisfied.
        """
        self.serve(GUARDS, FILES)
        both = (basic("ann", "sesame"), f"X-API-Key: {KEY}")
        self.passed(*both, client="10.0.0.1")
        self.assertEqual(self.told(*both).status, 403)
        for each in both:
            self.assertEqual(self.told(each, client="10.0.0.1").status, 401)

    def test_any(self) -> None:
        """
        One of them is enough, and what the others would have said of the user is nobody's to say.
        """
        self.serve('satisfy = "any"' + GUARDS, FILES)
        for fields, client, user in (
            ((), "10.0.0.1", ""),
            ((basic("ann", "sesame"),), "192.0.2.1", "ann"),
            ((f"X-API-Key: {KEY}", basic("ann", "wrong")), "192.0.2.1", "robot"),
        ):
            lines = self.passed(*fields, "X-Auth-User: root", client=client)
            self.assertEqual(
                [line for line in lines if line.startswith("X-Auth-User: ")], [f"X-Auth-User: {user}"] * bool(user)
            )
            self.assertEqual(self.record[2], user)
        answer = self.told(basic("ann", "wrong"))
        self.assertEqual(answer.status, 401)
        self.assertEqual(len([name for name, _ in answer.fields if name == b"WWW-Authenticate"]), 2)

    def test_alone(self) -> None:
        """
        Of one alone, any is all: it lets nobody else in.
        """
        self.serve('satisfy = "any"\naccess = ["10.0.0.0/8"]')
        self.assertEqual(self.told().status, 403)
        self.passed(client="10.0.0.1")

    def test_inherited(self) -> None:
        """
        A site's defaults hold for its routes, unless they say otherwise.
        """
        self.serve("")
        defaults = SITE.replace("[[site.route]]", '[site.defaults]\nsatisfy = "any"\n[[site.route]]')
        (self.server.directory / "htpasswd").write_bytes(FILES["htpasswd"])
        self.server.load(defaults + GUARDS)
        self.passed(client="10.0.0.1")
        self.server.load(defaults + 'satisfy = "all"' + GUARDS)
        self.assertEqual(self.told(client="10.0.0.1").status, 401)

    def test_others_are_all_asked(self) -> None:
        """
        Only who decides about coming in is one of any: a limit is none of them.
        """
        self.serve('satisfy = "any"' + GUARDS, FILES)
        (route,) = self.server.generation.sites[0].routes  # type: ignore[union-attr]
        self.assertEqual(len(route.admit), 1)
        self.assertIn("any", route.guard)
