"""The gateway as a process of its own, spoken to over HTTP."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time

import pytest

from ztmon.gateway.http import DRAINED
from ztmon.gateway.settings import GatewayConfig

from .gateways import EVENT, PATIENCE, Gateway, start

pytest.importorskip("uvicorn")

BODY_LIMIT = GatewayConfig().body_bytes


@pytest.fixture(scope="module")
def gateway():
    running = Gateway()
    yield running
    assert running.stop() == (0, "")


def test_one_event_an_array_and_lines(gateway):
    """An object, an array and lines of objects are answered with a decision for each event."""
    lines = "\n".join(json.dumps(EVENT | {"partnerId": "lines"}) for _ in range(3)).encode()
    for body, n in ((EVENT, 1), ([EVENT, EVENT], 2), (lines, 3), (lines + b"\r\n\r\n", 3), ([], 0)):
        status, answer = gateway.post(body)
        assert status == 200
        assert (answer["accepted"], answer["rejected"], answer["problems"]) == (n, 0, [])
        assert answer["decisions"] == [
            {"action": "monitor", "score": 0.0, "enforced": False, "retryAfter": 0.0, "reasons": []}
        ] * n
    assert gateway.get("/partners/lines")[1]["events"] == 6


def test_a_bad_event_is_told_and_the_good_ones_are_kept(gateway):
    """The answer says which event and which field; the others count."""
    mixed = EVENT | {"partnerId": "mixed"}
    status, answer = gateway.post([mixed, mixed | {"statusCode": 42}, 7, mixed])
    assert status == 200
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [decision is None for decision in answer["decisions"]] == [False, True, True, False]
    assert answer["problems"][0] == {
        "event": 1, "field": "statusCode", "detail": "is 42; allowed is a whole number from 100 to 599"
    }  # fmt: skip
    assert answer["problems"][1]["event"] == 2
    assert gateway.get("/partners/mixed")[1]["events"] == 2


def test_suspicious_calls_of_a_new_partner_raise_its_level(gateway):
    """Injection patterns act from the first event; list, page of the partner and decision agree."""
    attack = EVENT | {"partnerId": "mallory", "endpoint": "/api/x?q=1%27%20OR%201%3D1--", "clientIp": "203.0.113.9"}
    _, answer = gateway.post([attack | {"timestamp": time.time() * 1000 + i} for i in range(20)])
    last = answer["decisions"][-1]
    assert last["action"] in ("throttle", "quarantine", "block")
    assert last["enforced"] is False
    assert last["reasons"][0]["signal"] == "suspicious_patterns"
    listed = gateway.get("/partners")[1]["partners"]
    assert listed[0]["partner"] == "mallory"
    assert listed[0]["level"] == last["action"]
    assert "injection" in listed[0]["reason"]["detail"]
    profile = gateway.get("/partners/mallory?app=default")[1]
    assert profile["level"] == last["action"]
    assert "203.0.113.9" not in json.dumps([listed, profile, answer])


def test_partners_are_told_apart_by_app(gateway):
    """The same name in another app is another partner; names may hold any sign."""
    gateway.post([EVENT | {"appId": "shop", "partnerId": "ä/b c"}])
    assert gateway.get("/partners/%C3%A4%2Fb%20c?app=shop")[1]["app"] == "shop"
    status, problem = gateway.get("/partners/%C3%A4%2Fb%20c")
    assert (status, problem["title"]) == (404, "Not found")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is empty"),
        (b"hello", 400, "begins with neither"),
        (b"[{", 400, "the array is not JSON: it ends too early"),
        (b"[" * 100_000, 400, "the array is not JSON"),
        (b"\xff\xfe{}", 400, "begins with neither"),
        (b'{"partnerId": "\xff"}', 422, "event 0: is not JSON"),
        (b"{}", 422, "none of 1 events could be used; the first: event 0: appId is missing"),
        (json.dumps([EVENT | {"responseTime": -1}]).encode(), 422, "responseTime is -1; allowed is a number"),
    ],
)
def test_bodies_that_are_no_telemetry(gateway, body, status, said):
    """What cannot be used at all is answered by a problem that says why."""
    code, headers, answer = gateway.ask("POST", "/telemetry", body, {"content-type": "application/json"})
    problem = json.loads(answer)
    assert code == problem["status"] == status
    assert headers["content-type"] == "application/problem+json"
    assert said in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/partners/nobody", {}, 404),
        ("GET", "/partners/", {}, 404),
        ("GET", "/partners?limit=0", {}, 400),
        ("GET", "/partners?limit=many", {}, 400),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/telemetry", {}, 405),
        ("POST", "/partners", {}, 405),
        ("PATCH", "/partners/acme", {}, 405),
        ("POST", "/telemetry", {"content-type": "text/plain"}, 415),
        ("GET", "/partners", {"host": "evil.example"}, 421),
        ("GET", "/partners", {"host": "127.0.0.1.evil.example:9000"}, 421),
        ("POST", "/telemetry", {"content-type": "application/json", "origin": "https://evil.example"}, 403),
        ("POST", "/telemetry", {"content-type": "application/json", "origin": "null"}, 403),
    ],
)
def test_requests_that_are_refused(gateway, method, path, headers, status):
    """Unknown paths, other methods, other hosts and other sites get a problem with the fitting status."""
    code, answered, body = gateway.ask(method, path, b"" if method == "POST" else None, headers)
    assert code == status == json.loads(body)["status"]
    assert answered["content-type"] == "application/problem+json"
    assert status != 405 or answered["allow"]


def test_a_body_may_not_be_too_large(gateway):
    """More than the limit is refused, announced or not; just below it is taken in."""
    for body in (b" " * (BODY_LIMIT + 1), (b" " * 65536 for _ in range(BODY_LIMIT // 65536 + 1))):
        code, _, answer = gateway.ask("POST", "/telemetry", body)
        assert (code, json.loads(answer)["title"]) == (413, "Body too large")
    with contextlib.suppress(ConnectionError):  # it may hang up while we are still sending
        endless = (b" " * 65536 for _ in range(DRAINED * BODY_LIMIT // 65536 * 2))
        assert gateway.ask("POST", "/telemetry", endless)[0] == 413
    line = json.dumps(EVENT | {"partnerId": "large"}).encode() + b"\n"
    n = BODY_LIMIT // len(line)
    status, answer = gateway.post(line * n)
    assert (status, answer["accepted"]) == (200, n)
    assert gateway.get("/healthz") == (200, {"status": "ok"})


def test_a_sender_that_leaves_half_way_harms_nobody(gateway):
    """A connection that ends within a body is forgotten."""
    with socket.create_connection((gateway.host, gateway.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /telemetry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n[")
    assert gateway.get("/healthz") == (200, {"status": "ok"})


def test_stats_and_mode(gateway):
    """The counts name the mode and what is in the table."""
    gateway.post(EVENT)
    stats = gateway.get("/stats")[1]
    assert stats["shadow"] is True
    assert stats["demo"] is False
    assert stats["events"] >= 1
    assert stats["partners"] >= 1
    assert len(gateway.get("/partners?limit=1")[1]["partners"]) == 1


def test_the_page_needs_nothing_from_elsewhere(gateway):
    """The page and its files come with a strict policy, and neither names another place."""
    status, headers, page = gateway.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = page.decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {"/dashboard.js", "/dashboard.css", "/icon.svg"} <= set(named)
    for name in {name for name in named if name != "/partners"}:
        code, answered, content = gateway.ask("GET", name)
        assert code == 200
        assert answered["x-content-type-options"] == "nosniff"
        text += content.decode()
    assert set(re.findall(r"\w+://[^\"'\s>]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<style|\sstyle=|\son\w+=|innerHTML|eval\(", text)
    assert gateway.ask("HEAD", "/")[2] == b""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("0.0.0.0", "which others can reach, and there is no token: make one (ztmon token add"),
        ("::", "which others can reach, and there is no token: make one (ztmon token add"),
        ("192.0.2.1", "cannot be had: "),
        ("example.org", "allowed is an address of this machine, or localhost"),
        ("", "allowed is an address of this machine, or localhost"),
    ],
)
def test_another_host_is_refused(host, said):
    """Without tokens anything but a loopback address is refused with the reason, in one line and with exit code 2."""
    process = start("--host", host, "--port", "0", "--store", "-")
    out, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert complaints.count("\n") == 1
    assert said in complaints


def test_a_port_in_use_is_named(gateway):
    """Where the port is taken, one line says so; exit code 2."""
    process = start("--port", str(gateway.port), "--store", "-")
    said, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (2, "")
    assert complaints == (
        f"ztmon serve: port {gateway.port} on 127.0.0.1 is in use by another program; stop it or choose another port\n"
    )


def test_a_port_out_of_range_is_refused():
    """A port that does not exist is refused with what is allowed."""
    process = start("--port", "70000", "--store", "-")
    assert "port is 70000; allowed is" in process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_with_connections_open(number):
    """Ctrl-C and SIGTERM end it with exit code 0 and without a word, also with a connection open."""
    running = Gateway("--host", "localhost")
    connection = http.client.HTTPConnection(running.host, running.port, timeout=PATIENCE)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    assert running.stop(number) == (0, "")
    connection.close()


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_the_other_loopback_address():
    """::1 is a loopback address too."""
    running = Gateway("--host", "::1")
    assert "http://[::1]:" in running.said
    assert running.stop() == (0, "")


def test_the_demo_shows_life():
    """With --demo partners are past learning at once, calls come in, and one of them rises above monitor."""
    running = Gateway("--demo")
    found = running.get("/partners")[1]
    assert len(found["partners"]) >= 5
    assert not any(partner["learning"] for partner in found["partners"])
    stats = running.get("/stats")[1]
    assert stats["demo"] is True
    assert stats["shadow"] is True
    running.until(lambda: running.get("/stats")[1]["events"] > stats["events"])
    running.until(lambda: running.get("/partners")[1]["partners"][0]["level"] != "monitor")
    assert running.stop() == (0, "")
