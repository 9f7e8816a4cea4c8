"""The same figures as /metrics, sent to an OpenTelemetry collector now and then. Needs the extra ztmon[otel]."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ztmon.errors import ConfigError
from ztmon.gateway.metrics import Sample, samples

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway
    from ztmon.gateway.settings import GatewayConfig


class OpenTelemetry:
    """Runs beside the routes (beside.py)."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self._provider: Any = None

    def bind(self) -> None:
        """Raises ConfigError where the extra is missing."""
        try:
            import opentelemetry.exporter.otlp.proto.http.metric_exporter
            import opentelemetry.sdk.metrics  # noqa: F401
        except ImportError:
            raise ConfigError('gateway.otlp needs OpenTelemetry: pip install "ztmon[otel]"') from None

    async def start(self) -> None:
        """Begin to send."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        settings = self.gateway.settings
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=settings.otlp, timeout=5),
                                               export_interval_millis=settings.otlp_seconds * 1000)
        self._provider = MeterProvider([reader], Resource.create({"service.name": "ztmon"}))
        meter = self._provider.get_meter("ztmon")
        kinds: dict[str, Sample] = {sample.name: sample for sample in samples(self.gateway)}
        for name, sample in kinds.items():
            make = meter.create_observable_counter if sample.counter else meter.create_observable_gauge
            make(name.replace("ztmon_", "ztmon.", 1), callbacks=[self._of(name)], description=sample.what)

    def _of(self, name: str) -> Callable[[Any], Iterable[Any]]:
        from opentelemetry.metrics import Observation

        return lambda _: [Observation(s.value, s.labels) for s in samples(self.gateway) if s.name == name]

    def says(self) -> str:
        """Nothing."""
        return ""

    def check(self, settings: "GatewayConfig") -> None:
        """Nothing of it changes while running."""

    async def use(self, settings: "GatewayConfig") -> None:
        """Likewise."""

    def renew(self) -> None:
        """It has none."""

    async def stop(self) -> None:
        """Send what there is, and end."""
        if self._provider is not None:
            import asyncio
            await asyncio.to_thread(self._provider.shutdown, 5000)
            self._provider = None

    def stats(self) -> dict[str, int | float]:
        """None of its own."""
        return {}
