"""
The cookbook is what it says: whole files, each shorter than the nginx beside it, each tried.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.cookbook.kitchen import certificate
from tests.cookbook.pages import DOCS, Recipe, lines, pages, recipes
from tests.functional.peers import program

#: What Debian's nginx has not.
_MISSING = re.compile(r"\b(auth_jwt|brotli_static|health_check|sticky)\b")

#: Where Debian has nginx's own modules.
MODULES = Path("/usr/lib/nginx/modules")

#: What stands at the top of a file, outside of ``http``.
_MAIN = re.compile(r"(?m)^(stream|http|worker_processes) ?")


class PageTests(SynchronousTestCase):
    """
    What stands on the pages.
    """

    def all(self) -> list[Recipe]:
        return [recipe for page in pages() for recipe in recipes(page).values()]

    def test_enough(self) -> None:
        """
        There are many, each is introduced and commented on, and no two have the same name.
        """
        found = self.all()
        self.assertGreaterEqual(len(found), 40)
        self.assertEqual(len({recipe.name for recipe in found}), len(found))
        for recipe in found:
            for words in recipe.words:
                self.assertTrue(words.endswith((".", ").")), recipe.title)
            self.assertNotEqual(*recipe.words)

    def test_shorter(self) -> None:
        """
        Each says in fewer lines what nginx says, and all together in three fifths of them.
        """
        sums = [0, 0]
        for recipe in self.all():
            nginx, ours = lines(recipe.nginx), lines(recipe.toml)
            self.assertLess(ours, nginx, recipe.title)
            sums[0] += nginx
            sums[1] += ours
        self.assertLess(sums[1] * 5, sums[0] * 3)

    def test_each_is_tried(self) -> None:
        """
        Each recipe has a test of its name, and each test a recipe.
        """
        for page in pages():
            module = import_module(f"tests.cookbook.test_{page}")
            cases = [case for _, case in getmembers(module, isclass) if getattr(case, "page", None) == page]
            tried = {name.removeprefix("test_") for case in cases for name in dir(case) if name.startswith("test_")}
            self.assertEqual(tried, set(recipes(page)))

    def test_contents(self) -> None:
        """
        The first page names all others.
        """
        found = re.findall(r"<cookbook/(\w+)\.rst>", (DOCS / "cookbook.rst").read_text("utf-8"))
        self.assertEqual(sorted(found), pages())


class NginxTests(SynchronousTestCase):
    """
    The nginx on the pages is nginx.
    """

    def test_accepted(self) -> None:
        """
        Nginx takes all that needs no module that Debian's has not.
        """
        nginx = program("nginx")
        directory = Path(mkdtemp(prefix="twistginx-"))
        self.addCleanup(shutil.rmtree, directory)
        self.furnish(directory)
        for page in pages():
            for recipe in recipes(page).values():
                if _MISSING.search(recipe.nginx):
                    continue
                path = directory / f"{recipe.name}.conf"
                path.write_text(self.whole(recipe.nginx, directory))
                done = subprocess.run(
                    [nginx, "-t", "-q", "-p", str(directory), "-c", str(path), "-e", str(directory / "error.log")],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""), recipe.title)

    def furnish(self, directory: Path) -> None:
        """
        What the files name.
        """
        for name in ("etc/ssl", "etc/nginx", "var/log", "var/spool/nginx", "srv", "logs"):
            (directory / name).mkdir(parents=True)
        for host in ("example.com", "example.org"):
            for name, content in certificate(host).items():
                (directory / "etc" / "ssl" / name).write_bytes(content)
        for name in ("machines-ca.crt", "internal-ca.crt"):
            shutil.copy(directory / "etc" / "ssl" / "example.com.crt", directory / "etc" / "ssl" / name)
        (directory / "moved.map").write_text("/jobs /careers;\n")
        (directory / "blocked.conf").write_text("192.0.2.0/24 1;\n")

    def whole(self, text: str, directory: Path) -> str:
        """
        A file of nginx's that needs no rights, and touches nothing outside of the directory.
        """
        text = re.sub(r"(?<=[ \"])/(?=(?:etc|srv|var)/)", f"{directory}/", text)
        text = re.sub(r"\blisten (\d+)", rf"listen unix:{directory}/\1.sock", text)
        if not _MAIN.search(text):
            text = f"http {{\n{text}\n}}\n"
        if not re.search(r"(?m)^events", text):
            text = f"events {{}}\n{text}"
        stream = MODULES / "ngx_stream_module.so"
        includes = f"load_module {stream};\n" if "stream {" in text and stream.exists() else ""
        paths = "\n".join(
            f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = text.replace("http {", f"http {{\naccess_log off;\n{paths}", 1)
        user = "user root;\n" if os.geteuid() == 0 else ""
        return f"pid {directory}/nginx.pid;\n{user}{includes}{text}"
