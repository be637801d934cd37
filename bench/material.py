"""
What all servers serve: files, a certificate, requests.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Final

from attrs import frozen

KiB: Final = 1024
MiB: Final = 1024 * KiB
GiB: Final = 1024 * MiB

#: The files, by name, and their sizes.
FILES: Final = {"page.html": KiB, "body-100k.bin": 100 * KiB, "body-10m.bin": 10 * MiB, "large.pdf": 64 * MiB}

#: What the upstream answers below C{/api/}.
SMALL_ANSWER: Final = json.dumps({"id": 4711, "name": "An answer from memory", "tags": ["a", "b"], "ok": True}).encode()

#: When the files were last changed: whole seconds, and long ago, as with files that are served.
CHANGED: Final = 1_700_000_000

#: Where a loader puts the number of the request, so that no two have the same query string.
NUMBER: Final = b"@NUMBER@"

#: The head of a browser's request.
HEAD: Final = b"\r\n".join(
    (
        b"%s %s?id=" + NUMBER + b"&lang=en HTTP/1.1",
        b"Host: www.example.com",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        b"Accept-Language: en-GB,en;q=0.7,de;q=0.3",
        b"Accept-Encoding: gzip, deflate, br",
        b"Referer: https://www.example.com/catalogue/index.html",
        b"Connection: %s",
        b"Cookie: session=0f8fad5bd9cb469fa16570867728950e; theme=dark; _ga=GA1.2.1234567890.1700000000",
        b"Upgrade-Insecure-Requests: 1",
        b"Sec-Fetch-Dest: document",
        b"Sec-Fetch-Mode: navigate",
        b"Sec-Fetch-Site: same-origin",
        b"",
    )
)


def request_head(method: str, path: str, *, body: int | None = None, close: bool = False) -> bytes:
    """
    A request's head with L{NUMBER} in its query.

    :param body: the length of the body that follows; None: there is none.
    :param close: ask for the connection to be closed.
    """
    head = HEAD % (method.encode("ascii"), path.encode("ascii"), b"close" if close else b"keep-alive")
    if body is not None:
        head += b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n" % body
    return head + b"\r\n"


@frozen
class Material:
    """
    The files, below one directory.
    """

    directory: Path

    @property
    def root(self) -> Path:
        """
        What static servers serve.
        """
        return self.directory / "www"

    @property
    def certificate(self) -> Path:
        """
        A PEM file.
        """
        return self.directory / "tls" / "certificate.pem"

    @property
    def key(self) -> Path:
        """
        Its key: P-256.
        """
        return self.directory / "tls" / "key.pem"

    def make(self) -> None:
        """
        Make what is missing.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for name, size in FILES.items():
            path = self.root / name
            if not path.exists() or path.stat().st_size != size:
                # The same bytes in every run, and none that compression or a hole would make cheap.
                path.write_bytes(random.Random(name).randbytes(size))
                os.utime(path, (CHANGED, CHANGED))
        if not self.key.exists():
            self.key.parent.mkdir(exist_ok=True)
            subprocess.run(
                [
                    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                    *("-days", "3650", "-subj", "/CN=www.example.com", "-addext", "subjectAltName=DNS:www.example.com"),
                    *("-keyout", str(self.key), "-out", str(self.certificate)),
                ],
                check=True,
                capture_output=True,
            )

    def digest(self, name: str) -> str:
        """
        The SHA-256 of a file.
        """
        return sha256((self.root / name).read_bytes()).hexdigest()
