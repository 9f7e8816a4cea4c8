"""GET /metrics: what is counted, for Prometheus. Labels are bounded: routes of the table, statuses, levels; never a partner,
a path or an address."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ztcore.levels import Action
from ztmon.gateway.http import Answer, Refused, Request
from ztmon.gateway.routes import READ, Route

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ztmon.gateway.app import Gateway

COUNTERS = {
    "events": "Events taken in, by whichever way.",
    "transitions": "Changes of level, and crossings of thresholds.",
    "transitions_lost": "Those that nobody took out in time.",
    "late": "Events that came too late to be taken in fully.",
    "turned_away": "Events of partners there was no row for.",
    "admitted": "Partners that got a row.",
    "evicted": "Partners whose row went to another.",
    "bad_timestamp": "Events with a time stamp that is none.",
    "bad_status": "Events with a status that is none.",
    "bad_latency_ms": "Events with a response time that is none.",
    "bad_request_bytes": "Events with a request size that is none.",
    "bad_response_bytes": "Events with a response size that is none.",
    "bad_count": "Events that stand for too many.",
    "bad_method": "Events with a method that is none.",
    "dropped": "Events for which there was no room to wait.",
    "takeovers": "Rows taken over from processes that ended at work on them.",
    "lost": "Events that processes had begun to post when they ended.",
    "hook_failures": "Callbacks that failed.",
    "hooks_dropped": "Async callbacks that were dropped because too many were under way.",
    "store_failures": "Writes to the store that failed; each is tried again.",
    "store_dropped": "Entries for the store that were dropped because it was away for too long.",
    "shared": "Partners exchanged with other hosts.",
    "share_failures": "Exchanges with other hosts that failed.",
}
"""Of Monitor.stats(), what only grows; ztmon_NAME_total."""

GAUGES = {
    "partners": "Partners with a row.",
    "capacity": "Partners there is room for.",
    "memory_bytes": "Bytes reserved for partners.",
}

BESIDE_GAUGES = {"udp_buffer_bytes", "udp_waiting_bytes", "upstream_open"}
"""Of what is served beside the routes, what also falls."""

SPLIT = {"udp_refused": "reason", "udp_missing": "field", "udp_wrong": "field"}
"""Families whose samples are NAME_LABEL in stats(), and their label's name."""


class Sample(NamedTuple):
    """A number with its name, its meaning and its labels. counter: it only grows."""

    name: str
    what: str
    counter: bool
    value: float
    labels: dict[str, str] = {}  # noqa: RUF012  never changed


def samples(gateway: "Gateway") -> Iterator[Sample]:
    """Everything that is counted, each name's samples together."""
    monitor, figures, intake = gateway.monitor, gateway.figures, gateway.intake
    stats = monitor.stats()
    for name, what in COUNTERS.items():
        if name in stats:
            yield Sample(f"ztmon_{name}", what, True, stats[name])
    for name, what in GAUGES.items():
        yield Sample(f"ztmon_{name}", what, False, stats[name])
    for level, n in zip(Action, monitor.levels(), strict=True):
        yield Sample("ztmon_partners_at_level", "Partners at each level.", False, n, {"level": level.name.lower()})
    for level in Action:
        name = level.name.lower()
        yield Sample("ztmon_level_changes", "Changes of level, by the level they led to.", True, gateway.hub.changes[name],
                     {"to": name})
    yield Sample("ztmon_anomalies", "Scores that crossed a threshold.", True, gateway.hub.anomalies)
    for result, n in (("accepted", figures.accepted), ("rejected", figures.rejected)):
        yield Sample("ztmon_telemetry_events", "Events posted to /telemetry.", True, n, {"result": result})
    yield Sample("ztmon_timestamps_clamped", "Time stamps too far back or ahead, taken for the nearest allowed.", True,
                 intake.clamped)
    answers = figures.answers.copy()
    answers["/telemetry", 200] += figures.posts
    answers["/telemetry", 202] += figures.unwaited
    for (route, status), n in sorted(answers.items()):
        yield Sample("ztmon_http_answers", "Answers, by route and status.", True, n,
                     {"route": route or "none", "status": str(status)})
    yield Sample("ztmon_event_streams", "Open event streams.", False, figures.streams)
    settings = monitor.settings
    for name in ("shadow", "kill_switch"):
        yield Sample(f"ztmon_{name}", f"1 where {name} is on: nothing is enforced.", False, int(settings[name]))
    yield Sample("ztmon_newcomers_held", "1 where too many rose at once: newcomers are not acted on.", False,
                 int(gateway.blast.tripped))
    yield Sample("ztmon_uptime_seconds", "Since the gateway was started.", False, time.time() - gateway.started)
    for part in gateway.beside:
        yield from beside(part.stats())


def beside(stats: dict[str, int | float]) -> Iterator[Sample]:
    """What is served beside the gateway's routes counts: one family for all reasons and one for all fields."""
    for name, value in stats.items():
        if name in SPLIT:       # the sum of what follows it
            continue
        family = next((family for family in SPLIT if name.startswith(family + "_")), name)
        labels = {SPLIT[family]: name.removeprefix(family + "_")} if family != name else {}
        yield Sample(f"ztmon_{family}", family.replace("_", " ") + ".", name not in BESIDE_GAUGES, value, labels)


class Collector:
    """Hands the samples to prometheus_client."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway

    def collect(self) -> Iterator[object]:
        """Called at each scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        family = None
        for sample in samples(self.gateway):
            if family is None or family.name != sample.name:
                if family is not None:
                    yield family
                kind = CounterMetricFamily if sample.counter else GaugeMetricFamily
                family = kind(sample.name, sample.what, labels=list(sample.labels))
            family.add_metric(list(sample.labels.values()), sample.value)
        if family is not None:
            yield family


def make_registry(gateway: "Gateway") -> "CollectorRegistry | None":
    """Of this gateway and its process; None where prometheus_client is not installed."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
    except ImportError:
        return None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(gateway))  # type: ignore[arg-type]
    if os.path.exists("/proc/self/stat"):
        ProcessCollector(registry=registry)
    return registry


async def metrics(gateway: "Gateway", request: Request) -> Answer:
    """The text format, or OpenMetrics for who asks for it."""
    registry = gateway.registry
    if registry is None:
        raise Refused(503, 'this needs prometheus_client: pip install "ztmon[gateway]"')
    from prometheus_client.exposition import choose_encoder

    encoder, kind = choose_encoder(request.headers.get(b"accept", b"").decode("latin-1"))
    return Answer(200, kind, await asyncio.to_thread(encoder, registry))


ROUTES = (
    Route("GET", "/metrics", READ, metrics, "What is counted, for Prometheus.", kind="text/plain", statuses=(503,)),
)  # fmt: skip
