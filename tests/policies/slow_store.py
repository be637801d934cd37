"""
A plugin's store, which answers later.
"""

from __future__ import annotations

from attrs import frozen
from zope.interface import moduleProvides

from twistginx.interfaces import IStoreModule

moduleProvides(IStoreModule)

name = "slow"
api = 1


@frozen
class Config:
    """
    What C{[shared]} says.
    """

    store: str


def make(config, context):
    from tests.policies.test_rate_limit import SlowStore

    return SlowStore()
