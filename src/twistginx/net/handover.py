"""
How a connection changes hands: from HTTP to a tunnel, from the ClientHello's reader to TLS.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocol

#: What a transport calls on its protocol.
_CALLS = ("dataReceived", "readConnectionLost", "writeConnectionLost", "connectionLost")


def hand_over(old: IProtocol, new: IProtocol) -> None:
    """
    From now on ``new`` has the transport that ``old`` had.

    ``new.makeConnection`` is called.  Bytes that ``old`` has read and not used are the caller's to deliver.  A
    transport of ours names its protocol; for one that keeps it elsewhere (Twisted's own TLS), ``old`` stands in between
    and passes on what it is told.
    """
    transport = old.transport  # type: ignore[attr-defined]  # IProtocol does not say that it keeps its transport
    if getattr(transport, "protocol", None) is old:
        transport.protocol = new
    else:
        for call in _CALLS:
            if hasattr(new, call):
                setattr(old, call, getattr(new, call))
    new.makeConnection(transport)
