"""
Clients that take their time hold little, and give it back.  How much a normal client notices of thousands of them is
measured by hand: C{python tests/functional/slow_clients.py}.
"""

from __future__ import annotations

import time

from tests.functional.peers import PeerTestCase
from tests.functional.slow_clients import (
    KINDS,
    Crowd,
    configuration,
    free_ports,
    latencies,
    open_descriptors,
    raise_limit,
    resident,
)

COUNT = 300

#: Of each kind one is in every six; the most is held for a download through the proxy that nobody reads: a read of the
#: upstream server's, and what is on its way to the client.  On the average, in bytes.
EACH = 160 << 10

#: Seconds for what has to happen soon.
SOON = 20


class SlowClientTests(PeerTestCase):
    """
    A few hundred idle clients, slow heads, slow bodies, slow readers, and downloads that nobody reads.
    """

    def test_crowd(self) -> None:
        """
        A normal client is answered meanwhile; memory and descriptors are bounded, and free again when they have gone.
        """
        raise_limit()
        port, inner, sink = free_ports(3)
        running = self.twistginx(configuration(self.directory, port, inner, sink), port, inner)
        latencies(port, 0.2, 100)
        descriptors = open_descriptors(running.pid)
        memory = resident(running.pid)
        crowd = Crowd(port, sink, COUNT)
        self.addCleanup(crowd.leave)
        taken = latencies(port, 1, 100)
        self.assertEqual(len(taken), 100)
        # One for each; a body on its way to a server has two, a file on its way three, and where the server is our own
        # too, five.
        self.assertGreater(open_descriptors(running.pid), descriptors + COUNT)
        self.assertLess(open_descriptors(running.pid), descriptors + (3 + 2 + 3 + 3 + 5) * COUNT // len(KINDS))
        self.assertLess((resident(running.pid) - memory) / COUNT, EACH)
        self.assertLess(crowd.leave(), COUNT)
        limit = time.monotonic() + SOON
        while open_descriptors(running.pid) > descriptors and time.monotonic() < limit:
            time.sleep(0.05)
        self.assertLessEqual(open_descriptors(running.pid), descriptors)
        self.assertEqual(len(latencies(port, 0.1, 100)), 10)
