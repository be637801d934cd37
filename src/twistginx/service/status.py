"""
What a program tells whoever runs it.
"""

from __future__ import annotations


class Status:
    """
    Told how the program is; does nothing with it.  Subclasses tell a service manager, or a screen.

    Calls come in the order of a life: ``ready``, then any number of ``reloading`` and ``ready``, and ``stopping``.

    :ivar interval: seconds between two calls of ``alive``.
    """

    interval = 1.0

    def ready(self, text: str) -> None:
        """
        The program serves.

        :param text: what, in a line.
        """

    def reloading(self) -> None:
        """
        A reload has begun; ``ready`` tells of its end, however it ended.
        """

    def stopping(self, text: str, seconds: float = 0.0) -> None:
        """
        The program ends its work, and then itself.

        :param seconds: that connections may still take.
        """

    def failed(self, text: str) -> None:
        """
        The program cannot start, and ends.

        :param text: why.
        """

    def succeeded(self, pid: int) -> None:
        """
        Another process, ``pid``, has taken over, and is the program from now on; we drain, and end.
        """

    def alive(self, connections: int) -> None:
        """
        The reactor turns; called every ``interval`` seconds while the program serves or drains.

        :param connections: that are open.
        """
