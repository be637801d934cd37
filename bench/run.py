"""
Compare servers: C{python bench/run.py --help}.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the repository, where this directory is a package

from bench.command import main  # noqa: E402  # it could not be found before

if __name__ == "__main__":
    sys.exit(main())
