"""
What a directory would answer with, in words: for ``twistginx explain``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from twistginx.errors import ProxyError
from twistginx.resources.files import names_in
from twistginx.resources.manner import Manner
from twistginx.resources.shelf import Shelf


def sighted(manner: Manner, shelf: Shelf, request: Any, below: bytes) -> list[str]:
    """
    Where a file is looked for, whether it is there, and what comes of it where there is none.

    :param below: the path of the request, beneath the root.
    """
    plan = manner.try_files
    root = os.fsdecode(shelf.root.path)
    if manner.only is not None:
        return [f"/{os.fsdecode(manner.only)} beneath {root}: {_seen(manner, shelf, [manner.only])[1]}"]
    paths = [below] if plan is None else [each.path(request, below) for each in plan.places if each.query is None]
    lines = []
    for path in paths:
        answers, words = _seen(manner, shelf, names_in(path, manner.hidden))
        lines.append(f"{os.fsdecode(path)} beneath {root}: {words}")
        if answers:
            return lines
    return [*lines, _otherwise(manner, request, below)]


def _seen(manner: Manner, shelf: Shelf, names: Sequence[bytes] | None) -> tuple[bool, str]:
    """
    Is there something that answers, and what is there, in words.
    """
    if names is None:
        return False, "no file has such a path"
    try:
        status = shelf.root.known(names)
    except ProxyError as error:
        missing = error.reason.word == "destination_not_found"
        return not missing, "there is none" if missing else f"{error.status}, {error.detail}"
    if not stat.S_ISDIR(status.st_mode):
        return True, f"a file of {status.st_size} bytes"
    index = next((each for each in manner.index if shelf.exists([*names, each])), None)
    if index is not None:
        return True, f"a directory, for which its {os.fsdecode(index)} answers"
    return manner.listing, f"a directory without an index file{', which is listed' * manner.listing}"


def _otherwise(manner: Manner, request: Any, below: bytes) -> str:
    """
    What comes of it that there is no file, in words.
    """
    plan = manner.try_files
    if plan is not None and plan.status is None:
        last = plan.places[-1]
        query = b"" if last.query is None else b"?" + last.query(request, below)
        return f"so the site is asked for {os.fsdecode(last.path(request, below) + query)}"
    if manner.spa is not None:
        return f"so {os.fsdecode(b'/'.join(manner.spa))} answers, unless the path is that of a file"
    return f"so the answer is {404 if plan is None else plan.status}"
