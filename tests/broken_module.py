"""
A third party's module that fails when it is used.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IResourceModule

moduleProvides(IResourceModule)

name = "explode"
api = 1


@frozen
class Config:
    """
    No options.
    """


def make(config: Config, context: Any) -> Any:
    """
    Fails.
    """
    raise RuntimeError("boom")
