"""
What a guard costs: microseconds per request, in memory, with and without it.

    python -m bench.guards

As ``bench.policies``, for policies that want something of the request: both sides are sent the same credentials.  A
service that is asked answers at once, so that what is counted is asking it, and not its work or the way there.
"""

from __future__ import annotations

import gc
import sys
from base64 import b64encode
from hashlib import sha256
from time import process_time, time

import bcrypt
import jwt
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from twistginx.http.signature import Signer
from twistginx.testing import MemoryServer

SITE = """
    [[site]]
    listen = "tcp:80"
    [[site.route]]
    respond = {{ body = "ok" }}
    {lines}
"""

KEY = "0123456789abcdef0123456789abcdef"

ROUNDS = 60
REQUESTS = 500


@frozen
class Guard:
    """
    What is measured.

    :ivar lines: of the route.
    :ivar field: of the request, with its line end.
    :ivar answer: of the service that is asked about each request; empty: none is.
    """

    label: str
    lines: str
    field: str = ""
    target: str = "/a/b"
    answer: bytes = b""


def guards() -> tuple[tuple[Guard, ...], dict[str, bytes]]:
    """
    All that are measured, and the files that they want.
    """
    rsa = generate_private_key(65537, 2048)
    token = jwt.encode({"sub": "ann", "aud": "api", "exp": int(time()) + 3600}, rsa, "RS256")
    basic = b64encode(b"ann:sesame").decode()
    hashed = sha256(KEY.encode()).hexdigest()
    link = Signer({b"a": KEY.encode()}).sign(b"/a/b", b"a", int(time()) + 3600).decode()
    files = {
        "htpasswd": b"ann:" + bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)),
        "key.pem": rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "list": "\n".join(f"{a}.{b}.{c}.0/25" for a in range(1, 5) for b in range(100) for c in range(250)).encode(),
    }
    return (
        Guard("nothing (what a difference of 0 looks like)", ""),
        Guard("access, by address", 'access = ["127.0.0.0/8"]'),
        Guard("access, 100,000 networks", 'access = { deny = ["file:list"] }'),
        Guard("access, by header", f'access = {{ headers = {{ X-Key = "{KEY}" }} }}', f"X-Key: {KEY}\r\n"),
        Guard("basic_auth, remembered", 'basic_auth = "htpasswd"', f"Authorization: Basic {basic}\r\n"),
        Guard("api_key", f'api_key.keys = {{ ann = "sha256:{hashed}" }}', f"X-API-Key: {KEY}\r\n"),
        Guard(
            "jwt, remembered", 'jwt = { key_file = "key.pem", audience = "api" }', f"Authorization: Bearer {token}\r\n"
        ),
        Guard(
            "forward_auth",
            'forward_auth = { url = "http://127.0.0.1:9091/verify", copy_headers = "X-Groups" }',
            answer=b"HTTP/1.1 200 OK\r\nRemote-User: ann\r\nX-Groups: a\r\nContent-Length: 0\r\n\r\n",
        ),
        Guard("signed_url", 'signed_url.keys = { a = "{env.KEY}" }', target=link),
        Guard(
            "two of which one is enough",
            'satisfy = "any"\n    access = ["10.0.0.0/8"]\n    basic_auth = "htpasswd"',
            f"Authorization: Basic {basic}\r\n",
        ),
    ), files


class Subject:
    """
    One configuration, and a client of it.
    """

    def __init__(self, guard: Guard, lines: str, files: dict[str, bytes]) -> None:
        self.server = MemoryServer(SITE.format(lines=lines), files, environment={"KEY": KEY})
        for listener in self.server.listeners.values():
            listener.frontend.log = None  # what is kept of each request for tests is no part of it
        self.request = (
            f"GET {guard.target} HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\n{guard.field}\r\n"
        ).encode()
        self.client = self.server.connect()
        self.client.send(self.request)
        self.answer = guard.answer if lines else b""
        if self.answer:
            self.service = self.server.accept()
            self.service.send(self.answer)
        answer = self.client.take()
        assert answer.startswith(b"HTTP/1.1 200 "), answer

    def run(self) -> float:
        """
        CPU seconds of a round.
        """
        client = self.client
        begin = process_time()
        for number in range(REQUESTS):
            client.send(self.request)
            if self.answer:
                self.service.send(self.answer)
            if number % 50 == 0:
                client.take()
                if self.answer:
                    self.service.take()
            if client.closed:
                client = self.client = self.server.connect()
        spent = process_time() - begin
        client.take()
        self.server.reactor.advance(0.25)
        return spent


def cost(guard: Guard, files: dict[str, bytes]) -> tuple[float, float]:
    """
    Microseconds per request: without the guard, and what it adds.
    """
    off, on = Subject(guard, "", files), Subject(guard, guard.lines, files)
    for subject in (off, on):
        subject.run()
    gc.collect()
    gc.disable()
    pairs = [(off.run(), on.run()) for _ in range(ROUNDS)]
    gc.enable()
    scale = 1e6 / REQUESTS
    without = min(first for first, _ in pairs)
    return without * scale, (min(second for _, second in pairs) - without) * scale


def main() -> int:
    """
    Print a table.
    """
    measured, files = guards()
    print(f"{'guard':44} {'without':>8} {'adds':>8}")
    for guard in measured:
        base, more = cost(guard, files)
        print(f"{guard.label:44} {base:8.2f} {more:8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
