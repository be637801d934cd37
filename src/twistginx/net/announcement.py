"""
The PROXY protocol as we speak it: the header by which a server is told who the client is.

References are to the specification, https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt.  Pure.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

#: Version 2, and LOCAL or PROXY (section 2.2).
_LOCAL: Final = 0x20
_PROXY: Final = 0x21

_TCP: Final = {4: 0x11, 6: 0x21}

#: An address and a port; None where there is none, as on a UNIX socket.
End = tuple[str, int] | None


def end_of(address: Any) -> End:
    """
    What a Twisted address says.
    """
    host = getattr(address, "host", None)
    return None if host is None else (host, address.port)


def announcement(version: str, source: End, destination: End) -> bytes:
    """
    The header.

    :param version: ``v1`` or ``v2``.
    :param source: the client.  When it is None, or no IP address, the header says that the connection is our own, or
        that nothing is known.
    :param destination: where the client has connected to; None: nowhere that has an address.
    """
    ends = _pair(source, destination)
    if version == "v1":
        if ends is None:
            return b"PROXY UNKNOWN\r\n"
        here, there, ports = ends
        return b"PROXY TCP%d %b %b %d %d\r\n" % (here.version, str(here).encode(), str(there).encode(), *ports)
    if ends is None:
        return _SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    here, there, ports = ends
    addresses = here.packed + there.packed + b"".join(port.to_bytes(2, "big") for port in ports)
    return _SIGNATURE + bytes((_PROXY, _TCP[here.version])) + len(addresses).to_bytes(2, "big") + addresses


def _pair(
    source: End, destination: End
) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address, tuple[int, int]] | None:
    """
    Both in one family, which is IPv6 where they differ (RFC 4291 section 2.5.5.2).
    """
    try:
        source = source or ("", 0)
        here = ip_address(source[0].partition("%")[0])
        # Who has come through a UNIX socket, from a proxy that says who it is, is somebody all the same.
        destination = destination or ("0.0.0.0" if here.version == 4 else "::", 0)
        there = ip_address(destination[0].partition("%")[0])
    except ValueError:
        return None
    if here.version != there.version:
        here, there = _mapped(here), _mapped(there)
    return here, there, (source[1], destination[1])


def _mapped(address: IPv4Address | IPv6Address) -> IPv6Address:
    return IPv6Address(f"::ffff:{address}") if isinstance(address, IPv4Address) else address
