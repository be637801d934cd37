"""
Counters and small values that workers and machines share.

``verdict`` is the arithmetic; ``local`` keeps state in this process, ``embedded`` in memory that the workers of one
machine share, ``redis`` on a Redis that several machines share.  All three are an ``interfaces.IStore``.
"""
