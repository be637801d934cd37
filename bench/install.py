"""
What the comparison needs: programs of Debian, libraries of PyPI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

#: Everything that is made, and may be deleted, is in here.
CACHE: Final = Path(__file__).resolve().parent.parent / ".bench"

#: Program to Debian package.  The file is one that a program loads.
PACKAGES: Final = {
    "wrk": "wrk",
    "nginx": "nginx",
    "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "openssl": "openssl",
}

#: What the servers in Python need; they have an environment of their own.
REQUIREMENTS: Final = ("aiohttp", "uvloop", "fastapi", "httptools", "httpx", "uvicorn", "proxy.py")

#: The Python of that environment.
PYPI_PYTHON: Final = CACHE / "venv" / "bin" / "python"

#: While this says 101, Debian does not start the servers that it installs.
_POLICY: Final = Path("/usr/sbin/policy-rc.d")


def present(program: str) -> bool:
    """
    Is there such a program, or such a file?
    """
    return os.path.exists(program) or shutil.which(program) is not None


def install_packages() -> None:
    """
    Install the Debian packages that are missing.  Without apt-get, or without the right to use it, nothing happens: a
    server that is missing is left out.
    """
    missing = [package for program, package in PACKAGES.items() if not present(program)]
    if not missing or os.geteuid() != 0 or not present("apt-get"):
        return
    print(f"installing {', '.join(missing)}", file=sys.stderr)
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n", "ascii")
        _POLICY.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *arguments], check=False, env=environment, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            _POLICY.unlink()


def install_libraries() -> None:
    """
    Make the environment with the libraries of PyPI, once.
    """
    stamp = CACHE / "venv" / "installed.txt"
    wanted = "\n".join(REQUIREMENTS)
    if stamp.exists() and stamp.read_text("ascii") == wanted:
        return
    print(f"installing {', '.join(REQUIREMENTS)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(CACHE / "venv")], check=True)
    pip = [str(PYPI_PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, *REQUIREMENTS], check=False)
    if done.returncode == 0:
        stamp.write_text(wanted, "ascii")
