"""The telemetry client against a real gateway: by UDP and HTTP, with what fails in between."""

import json
import subprocess
import sys
import textwrap
import threading

import pytest

import ztmon
from ztmon.adapters.udp import UdpListener
from ztmon.client import ClientError, TelemetryClient, transport

from .gateways import HttpServer, QuietHandler
from .servers import until

KEY = "7:" + "ab" * 32


@pytest.fixture
def monitor():
    with ztmon.Monitor() as made:
        yield made


@pytest.fixture
def listener(monitor):
    with UdpListener(monitor, port=0) as made:
        yield made


def url(listener):
    return f"udp://127.0.0.1:{listener.address[1]}"


class Answers(HttpServer):
    """A server that answers with the given statuses in turn, then as a gateway does."""

    def __init__(self, *statuses, retry_after=None):
        answers = list(statuses)
        self.bodies = bodies = []

        class Handler(QuietHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bodies.append((dict(self.headers), body))
                status = answers.pop(0) if answers else 202
                said = json.dumps({"accepted": len(body), "rejected": 0, "problems": []}).encode() if status < 300 else b"no"
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                if retry_after is not None and status >= 300:
                    self.send_header("Retry-After", retry_after)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        super().__init__(Handler)


def test_every_thread_may_record(monitor, listener):
    """What many threads record arrives, each call once."""
    with TelemetryClient(url(listener), "shop") as client:
        threads = [threading.Thread(target=lambda name=f"p{i}": [client.record(name, f"/api/orders/{n}") for n in range(500)])
                   for i in range(4)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert client.stats() == {"sent": 2000, "dropped": 0, "waiting": 0, "retries": 0, "failures": 0}
    until(lambda: listener.stats()["events"] == 2000)
    assert [monitor.profile(f"p{i}", "shop").events for i in range(4)] == [500] * 4


def test_signed_datagrams_are_taken(monitor):
    """With a key the client signs, and a listener that has the key takes nothing else."""
    with UdpListener(monitor, port=0, keys={7: bytes.fromhex("ab" * 32)}) as listener:
        there = url(listener)
        with TelemetryClient(there, key=KEY) as signed, TelemetryClient(there) as unsigned:
            signed.record("acme", "/api/users")
            assert signed.flush()
            until(lambda: listener.stats()["taken"] == 1)
            unsigned.record("acme", "/api/users")
            assert unsigned.flush()
            until(lambda: listener.stats()["refused_unsigned"] == 1)


@pytest.mark.parametrize("segments", [True, False])
def test_datagrams_of_a_network_are_sent_many_at_a_time(monitor, listener, monkeypatch, segments):
    """As they are where the system cannot do that; signed or not, each event arrives once."""
    monkeypatch.setattr(transport, "LOCAL", transport.DATAGRAM)
    if not segments:
        monkeypatch.setattr(transport, "UDP_SEGMENT", 9999)
    with UdpListener(monitor, port=0, keys={7: bytes.fromhex("ab" * 32)}) as signed:
        for there, key in ((listener, None), (signed, KEY)):
            with TelemetryClient(url(there), "shop", key=key) as client:
                for i in range(3000):
                    client.record(f"many-{i % 100}", f"/api/orders/{i}", status=200, latency_ms=1.0, source=f"192.0.2.{i % 250}")
            until(lambda there=there: there.stats()["events"] >= 3000)
            assert there.stats()["events"] == there.stats()["observed"] == client.stats()["sent"] == 3000
            assert there.stats()["refused"] == 0
            assert there.stats()["datagrams"] > 100
    assert {monitor.profile(f"many-{i}", "shop").events for i in range(100)} == {60}


def test_the_buffer_is_bounded():
    """What finds no room is dropped and counted; the caller is neither stopped nor told."""
    with Answers() as server:
        client = TelemetryClient(server.url, buffer=10, flush_seconds=60)
        for _ in range(25):
            client.record("acme", "/")
        assert client.stats()["waiting"] == 10
        assert client.dropped == 15
        client.close()
        assert client.sent == 10


def test_nothing_raises_into_the_caller(listener):
    """Calls with values that cannot be sent are counted; the others go, also where nobody listens and after close()."""
    with TelemetryClient(url(listener)) as client:
        client.record("acme", "/")
        client.record(None, object(), status="x", timestamp="yesterday")
        client.record("acme", "/", status=9999)
        client.record("acme", "/", latency_ms=float("nan"))
        assert client.flush()
        assert (client.sent, client.dropped) == (1, 3)
    client.record("acme", "/")
    assert client.dropped == 4
    with TelemetryClient("udp://127.0.0.1:9", flush_seconds=0.01) as nobody:
        for _ in range(3):
            nobody.record("acme", "/")
            assert nobody.flush()
        assert nobody.sent + nobody.dropped == 3
        assert nobody.stats()["failures"] > 0


def test_requests_that_fail_for_a_while_are_sent_again():
    """503, 429 and a connection that breaks are tried again with the same events, up to three times."""
    with Answers(503, 0, 429) as server, TelemetryClient(server.url, "shop", token="zt_x", flush_seconds=0.01) as client:
        client.record("acme", "/api/users/1", "POST", 201, 4.5, 10, 20, "192.0.2.1", 1_767_225_600.0, 2)
        assert client.flush(30)
        assert client.stats() == {"sent": 1, "dropped": 0, "waiting": 0, "retries": 3, "failures": 0}
    assert len(server.bodies) == 4
    headers, body = server.bodies[-1]
    assert headers["Authorization"] == "Bearer zt_x"
    assert body == [{"appId": "shop", "partnerId": "acme", "timestamp": 1_767_225_600_000.0, "endpoint": "/api/users/1",
                     "method": "POST", "statusCode": 201, "responseTime": 4.5, "requestSize": 10, "responseSize": 20,
                     "clientIp": "192.0.2.1", "userAgent": None, "count": 2}]  # fmt: skip


def test_what_stays_refused_is_given_up():
    """After the attempts that are allowed the events are dropped and counted; without auto_retry after the first."""
    with Answers(500, 500, 500, 500) as server, TelemetryClient(server.url, retry_attempts=1, flush_seconds=0.01) as client:
        client.record("acme", "/")
        assert client.flush(30)
        assert client.stats() == {"sent": 0, "dropped": 1, "waiting": 0, "retries": 1, "failures": 1}
        with TelemetryClient(server.url, auto_retry=False, flush_seconds=0.01) as once:
            once.record("acme", "/")
            assert once.flush(30)
            assert once.stats()["retries"] == 0
            assert once.dropped == 1


def test_what_will_never_be_taken_is_not_sent_again():
    """401 is no reason to try again."""
    with Answers(401) as server, TelemetryClient(server.url, flush_seconds=0.01) as client:
        client.record("acme", "/")
        assert client.flush(30)
        assert client.stats() == {"sent": 0, "dropped": 1, "waiting": 0, "retries": 0, "failures": 1}


def test_closing_does_not_wait_for_a_gateway_that_is_away():
    """close() gives up after the time it is given, however long the pauses between attempts are."""
    with Answers(*[503] * 50, retry_after="10") as server:
        client = TelemetryClient(server.url, retry_attempts=50, flush_seconds=0.01)
        client.record("acme", "/")
        until(lambda: client.stats()["retries"] == 1)
        assert not client.close(0.05)
        assert (client.sent, client.dropped) == (0, 1)


def test_what_waits_is_sent_at_exit(monitor, listener):
    """A program that ends without a word has sent everything."""
    code = f"""
        from ztmon.client import TelemetryClient
        client = TelemetryClient({url(listener)!r}, "shop", flush_seconds=60)
        for i in range(100):
            client.record("acme", "/api/users")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
    until(lambda: listener.stats()["events"] == 100)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_sends_its_own_and_only_that(monitor, listener):
    """After fork() parent and child both send, what waited before it is sent once, and signatures stay unique."""
    code = f"""
        import os
        from ztmon.client import TelemetryClient
        client = TelemetryClient({url(listener)!r}, "shop", flush_seconds=60)
        client.record("before", "/")
        pid = os.fork()
        for i in range(10):
            client.record("parent" if pid else "child", "/")
        assert client.flush()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], check=True, timeout=60)
    until(lambda: listener.stats()["events"] == 21)
    assert [monitor.profile(name, "shop").events for name in ("before", "parent", "child")] == [1, 10, 10]


@pytest.mark.parametrize("wrong", ["ftp://x", "nonsense", "udp://", "http://[::1", "udp://no.such.host.invalid:1"])
def test_urls_that_cannot_be_used_are_refused(wrong):
    """A URL that leads nowhere is an error when the client is made, and says so."""
    with pytest.raises(ClientError):
        TelemetryClient(wrong)


def test_keys_that_cannot_be_used_are_refused():
    """So is a key; it is not shown."""
    with pytest.raises(ClientError, match="hidden"):
        TelemetryClient(key="1:abc")
