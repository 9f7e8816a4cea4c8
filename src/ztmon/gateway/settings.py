"""Settings of the gateway: where it listens, who may ask, and its limits. They are Config's `gateway`."""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from ztmon.errors import ConfigError, nearest

Rule = tuple[Callable[[Any], bool], str]


def _number(least: float, most: float) -> Rule:
    return (lambda x: isinstance(x, int | float) and not isinstance(x, bool) and least <= x <= most,
            f"a number from {least:g} to {most:g}")


def _whole(least: int, most: int) -> Rule:
    return (lambda x: isinstance(x, int) and not isinstance(x, bool) and least <= x <= most,
            f"a whole number from {least:,} to {most:,}")


def _network(x: Any) -> bool:
    try:
        ipaddress.ip_network(x)
    except ValueError:
        return False
    return True


def _origin(x: Any) -> bool:
    scheme, found, rest = x.partition("://")
    return x == "*" or (bool(found) and scheme in ("http", "https") and bool(rest) and "/" not in rest and x.isascii())


_PATH = (lambda x: x is None or (isinstance(x, str) and x != "" and "\0" not in x), "the path of a file")


def _list(good: Callable[[str], bool], of: str) -> Rule:
    return (lambda x: isinstance(x, tuple) and all(isinstance(y, str) and good(y) for y in x), f"a list of {of}")


def without_password(text: str) -> str:
    """A URL as it is in a message."""
    scheme, found, rest = text.partition("://")
    return scheme + found + rest.rpartition("@")[2]


def udp_keys(texts: tuple[str, ...]) -> dict[int, bytes]:
    """Keys by number, from NUMBER:HEXADECIMAL each. Raises ValueError."""
    found = {}
    for text in texts:
        number, _, secret = text.partition(":")
        if int(number) in found:
            raise ValueError("two keys have the same number")
        found[int(number)] = bytes.fromhex(secret)
    return found


def _udp_keys(texts: tuple[str, ...]) -> bool:
    try:
        return all(0 <= number <= 255 and 16 <= len(key) <= 64 for number, key in udp_keys(texts).items())
    except (ValueError, AttributeError):
        return False


def _upstream(x: Any) -> bool:
    try:
        found = urlsplit(x)
        return found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0 and not found.query
    except (ValueError, AttributeError):
        return False


