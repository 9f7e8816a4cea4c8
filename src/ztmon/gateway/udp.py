"""Telemetry by UDP beside the gateway's routes."""

import asyncio
import logging
from typing import TYPE_CHECKING

from ztmon.gateway.settings import udp_keys

if TYPE_CHECKING:
    from ztmon.adapters.udp import UdpListener
    from ztmon.gateway.app import Gateway
    from ztmon.gateway.settings import GatewayConfig


log = logging.getLogger("ztmon.gateway")


class Udp:
    """A listener on the gateway's settings udp_listen and udp_port."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self.listener: UdpListener | None = None

    def bind(self) -> None:
        """Take the port. Raises ConfigError."""
        from ztmon.adapters.udp import UdpListener
        settings = self.gateway.settings
        assert settings.udp_port is not None
        self.listener = UdpListener(self.gateway.monitor, settings.udp_listen, settings.udp_port,
                                    udp_keys(settings.udp_keys), settings.back_seconds, settings.ahead_seconds)

    async def start(self) -> None:
        """Begin to receive."""
        assert self.listener is not None
        self.listener.start()

    def says(self) -> str:
        """Where it listens."""
        assert self.listener is not None
        address, port = self.listener.address
        return f"Telemetry by UDP: {address} port {port}, {'signed' if self.gateway.settings.udp_keys else 'unsigned'}"

    def check(self, settings: "GatewayConfig") -> None:
        """Raises ConfigError where it would listen to anybody."""
        from ztmon.adapters.udp import signed_or_near
        signed_or_near(settings.udp_listen, bool(settings.udp_keys))

    async def use(self, settings: "GatewayConfig") -> None:
        """Other keys; the socket stays, and what comes meanwhile waits in it."""
        if self.listener is not None:
            await asyncio.to_thread(self.listener.use, udp_keys(settings.udp_keys), settings.back_seconds, settings.ahead_seconds)
            if not settings.udp_keys:
                log.warning("telemetry by UDP is taken unsigned: there is no key")

    def renew(self) -> None:
        """It has none."""

    async def stop(self) -> None:
        """End; what had come is taken in."""
        if self.listener is not None:
            await asyncio.to_thread(self.listener.stop)

    def stats(self) -> dict[str, int | float]:
        """The listener's, as udp_NAME."""
        return {} if self.listener is None else {f"udp_{name}": n for name, n in self.listener.stats().items()}
