"""
Tests for L{twistginx.shared.local}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.shared.stores import StoreTests
from twistginx.interfaces import IStore
from twistginx.shared.local import ENTRY, LocalStore


class LocalStoreTests(StoreTests, SynchronousTestCase):
    """
    What a store does, in this process.
    """

    def setUp(self) -> None:
        self.store = LocalStore()

    def test_interface(self) -> None:
        """
        It is a store.
        """
        verifyObject(IStore, self.store)

    def test_values_go(self) -> None:
        """
        A value lives as long as was said.
        """
        self.store.put(b"v", b"x", 10.0, 100.0)
        self.assertIsNotNone(self.store.get(b"v", 109.9))
        self.assertIsNone(self.store.get(b"v", 110.0))

    def test_bounded(self) -> None:
        """
        There are no more keys than there is room for, and the oldest is forgotten first.
        """
        store = LocalStore(100 * ENTRY)
        for index in range(1000):
            store.take(b"%d" % index, 0.001, 1.0, 5.0)
            store.put(b"%d" % index, b"x", 1e6, 5.0)
        self.assertEqual(len(store), 200)
        self.assertFalse(store.take(b"999", 0.001, 1.0, 5.0).admitted)
        self.assertFalse(store.take(b"900", 0.001, 1.0, 5.0).admitted)
        self.assertTrue(store.take(b"899", 0.001, 1.0, 5.0).admitted)
        self.assertIsNone(store.get(b"899", 5.0))
        self.assertIsNotNone(store.get(b"900", 5.0))

    def test_used_is_not_old(self) -> None:
        """
        Who goes on asking is not the oldest.
        """
        store = LocalStore(100 * ENTRY)
        for index in range(1000):
            store.take(b"%d" % index, 0.001, 1.0, 5.0)
            self.assertEqual(store.take(b"abuser", 0.001, 1.0, 5.0).admitted, index == 0)

    def test_full_buckets_go(self) -> None:
        """
        Who has not asked for so long that his bucket is full again takes no room.
        """
        store = LocalStore()
        for index in range(1000):
            store.take(b"%d" % index, 10.0, 1.0, 5.0)
        for index in range(1000):
            store.take(b"late %d" % index, 10.0, 1.0, 6.0 + index)
        self.assertLessEqual(len(store), 2)

    def test_releases_leave_nothing(self) -> None:
        """
        What nobody holds takes no room.
        """
        for _ in range(3):
            self.store.acquire(b"c", 5, 1.0)
        for _ in range(3):
            self.store.release(b"c")
        self.assertEqual(len(self.store), 0)
