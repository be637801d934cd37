"""
Tests for twistginx.policies.passwords.
"""

from __future__ import annotations

import subprocess
from base64 import b64encode
from hashlib import sha1
from shutil import which
from unittest import mock

import bcrypt
from argon2 import PasswordHasher
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from twistginx.policies import passwords
from twistginx.policies.passwords import MissingLibrary, Password, Users, read_users

BCRYPT = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()

#: Of "sesame", made by ``htpasswd`` and ``openssl passwd``, with the schemes' names.
HASHES = {
    "$2y$04$" + BCRYPT[7:]: "bcrypt",
    BCRYPT: "bcrypt",
    "$5$rounds=1000$abcdefgh$yJgpoO9WYnnSdmjEUD8SUjL7eYLVAYTAUSLZVFXr8fC": "SHA-256-crypt",
    "$apr1$abcdefgh$WDKuQq9f5Kg.vfVm4kTrP0": "apr1",
    "{SHA}" + b64encode(sha1(b"sesame").digest()).decode(): "SHA-1",
    PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("sesame"): "argon2",
}


class PasswordTests(SynchronousTestCase):
    """
    Hashes.
    """

    def test_openssl(self) -> None:
        """
        What openssl makes is verified, of every scheme that it knows.
        """
        if which("openssl") is None:
            raise SkipTest("needs openssl")
        for option in ("-5", "-6", "-apr1"):
            for word in ("sesame", "", "ü" * 40, "x" * 200):
                made = subprocess.run(
                    ["openssl", "passwd", option, "-stdin"], input=word.encode(), capture_output=True, check=True
                ).stdout
                if not word or (option == "-apr1" and len(made.strip()) < 5):
                    continue
                password = Password.parse(made.decode().strip())
                self.assertTrue(password.verify(word.encode()), (option, word))
                self.assertFalse(password.verify(word.encode() + b"x"), (option, word))

    def test_others(self) -> None:
        """
        bcrypt under each of its names, argon2, and SHA-1.
        """
        for text, scheme in HASHES.items():
            if scheme in ("SHA-256-crypt", "apr1"):
                continue
            password = Password.parse(text)
            self.assertEqual(password.scheme.name, scheme)
            self.assertTrue(password.verify(b"sesame"), scheme)
            for wrong in (b"", b"Sesame", b"sesame ", b"sesame\0"):
                self.assertFalse(password.verify(wrong), (scheme, wrong))

    def test_long_bcrypt(self) -> None:
        """
        bcrypt takes 72 bytes, and refuses more; htpasswd cut the rest off, and so do we.
        """
        password = Password.parse(bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode())
        self.assertTrue(password.verify(b"x" * 100))
        self.assertFalse(password.verify(b"x" * 71))

    def test_refused(self) -> None:
        """
        DES, MD5, plain text and what is cut off are refused, and nothing of them is repeated.
        """
        for text in (
            "rqXexS6ZhobKA",
            "sesame",
            "",
            "$1$abc$def",
            "{PLAIN}sesame",
            "$2y$04$short",
            "$6$x$y",
            BCRYPT[:-1],
        ):
            error = self.assertRaises(ValueError, Password.parse, text)
            if text:
                self.assertNotIn(text, str(error))

    def test_broken(self) -> None:
        """
        What looks like a hash, and is none, is nobody's password.
        """
        self.assertFalse(Password.parse("$argon2id$v=19$m=8,t=1,p=1$AAAA$x").verify(b"sesame"))

    def test_missing_library(self) -> None:
        """
        A library that is not installed is named by the command that installs it.
        """
        with mock.patch.object(passwords, "import_module", side_effect=ImportError):
            error = self.assertRaises(MissingLibrary, Password.parse, BCRYPT)
        self.assertIn("pip install twistginx[auth]", str(error))

    def test_repr(self) -> None:
        """
        It shows itself without its hash.
        """
        self.assertEqual(repr(Password.parse(BCRYPT)), "<Password bcrypt>")


class UsersTests(SynchronousTestCase):
    """
    htpasswd files.
    """

    def test_read(self) -> None:
        """
        Name and hash; the rest of a line, comments and empty lines say nothing.
        """
        users = read_users(f"# people\n\nann:{BCRYPT}\nbob x:{BCRYPT}:Bob\r\n".encode())
        self.assertEqual(len(users), 2)
        self.assertTrue(users.verify(b"ann", b"sesame"))
        self.assertTrue(users.verify(b"bob x", b"sesame"))
        self.assertFalse(users.verify(b"ann", b"x"))
        self.assertFalse(users.verify(b"eve", b"sesame"))

    def test_nobody(self) -> None:
        """
        An empty file is one that lets nobody in.
        """
        self.assertFalse(read_users(b"").verify(b"ann", b""))

    def test_unknown_takes_as_long(self) -> None:
        """
        For somebody who is not there a password is verified as well.
        """
        verified: list[bytes] = []

        class Counting(Users):
            __slots__ = ()

        password = mock.Mock()
        password.verify = lambda word: verified.append(word) or True
        users = Counting({b"ann": password})
        self.assertFalse(users.verify(b"eve", b"1"))
        self.assertTrue(users.verify(b"ann", b"2"))
        self.assertEqual(verified, [b"1", b"2"])

    def test_unknown_takes_as_any(self) -> None:
        """
        Where hashes differ in what they cost, those who are not there differ as well, and each stays as it is.
        """
        verified: list[int] = []
        passwords = {}
        for number in range(2):
            password = passwords[b"%d" % number] = mock.Mock()
            password.verify = lambda word, number=number: verified.append(number) or True
        users = Users(passwords)
        for _ in range(2):
            for number in range(64):
                self.assertFalse(users.verify(b"eve%d" % number, b"1"))
        self.assertEqual(set(verified), {0, 1})
        self.assertEqual(verified[:64], verified[64:])

    def test_weak(self) -> None:
        """
        Schemes that protect nobody are named.
        """
        sha = next(text for text, scheme in HASHES.items() if scheme == "SHA-1")
        self.assertEqual(read_users(f"a:{sha}\nb:{BCRYPT}".encode()).weak, ["SHA-1"])

    def test_wrong(self) -> None:
        """
        The first line that is wrong is named; nothing of its hash is.
        """
        for line, problem in (
            ("nonsense", "is not name:hash"),
            (":x", "is not name:hash"),
            ("eve:secretword", "the password is in a form that is not read"),
            ("eve:$2y$04$secretword", "the password is a broken hash of bcrypt"),
            ("eve:s\xe9cretword", "the password is in a form"),
            (f"ann:{BCRYPT}", "the user is there already"),
        ):
            error = self.assertRaises(ValueError, read_users, f"ann:{BCRYPT}\n{line}\n".encode("latin-1"))
            self.assertIn(f"line 2: {problem}", str(error))
            self.assertNotIn("cretword", str(error))
