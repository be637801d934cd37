"""
The nginx beside a recipe does what the recipe does: both are asked the same.
"""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import Final
from urllib.parse import urljoin, urlsplit

from tests import test_cookbook
from tests.cookbook.kitchen import Asked, KitchenCase, ok
from tests.cookbook.pages import Recipe, recipes
from tests.functional.peers import PeerTestCase, program
from tests.http.conversation import Answer, answers

#: What is in each of the folders.
FILES: Final = {
    "index.html": b"home",
    "about.html": b"about",
    "404.html": b"lost",
    "50x.html": b"sorry",
    "closed.html": b"closed",
    "a.1f.js": b"js",
    "dir/index.html": b"dir",
    "assets/a.js": b"js",
    "files/f.pdf": b"pdf",
    "static/s.css": b"css",
    "media/m.jpg": b"jpg",
    "protected/a.pdf": b"released",
}

#: What our recipes name besides.
MORE: Final = {
    "protected/a.pdf": b"released",
    "closed.txt": b"",
    "spool/.keep": b"",
    "moved.txt": b"/jobs /careers\n",
}

FOLDERS: Final = ("www", "dist", "shop", "errors")

TARGETS: Final = (
    *("/", "/index.html", "/about", "/about.html?x=1", "/dir/", "/a.1f.js", "/none", "/none.js", "/assets/a.js"),
    *("/assets/none.js", "/files/f.pdf", "/files/none", "/static/s.css", "/media/m.jpg", "/api/users?x=1", "/apix"),
    *("/wiki", "/wiki/", "/wiki/page?x", "/jobs?a=b", "/blog/1?p=2", "/team.html", "/healthz", "/robots.txt"),
    *("/favicon.ico", "/events", "/upload", "/a%20b", "/users/12/photo", "/protected/a.pdf"),
)

#: Recipes that have something to get wrong, and the targets at which they mean to be better than the nginx beside them,
#: with the reason.
RECIPES: Final[dict[str, dict[str, dict[str, str]]]] = {
    "addresses": {
        "pages_that_have_moved": {},
        "addresses_without_html": {},
        "addresses_by_pattern": {},
        "pictures_for_our_own_pages": {},
    },
    "applications": {
        "a_single_page_app_and_its_api": {
            "/dir/": "a directory with a page of its own is that",
            "/none.js": "a script that is gone is not a page",
            "/team.html": "nor is a page that is gone",
            "/robots.txt": "nor is it a page",
            "/favicon.ico": "nor a picture",
        },
        "static_and_media_beside_an_app": {},
        "an_app_under_a_prefix": {},
        "an_app_by_another_name": {},
        "maintenance": {},
        "error_pages": {},
        "small_answers": {"/healthz": "no blanks in JSON"},
    },
    "files": {
        "assets_that_never_change": {},
        "downloads_that_an_app_releases": {"/protected/a.pdf": "the path is the application's, too"},
    },
}


def told(method: str, target: str) -> bytes:
    """
    What servers behind answer.
    """
    return f"{method} {target}".encode()


class Behind(BaseHTTPRequestHandler):
    """
    A server behind nginx.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = told("GET", self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/release/7":
            self.send_header("X-Accel-Redirect", "/protected/a.pdf")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name for it
        """
        Nothing is to be said.
        """


class SameTests(KitchenCase, PeerTestCase):
    """
    One recipe after the other, by nginx and by us.
    """

    def setUp(self) -> None:
        KitchenCase.setUp(self)
        PeerTestCase.setUp(self)
        self.replies = self.tell
        behind = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
        thread = Thread(target=behind.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(behind.server_close)
        self.addCleanup(behind.shutdown)
        self.port = behind.server_address[1]
        self.files = Path(self.mktemp_short())
        for folder in (*FOLDERS, ""):
            for name, content in FILES.items():
                path = self.files / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for path in (self.files, *self.files.rglob("*")):
            path.chmod(0o755)

    def tell(self, asked: Asked) -> bytes:
        """
        What servers behind us answer: the same.
        """
        released = ["X-Accel-Redirect: /protected/a.pdf"] if asked.target == "/release/7" else []
        return ok(told(asked.method, asked.target), *released)

    def nginx(self, recipe: Recipe) -> str:
        """
        Start nginx with a recipe; the path of its socket.
        """
        # The path of a socket is short.
        place = Path(self.mktemp_short())
        sample = test_cookbook.NginxTests("test_accepted")
        sample.furnish(place)
        (place / "srv").rmdir()
        (place / "srv").symlink_to(self.files)
        text = sample.whole(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{self.port}", recipe.nginx), place)
        (place / "n.conf").write_text(text)
        arguments = ("-p", str(place), "-c", str(place / "n.conf"), "-e", str(place / "error.log"))
        running = self.start(program("nginx"), *arguments, "-g", "daemon off;")
        path = place / "80.sock"
        running.wait_for(path.exists, "its socket")
        return str(path)

    def mktemp_short(self) -> str:
        """
        A directory for one nginx.
        """
        made = mkdtemp(prefix="tg-")
        self.addCleanup(shutil.rmtree, made, ignore_errors=True)
        return made

    def from_nginx(self, path: str, targets: Sequence[str]) -> list[Answer]:
        """
        What nginx answers, to one request after the other.
        """
        *most, last = [f"GET {target} HTTP/1.1\r\nHost: example.com\r\n" for target in targets]
        asked = "".join(f"{each}\r\n" for each in most) + f"{last}Connection: close\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.sendall(asked.encode())
            return answers(b"".join(iter(lambda: client.recv(65536), b"")), (b"GET",) * len(targets))

    def shown(self, target: str, answer: Answer) -> tuple[int, str, bytes]:
        """
        What is compared: the status, where it leads, and the body, which of a failure is anybody's.
        """
        here = f"http://example.com{target}"
        to = urlsplit(urljoin(here, (answer.get(b"location") or b"").decode()))
        leads = to._replace(scheme="", netloc="").geturl() if answer.get(b"location") is not None else ""
        return answer.status, leads, answer.body if answer.status < 300 else b""

    def test_same(self) -> None:
        """
        The same answers, but for where it is said why they differ, and there they do.
        """
        for page, found in RECIPES.items():
            for name, better in found.items():
                recipe = recipes(page)[name]
                path = self.nginx(recipe)
                files = {
                    f"{folder}/{each}": content
                    for folder in FOLDERS
                    for each, content in FILES.items()
                    if f'"{folder}' in recipe.toml
                }
                self.cook(recipe, {**files, **MORE})
                differing = {}
                # Only where that is the recipe: nginx does it everywhere.
                released = ("/release/7",) if "downloads" in name else ()
                targets = (*TARGETS, *released)
                for target, answer in zip(targets, self.from_nginx(path, targets), strict=True):
                    theirs = self.shown(target, answer)
                    ours = self.shown(target, self.ask(target))
                    if ours != theirs:
                        differing[target] = (ours, theirs)
                self.assertEqual(set(differing), set(better), (name, differing))
