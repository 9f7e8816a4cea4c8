"""What runs beside the gateway's routes while it is served: other listeners, and what is done now and then.

To add something, write a class with these methods in a module of its own and name it in all_beside().
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway
    from ztmon.gateway.settings import GatewayConfig


class Beside(Protocol):
    """Made with the Gateway, before the first request."""

    def bind(self) -> None:
        """Take addresses and ports. Raises ConfigError; nothing was started then."""

    async def start(self) -> None:
        """Begin. Returns when it works."""

    def says(self) -> str:
        """A line for who started the gateway, once it works; "": none."""

    def check(self, settings: "GatewayConfig") -> None:
        """Whether it can go on with these settings, whose addresses and ports are as they were. Raises ConfigError."""

    async def use(self, settings: "GatewayConfig") -> None:
        """Go on with them."""

    def renew(self) -> None:
        """Read certificates anew. Raises ConfigError, and then it goes on with those it has."""

    async def stop(self) -> None:
        """End, and take in what was accepted already. Called after the last request; also where start() was not."""

    def stats(self) -> dict[str, int | float]:
        """Counts and sizes by name, for /stats and, as ztmon_NAME, for /metrics."""


def all_beside(gateway: "Gateway") -> tuple[Beside, ...]:
    """Everything there is, as the settings want it."""
    found: list[Beside] = []
    if gateway.settings.udp_port is not None:
        from ztmon.gateway.udp import Udp
        found.append(Udp(gateway))
    if gateway.settings.upstream is not None:
        from ztmon.gateway.upstream import Upstream
        found.append(Upstream(gateway))
    if gateway.settings.otlp is not None:
        from ztmon.gateway.otel import OpenTelemetry
        found.append(OpenTelemetry(gateway))
    return tuple(found)
