"""Who calls, in this order: the application's word, the subject of a verified client certificate, an API key, issuer and
client of a token that the application verified, X-Partner-ID of a trusted proxy, the address.

An unverified header names nobody: anyone could get a rival blocked. Keys and addresses leave here as pseudonyms only.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ztmon.errors import ConfigError
from ztmon.gateway.identity import Hasher, pseudonym
from ztmon.gateway.proxies import TrustedProxies

T = TypeVar("T")

CLAIMS = "ztmon.claims"
"""Where an application leaves the claims of a token that it has verified: a key of the ASGI scope or WSGI environment."""

ROUTE = "ztmon.route"
"""Where an application whose framework says nothing of routes leaves the template of the one that a request took: likewise."""

KEPT = 4096
"""Names remembered at once; more start anew."""


def keep(memory: dict[Any, T], key: Any, value: T) -> T:
    """Remember within bounds: a memory that is full is emptied, for who makes keys up must not fill it. Returns the value."""
    if len(memory) >= KEPT:
        memory.clear()
    memory[key] = value
    return value


class Proxies(TrustedProxies):
    """TrustedProxies that do not look at the same address twice."""

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            super().__init__(networks)
        except ValueError as error:
            raise ConfigError(f"trusted_proxies: {error}; allowed are networks, such as \"10.0.0.0/8\"") from None
        self._trusted: dict[str, bool] = {}
        self._clients: dict[tuple[str, str], str] = {}

    def trusted(self, address: str) -> bool:
        found = self._trusted.get(address)
        return keep(self._trusted, address, super().trusted(address)) if found is None else found

    def behind(self, peer: str, forwarded: str) -> str:
        """The address of who called a trusted proxy."""
        found = self._clients.get((peer, forwarded))
        if found is not None:
            return found
        scope = {"client": (peer, 0), "headers": [(b"x-forwarded-for", forwarded.encode("latin-1", "replace"))]}
        return keep(self._clients, (peer, forwarded), self.client(scope))


class Callers:
    """Names by what is known of a call. hasher None: keys and addresses name nobody, for there is no key to hash them with."""

    def __init__(self, hasher: Hasher | None, trusted_proxies: Iterable[str]) -> None:
        self.hasher = hasher
        self.proxies = Proxies(trusted_proxies)
        self.any_proxies = bool(self.proxies.networks)
        self.keys: dict[Any, str] = {}
        self.addresses: dict[Any, str] = {}
        self._claimed: dict[tuple[str, str], str] = {}

    def by_key(self, key: bytes | str) -> str | None:
        """The name of who holds an API key."""
        found = self.keys.get(key)
        return found if found is not None else self._pseudonym(self.keys, "key", key)

    def by_address(self, address: str) -> str | None:
        """The name of an address."""
        found = self.addresses.get(address)
        return found if found is not None else self._pseudonym(self.addresses, "client", address)

    def _pseudonym(self, memory: dict[Any, str], kind: str, secret: bytes | str) -> str | None:
        if self.hasher is None:
            return None
        text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
        return keep(memory, secret, pseudonym(self.hasher, kind, text))

    def by_claims(self, claims: Mapping[str, Any]) -> str | None:
        """Issuer and client of a verified token; the same object for the same two."""
        client = claims.get("client_id") or claims.get("azp") or claims.get("sub")
        if not client:
            return None
        key = (str(claims.get("iss") or ""), str(client))
        found = self._claimed.get(key)
        return keep(self._claimed, key, f"{key[1]} {key[0].partition('://')[2] or key[0]}".strip()) if found is None else found
