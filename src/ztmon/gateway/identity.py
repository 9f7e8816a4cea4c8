"""Who is calling, of a request that a proxy asks about or that passes through: what a trusted proxy says, else the API
key, else the address. Keys and addresses leave here as pseudonyms only.
"""

from typing import TYPE_CHECKING, Protocol

from ztmon.gateway.http import Scope
from ztmon.wire import NAME_BYTES

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway


def caller(gateway: "Gateway", scope: Scope, headers: dict[bytes, bytes]) -> tuple[str, str]:
    """The partner's name, and the address as far as it is known ("": it is not)."""
    source = gateway.proxies.client(scope)
    named = gateway.proxies.partner(scope)
    if named:
        return named.encode()[:NAME_BYTES].decode("utf-8", "ignore"), source
    key = headers.get(gateway.settings.key_header.lower().encode())
    if key:
        return pseudonym(gateway.monitor, "key", key.decode("latin-1")), source
    return pseudonym(gateway.monitor, "client", source or "unknown"), source


class Hasher(Protocol):
    """A monitor, as far as names are concerned."""

    def source_key(self, source: str) -> int:
        """Keyed hash of a text."""


def pseudonym(hasher: Hasher, kind: str, secret: str) -> str:
    """kind-0123456789abcdef: the same for the same secret wherever the hash key is the same."""
    return f"{kind}-{hasher.source_key(f'{kind} {secret}'):016x}"
