"""
The arithmetic of limits: GCRA, the generic cell rate algorithm (ITU-T I.371), which is a token bucket that needs one
number for each key.  Pure.

The number is the theoretical arrival time (TAT): when the bucket will be full again, in seconds of some clock.  One of
``burst`` tokens that fills at ``rate`` tokens a second is full when the TAT lies in the past, and empty when it lies
``burst / rate`` seconds ahead.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: Seconds that rounding may cost: less than this too early is not too early.
_EPSILON: Final = 1e-6

#: Seconds that one worker may be late with the time of day: what lies further ahead than a bucket goes, and this, was
#: left by a limit with other numbers, and means that the bucket is empty.
_SLACK: Final = 1.0


class Verdict(NamedTuple):
    """
    What a store says to a request for tokens.

    :ivar admitted: are they there, or will they be soon enough?  They have been taken then.
    :ivar wait: seconds; admitted: until they are there; refused: until they would have been given.
    :ivar left: tokens that are left after this; never negative.
    """

    admitted: bool
    wait: float
    left: float


def judge(
    tat: float, rate: float, burst: float, now: float, cost: float = 1.0, delay: float = 0.0
) -> tuple[float, Verdict]:
    """
    Take ``cost`` tokens from a bucket, if they are there, or will be in ``delay`` seconds.

    :param tat: of the bucket; anything in the past for a new one.
    :param rate: tokens a second; more than 0.
    :param burst: tokens that the bucket holds; a ``cost`` above it is never there at once.
    :param cost: less than 0: tokens are given back; a full bucket stays full.
    :return: the new TAT, which is the old one when nothing was taken, and the verdict.
    """
    capacity = burst / rate
    if tat < now:
        tat = now
    elif tat > now + capacity + delay + _SLACK:
        tat = now + capacity + delay
    after = tat + cost / rate
    wait = after - capacity - now
    if wait <= delay + _EPSILON:
        if wait <= 0:
            return after, Verdict(True, 0.0, max(0.0, -wait * rate))
        return after, Verdict(True, wait if wait > _EPSILON else 0.0, 0.0)
    return tat, Verdict(False, wait - delay, max(0.0, (now + capacity - tat) * rate))
