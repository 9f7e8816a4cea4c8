"""What trusted proxies say about who is behind them.

X-Forwarded-For is read from the right: each proxy appends whom it was called by, so what stands left of the first
address that is no trusted proxy was written by the client itself.
"""

import ipaddress
from collections.abc import Iterable

from ztmon.gateway.http import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HOPS = 32
"""Addresses of X-Forwarded-For that are looked at."""


class TrustedProxies:
    """Networks (CIDR) whose word about who called them is taken."""

    def __init__(self, networks: Iterable[str]) -> None:
        self.networks: tuple[Network, ...] = tuple(ipaddress.ip_network(network) for network in networks)

    def trusted(self, address: str) -> bool:
        """Whether an address is a trusted proxy's."""
        found = _address(address)
        return found is not None and any(found in network for network in self.networks if network.version == found.version)

    def client(self, scope: Scope) -> str:
        """The address of who called, as far as it is known; "" where it is not."""
        peer = scope.get("client")
        address: str = peer[0] if peer else ""
        if not self.networks or not self.trusted(address):
            return address
        given = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for hop in given.decode("latin-1").split(",")[: -HOPS - 1 : -1]:
            found = _address(_bare(hop.strip()))
            if found is None:
                return address
            address = str(found)
            if not self.trusted(address):
                return address
        return address

    def partner(self, scope: Scope) -> str:
        """X-Partner-ID of a trusted proxy; "" from anybody else, or anyone could get a rival blocked."""
        peer = scope.get("client")
        if not peer or not self.trusted(peer[0]):
            return ""
        found = [value for name, value in scope["headers"] if name == b"x-partner-id"]
        return found[-1].decode("utf-8", "replace") if found else ""


def _bare(hop: str) -> str:
    """An address without its port and brackets."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _address(text: str) -> Address | None:
    """IPv4 inside IPv6 is IPv4. None: it is no address."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