_RULES: dict[str, Rule] = {
    "listen": (lambda x: isinstance(x, str), "an address or a name"),
    "port": _whole(0, 65535),
    "udp_listen": (lambda x: isinstance(x, str), "an address"),
    "udp_port": (lambda x: x is None or _whole(0, 65535)[0](x), "a whole number from 0 to 65,535, or nothing"),
    "udp_keys": (lambda x: isinstance(x, tuple) and _udp_keys(x),
                 "a list of keys as NUMBER:HEXADECIMAL, each number once, of 16 to 64 bytes"),
    "upstream": (lambda x: x is None or _upstream(x), "a URL such as http://127.0.0.1:8000"),
    "upstream_listen": (lambda x: isinstance(x, str), "an address"),
    "upstream_port": _whole(0, 65535),
    "upstream_app": (lambda x: isinstance(x, str) and x != "", "a name"),
    "upstream_seconds": _number(0.1, 3600.0),
    "key_header": (lambda x: isinstance(x, str) and x.isascii() and x != "" and not set(" :\0\r\n") & set(x),
                   "the name of a header"),
    "tls_certificate": _PATH,
    "tls_key": _PATH,
    "tls_clients": _PATH,
    "hosts": _list(lambda x: x != "" and "/" not in x, "host names"),
    "origins": _list(_origin, "origins such as https://shop.example"),
    "trusted_proxies": _list(_network, "networks such as 10.0.0.0/8"),
    "body_bytes": _whole(1024, 1 << 30),
    "body_events": _whole(1, 1_000_000),
    "head_seconds": _number(0.1, 3600.0),
    "body_seconds": _number(0.1, 3600.0),
    "connections": _whole(1, 1_000_000),
    "back_seconds": _number(0.0, 86_400.0 * 366),
    "ahead_seconds": _number(0.0, 86_400.0),
    "log": (lambda x: x in ("text", "json"), "text or json"),
    "otlp": (lambda x: x is None or (isinstance(x, str) and x.startswith(("http://", "https://"))), "a URL"),
    "otlp_seconds": _number(0.1, 3600.0),
    "blast_partners": _whole(0, 1 << 24),
    "blast_partner_share": _number(0.0, 1.0),
    "blast_traffic_share": _number(0.0, 1.0),
    "blast_minutes": _number(0.1, 1440.0),
}


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """All settings of a Gateway. Raises ConfigError for a value that is not allowed."""

    listen: str = "127.0.0.1"
    """The address to listen on. One that others can reach needs at least one token."""

    port: int = 9000
    """The port of telemetry, reading and control; 0: any free one."""

    udp_listen: str = "127.0.0.1"
    """The address for telemetry by UDP. One that others can reach needs udp_keys."""

    udp_port: int | None = None
    """The port of telemetry by UDP, 0: any free one; None: there is none. `ztmon serve` takes 9001."""

    udp_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys of signed datagrams, NUMBER:HEXADECIMAL each; with any, what is not signed is refused."""

    upstream: str | None = None
    """URL of the application that the reverse proxy stands before; None: there is no reverse proxy."""

    upstream_listen: str = "127.0.0.1"
    """The address that the reverse proxy listens on."""

    upstream_port: int = 3000
    """The port that the reverse proxy listens on; 0: any free one."""

    upstream_app: str = "default"
    """The application whose partners call through the reverse proxy."""

    upstream_seconds: float = 60.0
    """How long the application may take to answer, and to go on while it does."""

    key_header: str = "x-api-key"
    """The header with a caller's API key, where a proxy names no partner; only a keyed hash of it is kept."""

    tls_certificate: str | None = None
    """A PEM file with the server's certificate and its chain; None: no TLS."""

    tls_key: str | None = None
    """A PEM file with the key; None: it is in the same file as the certificate."""

    tls_clients: str | None = None
    """A PEM file with the authorities of client certificates; given, a client without one is not let in."""

    hosts: tuple[str, ...] = ()
    """Names by which the gateway is called, beside those of the loopback address; without any and with tokens: every name."""

    origins: tuple[str, ...] = ()
    """Origins of web pages that may send telemetry and read answers (CORS); "*": all. Never with cookies."""

    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose X-Forwarded-For and X-Partner-ID are believed."""

    body_bytes: int = 8 * 1024 * 1024
    """Bytes of a body at most, unpacked."""

    body_events: int = 100_000
    """Events of a body at most."""

    head_seconds: float = 10.0
    """How long a client may take to send a request's line and headers, and how long a connection may idle."""

    body_seconds: float = 30.0
    """How long a client may take to send a body."""

    connections: int = 4096
    """Connections at once; more are closed at once."""

    back_seconds: float = 900.0
    """Time stamps further back than this are taken for this far back."""

    ahead_seconds: float = 10.0
    """Time stamps further ahead than this are taken for this far ahead."""

    log: str = "text"
    """Lines of the log: "text" for people or "json"."""

    otlp: str | None = None
    """URL of an OpenTelemetry collector (OTLP over HTTP) that metrics are sent to; None: none are."""

    otlp_seconds: float = 30.0
    """How often metrics are sent there."""

    blast_partners: int = 3
    """So many partners may always be acted on within blast_minutes; see blast_partner_share."""

    blast_partner_share: float = 0.10
    """Where more than blast_partners and more than this share of all partners would be acted on, newcomers are not."""

    blast_traffic_share: float = 0.05
    """Where more than blast_partners and those who usually bring more than this share of calls would be acted on,
    newcomers are not."""

    blast_minutes: float = 10.0
    """The window in which those who would be acted on are counted."""

    def __post_init__(self) -> None:
        for name in ("tls_certificate", "tls_key", "tls_clients"):
            if isinstance(getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(getattr(self, name)))
        for name in ("hosts", "origins", "trusted_proxies", "udp_keys"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name, (good, allowed) in _RULES.items():
            if not good(getattr(self, name)):
                shown = "(hidden)" if name == "udp_keys" else without_password(repr(getattr(self, name)))
                raise ConfigError(f"gateway.{name} is {shown}; allowed is {allowed}")
        if self.tls_certificate is None and (self.tls_key or self.tls_clients):
            raise ConfigError("gateway.tls_certificate is unset; tls_key and tls_clients need it")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it. Raises ConfigError where `listen` is no address."""
        if self.listen == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.listen).is_loopback
        except ValueError:
            raise ConfigError(f"gateway.listen is {self.listen!r}; allowed is an address of this machine, or localhost") from None


def gateway_config(value: object) -> GatewayConfig:
    """Settings from themselves or from a map. Raises ConfigError."""
    if isinstance(value, Mapping):
        names = [f.name for f in fields(GatewayConfig)]
        for name in value:
            if name not in names:
                raise ConfigError(f"gateway has no setting {name}; {nearest(name, names)}")
        value = GatewayConfig(**value)
    if not isinstance(value, GatewayConfig):
        raise ConfigError(f"gateway is {value!r}; allowed is ztmon.GatewayConfig or a map of its names")
    return value
