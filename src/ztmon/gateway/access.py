"""Who may do what: from a request to the name behind it and its roles.

With tokens every route but the public ones wants one, whatever the address. Without any, who asks from this machine
may do all; that is why such a gateway listens on a loopback address only, and why a page of another site, to which a
browser would lend its way in (DNS rebinding, cross-site requests), is refused by its Host and its Origin.
"""

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ztmon.gateway.http import Answer, Headers, Refused, Scope
from ztmon.gateway.settings import GatewayConfig

if TYPE_CHECKING:
    from ztmon.gateway.tokens import Tokens

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

KNOWN = 1024
"""Clients whose name is remembered."""

ROLES = ("read", "control", "telemetry")
"""What a token may allow: to look; to change, which includes to look; to send telemetry and ask for decisions."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. apps: those it may send telemetry for, None: all; ends: whether it is somebody only for a time."""

    name: str
    roles: frozenset[str]
    apps: frozenset[str] | None = None
    ends: bool = False

    def may(self, role: str) -> bool:
        """Whether a route of that role is open to it; "" is open to everybody."""
        return not role or role in self.roles or (role == "read" and "control" in self.roles)


LOCAL = Principal("local", frozenset(ROLES))
"""Everybody on this machine, where there are no tokens."""

NOBODY = Principal("", frozenset())


class Access:
    """Decides who a request is from. tokens: None where there is no store to keep any."""

    def __init__(self, settings: GatewayConfig, tokens: "Tokens | None" = None) -> None:
        self.tokens = tokens
        self.settings = settings
        self.known: dict[tuple[str, bytes | None, bytes | None], Principal] = {}
        """Who was let in before, by address, Host and Authorization."""

    def use(self, settings: GatewayConfig) -> None:
        """Other settings from now on."""
        self.settings = settings
        self.known.clear()

    def refreshed(self) -> None:
        """Tokens were read anew."""
        self.known.clear()

    @property
    def open(self) -> bool:
        """Whether nobody needs a token."""
        return self.tokens is None or not self.tokens.any

    def who(self, scope: Scope, headers: dict[bytes, bytes]) -> Principal:
        """Raises Refused: 401 for a token that is not one, 403 and 421 for who may not even ask. A page's Origin is cors()'s."""
        client = scope.get("client")
        key = (client[0] if client else "", headers.get(b"host"), headers.get(b"authorization"))
        # A header is compared with one seen before only where its keyed 64-bit hash is the same: the time says nothing.
        found = self.known.get(key)
        if found is None:
            found = self._who(scope, headers)
            if found is not NOBODY and not found.ends:
                if len(self.known) >= KNOWN:
                    self.known.clear()
                self.known[key] = found
        return found

    def _who(self, scope: Scope, headers: dict[bytes, bytes]) -> Principal:
        if self.open:
            client = scope.get("client")
            if client is not None and not _local(client[0]):
                raise Refused(403, "without tokens only this machine itself is served: ztmon token add NAME")
            self._named(headers, LOOPBACK.union(self.settings.hosts))
            return LOCAL
        if self.settings.hosts:
            self._named(headers, LOOPBACK.union(self.settings.hosts))
        given = headers.get(b"authorization")
        if given is None:
            return NOBODY
        assert self.tokens is not None
        found = self.tokens.find(given)
        if found is None:
            raise _unknown("this token is not known, or was revoked")
        return found

    def require(self, principal: Principal, role: str) -> None:
        """Raises Refused: 401 for who has no name, 403 for who may not."""
        if principal.may(role):
            return
        if not principal.name:
            raise _unknown("this needs a token: send the header Authorization: Bearer TOKEN")
        raise Refused(403, f"the token {principal.name} may not do this; it needs the role {role}")

    def cors(self, headers: dict[bytes, bytes]) -> Headers:
        """Headers for the page that asks. Raises Refused (403) for one that may not."""
        given = headers.get(b"origin")
        if given is None:
            return ()
        origin = given.decode("latin-1")
        allowed = self.settings.origins
        if origin in allowed or "*" in allowed:
            return ((b"access-control-allow-origin", given), (b"vary", b"origin"))
        host = headers.get(b"host", b"").decode("latin-1")
        if host and origin in (f"http://{host}", f"https://{host}"):
            return ()
        raise Refused(403, "pages of other sites may not use the gateway; gateway.origins allows some")

    def page(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Whether the page's own files may be had: with tokens by everybody, for they say nothing. Raises Refused."""
        if self.open:
            self.who(scope, headers)

    def preflight(self) -> Answer:
        """What a browser asks before it sends what a page of another site wants to send; cors() comes first."""
        return Answer(204, "text/plain", b"", (
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
            (b"access-control-max-age", b"600")))

    def _named(self, headers: dict[bytes, bytes], names: set[str]) -> None:
        host = headers.get(b"host", b"localhost").decode("latin-1")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name not in names:
            raise Refused(421, "the Host header names another machine; use 127.0.0.1 or localhost, or set gateway.hosts")


def _unknown(detail: str) -> Refused:
    return Refused(401, detail, ((b"www-authenticate", b'Bearer realm="ztmon"'),))


def _local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address in ("", "localhost")         # a Unix socket
