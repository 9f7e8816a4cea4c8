"""What can be seen of a gateway from outside: the event stream, metrics, the OpenAPI, health, the log."""

import gzip
import json
import re
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from .gateways import EVENT, Gateway, attack

pytest.importorskip("uvicorn")


class Events:
    """A listener of /events."""

    def __init__(self, gateway, **headers):
        self.connection = gateway.connect()
        self.connection.request("GET", "/events", headers=headers)
        self.answer = self.connection.getresponse()

    def next(self):
        """(kind, what) of the next event."""
        kind = None
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return kind, json.loads(line.removeprefix("data: "))

    def close(self):
        self.answer.close()
        self.connection.close()


def test_what_happens_is_told_as_it_happens(gateway):
    """A listener hears a rise, with its reasons, and a change of settings; who leaves is forgotten."""
    events = Events(gateway)
    assert events.answer.headers["content-type"] == "text/event-stream"
    gateway.post(attack("heard"))
    kind, what = events.next()
    while kind != "level":
        kind, what = events.next()
    assert (what["partner"], what["from"]) == ("heard", "monitor")
    assert what["reasons"][0]["signal"] == "suspicious_patterns"
    gateway.do("PATCH", "/config", {"changes": {"fall_minutes": 6.0}, "reason": "x"})
    while kind != "settings":
        kind, what = events.next()
    assert what["changed"] == ["fall_minutes"]
    gateway.do("DELETE", "/config/fall_minutes?reason=x")
    events.close()
    gateway.until(lambda: 'ztmon_event_streams 0.0' in gateway.ask("GET", "/metrics")[2].decode())


def test_a_listener_that_does_not_read_holds_nobody_up(gateway):
    """Hundreds of rises while nobody reads: requests are answered, and memory for the listener is bounded."""
    from ztmon.gateway.stream import WAITING, Listener

    events = Events(gateway)
    assert gateway.post([event for i in range(60) for event in attack(f"crowd-{i}", 12)])[0] == 200
    assert gateway.get("/healthz")[0] == 200
    events.close()

    class Loop:
        def call_soon_threadsafe(self, what):
            what()

    listener = Listener(Loop())
    for i in range(WAITING + 5):
        listener.put(b"%d;" % i)
    import asyncio
    found = asyncio.run(listener.next(1.0))
    assert found.startswith(b'event: missed\ndata: {"events":5}\n\n5;')


def test_metrics_are_numbers_with_bounded_labels(gateway):
    """/metrics has what was counted; no partner, path or address is in it, whatever was asked for."""
    gateway.post([EVENT | {"partnerId": "secret-name", "clientIp": "203.0.113.77"}, {}])
    for path in ("/secret-path/1", "/partners/secret-name", "/secret-path/2"):
        gateway.ask("GET", path)
    status, headers, body = gateway.ask("GET", "/metrics")
    text = body.decode()
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert "secret" not in text
    assert "203.0.113" not in text
    values = dict(re.findall(r"^(\w+(?:{.*})?) ([\d.e+-]+)$", text, re.MULTILINE))
    stats = gateway.get("/stats")[1]
    assert float(values["ztmon_events_total"]) <= stats["events"]
    assert float(values["ztmon_partners"]) == stats["partners"]
    assert sum(float(v) for k, v in values.items() if k.startswith("ztmon_partners_at_level")) == stats["partners"]
    assert float(values['ztmon_telemetry_events_total{result="rejected"}']) >= 1
    assert float(values['ztmon_http_answers_total{route="none",status="404"}']) >= 2
    assert float(values['ztmon_http_answers_total{route="/partners/{partner}",status="200"}']) >= 1
    assert "process_resident_memory_bytes" in values


def test_every_metric_is_on_the_grafana_dashboard_or_documented(gateway, repo):
    """The dashboard asks only for metrics that there are, and the docs name every one of them."""
    text = gateway.ask("GET", "/metrics")[2].decode()
    there = set(re.findall(r"^(ztmon_\w+)", text, re.MULTILINE))
    dashboard = json.loads((repo / "adapters/dashboard/grafana.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel.get("targets", ())
             for name in re.findall(r"ztmon_\w+", target["expr"])}
    assert asked
    assert asked <= there
    docs = (repo / "docs/metrics.md").read_text()
    assert [name for name in sorted(there) if f"`{name}`" not in docs and not name.endswith("_created")] == []


def test_openapi_names_every_route(gateway):
    """The document has every route with its parameters and bodies, and every reference in it leads somewhere."""
    from ztmon.gateway.routes import all_routes

    document = gateway.get("/openapi.json")[1]
    assert document["openapi"].startswith("3.1")
    for route in all_routes():
        if route.method != "*":
            assert route.method.lower() in document["paths"][route.path]
    for reference in set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))):
        assert reference in document["components"]["schemas"]


def test_ready_and_healthy(gateway):
    """Both say so while all is well, to anybody."""
    assert gateway.get("/healthz") == (200, {"status": "ok"})
    assert gateway.get("/readyz") == (200, {"status": "ready"})


def test_the_log_as_json(tmp_path):
    """With --log json each line of standard error is an object with time, level and message."""
    with Gateway("--log", "json", store=tmp_path / "ztmon.db") as gateway:
        gateway.do("POST", "/partners/acme/pin", {"level": "block", "reason": "for the log"})
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: any("read again" in line for line in gateway.errors))
    lines = [json.loads(line) for line in gateway.errors]
    assert {"warning", "info"} <= {line["level"] for line in lines}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)


def test_a_name_cannot_forge_a_line_of_the_log(tmp_path):
    """A partner whose name holds line ends and escapes is one line of the log."""
    with Gateway() as gateway:
        gateway.do("POST", "/partners/x%0A2026-01-01%20CRITICAL%20ztmon%1B%5B2J/pin", {"level": "block", "reason": "a\nb"})
        gateway.until(lambda: gateway.errors)
    assert len(gateway.errors) == 1
    assert "x\\n2026-01-01 CRITICAL ztmon\\x1b[2J was pinned to block (a\\nb)" in gateway.errors[0]


def test_figures_are_sent_to_a_collector(tmp_path):
    """With otlp set an OpenTelemetry collector gets the same figures, under its own names."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    got = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    env = {"ZTMON_GATEWAY_OTLP": f"http://127.0.0.1:{server.server_port}/v1/metrics", "ZTMON_GATEWAY_OTLP_SECONDS": "0.5"}
    with Gateway(env=env) as gateway:
        gateway.post([EVENT] * 3)
        gateway.until(lambda: len(got) > 2)
    server.shutdown()
    server.server_close()
    found = {}
    for body in got:
        request = ExportMetricsServiceRequest.FromString(body)
        for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
            points = metric.sum.data_points or metric.gauge.data_points
            found[metric.name] = points[0].as_double or points[0].as_int
    assert found["ztmon.events"] == 3
    assert found["ztmon.partners"] == 1


