"""The reverse proxy before a real application: streams, headers, who leaves early, what fails, and what partners see."""

import http.client
import json
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from .gateways import Gateway, HttpServer, QuietHandler, start
from .servers import free_port, until

ENFORCED = {"SHADOW_MODE": "false", "ZTMON_GATEWAY_UPSTREAM_SECONDS": "1.5", "ZTMON_GATEWAY_TRUSTED_PROXIES": '["127.0.0.1/32"]'}


class Application(HttpServer):
    """Answers with what it was sent; paths say what else it does."""

    def __init__(self):
        self.seen = seen = []
        self.left = left = threading.Event()

        class Handler(QuietHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                seen.append((self.command, self.path, self.headers, body))
                if "silent" in self.path:
                    left.wait(20)
                    return
                status = int(self.path.rpartition("status=")[2]) if "status=" in self.path else 200
                said = b"" if status == 304 else json.dumps({"path": self.path, "body": len(body)}).encode()
                self.send_response(status)
                self.send_header("Content-Length", "999999" if "cut" in self.path else str(len(said)))
                self.send_header("Keep-Alive", "timeout=5")
                self.send_header("X-Only-Here", "1")
                self.send_header("Connection", "keep-alive, X-Only-Here")
                self.send_header("Set-Cookie", "a=1")
                self.send_header("Set-Cookie", "b=2")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said)
                if "cut" in self.path:
                    self.close_connection = True

            do_POST = do_HEAD = do_DELETE = do_OPTIONS = do_GET

        super().__init__(Handler)

    def __exit__(self, *error):
        self.left.set()
        super().__exit__(*error)


@contextmanager
def proxy(url, env=ENFORCED):
    """(gateway, port of the reverse proxy)."""
    gateway = Gateway("--upstream", url, "--upstream-port", "0", "--udp", "-", env=env)
    try:
        said = gateway.process.stdout.readline()
        yield gateway, int(re.search(r"port (\d+)", said)[1])
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def site():
    with Application() as application, proxy(application.url) as (gateway, port):
        yield application, gateway, port


def call(port, path="/api/orders/17", method="GET", body=None, partner="acme", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"X-Partner-ID": partner, **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def profile(gateway, partner):
    status, _, body = gateway.ask("GET", f"/partners/{partner}")
    return json.loads(body) if status == 200 else None


def stats(gateway):
    return json.loads(gateway.ask("GET", "/stats")[2])


def test_calls_pass_and_are_known(site):
    """Method, path, query and body reach the application as they were sent, its answer comes back, and the engine knows."""
    application, gateway, port = site
    status, headers, body = call(port, "/a%2Fb/../c?q=%20x&y", "POST", b"x" * 100_000, "one")
    assert (status, json.loads(body)) == (200, {"path": "/a%2Fb/../c?q=%20x&y", "body": 100_000})
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert call(port, method="HEAD", partner="one")[2] == b""
    assert call(port, "/x?status=304", partner="one")[0] == 304
    assert call(port, "/x?status=404", partner="one", method="DELETE")[0] == 404
    until(lambda: profile(gateway, "one")["events"] == 4)
    assert application.seen[-1][0] == "DELETE"


def test_headers_of_one_connection_stay_there(site):
    """Hop-by-hop headers, those that Connection names among them, pass neither way; who called and how is said."""
    application, _, port = site
    _, headers, _ = call(port, "/headers", **{"Connection": "close, X-Mine", "X-Mine": "1", "TE": "trailers", "X-Other": "2",
                                              "X-Forwarded-For": "192.0.2.1", "Proxy-Authorization": "secret"})
    sent = application.seen[-1][2]
    assert [sent[name] for name in ("X-Mine", "TE", "Proxy-Authorization")] == [None] * 3
    assert sent.get("Connection", "keep-alive") == "keep-alive"
    assert sent["X-Other"] == "2"
    assert sent["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert sent["X-Forwarded-Host"] == f"127.0.0.1:{port}"
    assert sent["X-Forwarded-Proto"] == "http"
    assert headers["X-Only-Here"] is None
    assert headers["Keep-Alive"] is None


def test_strangers_do_not_name_partners():
    """Without trusted proxies the headers that name a partner and an address are dropped, and a key becomes a pseudonym."""
    with Application() as application, proxy(application.url, {"SHADOW_MODE": "false"}) as (gateway, port):
        assert call(port, partner="globex", **{"X-Forwarded-For": "192.0.2.1", "X-Api-Key": "a secret"})[0] == 200
        sent = application.seen[-1][2]
        assert sent["X-Partner-ID"] is None
        assert sent["X-Forwarded-For"] == "127.0.0.1"
        assert sent["X-Api-Key"] == "a secret"
        (found,) = json.loads(gateway.ask("GET", "/partners")[2])["partners"]
        assert re.fullmatch(r"key-[0-9a-f]{16}", found["partner"])


@pytest.mark.parametrize(("level", "expected"), [("alert", 200), ("throttle", 429), ("quarantine", 401), ("block", 403)])
def test_every_level(site, level, expected):
    """A partner at a level is refused before the application sees it, with problem+json and what to do next."""
    application, gateway, port = site
    partner = f"at-{level}"
    assert call(port, partner=partner)[0] == 200
    body = json.dumps({"level": level, "reason": "a test", "ttl": 600}).encode()
    assert gateway.ask("POST", f"/partners/{partner}/pin", body)[0] == 200
    before = len(application.seen)
    found = [call(port, partner=partner) for _ in range(30)]
    refused = [(headers, body) for status, headers, body in found if status == expected]
    assert len(application.seen) - before == 30 - (len(refused) if expected != 200 else 0)
    if expected != 200:
        assert refused[0][0]["Content-Type"] == "application/problem+json"
        assert int(refused[0][0]["Retry-After"]) >= 1
        assert ("WWW-Authenticate" in refused[0][0]) == (expected == 401)
        assert not [name for name in refused[0][0] if name.lower().startswith("x-ztmon")]
        assert profile(gateway, partner)["events"] == 1 + 30 - len(refused)


def test_control_is_not_there(site):
    """Paths of the gateway's own are the application's here."""
    _, _, port = site
    assert json.loads(call(port, "/partners")[2])["path"] == "/partners"
    assert json.loads(call(port, "/stats")[2])["path"] == "/stats"


def test_upgrades_are_refused_clearly(site):
    """A WebSocket handshake is answered with 501 and what to do instead."""
    _, _, port = site
    status, _, body = call(port, "/ws", **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})  # fmt: skip
    assert status == 501
    assert b"WebSocket" in body


def test_an_offer_of_h2c_is_not_taken_up(site):
    """Java's HttpClient offers HTTP/2 with its first request, body and all: it is served as it is, by the reverse proxy and by
    the gateway."""
    application, gateway, port = site
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c",
             "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}
    assert json.loads(call(port, "/h2c", "POST", b"x" * 5000, **offer)[2])["body"] == 5000
    assert [name for name in application.seen[-1][2] if "pgrade" in name.lower() or "http2" in name.lower()] == []
    event = {"appId": "shop", "partnerId": "java", "timestamp": time.time() * 1000, "endpoint": "/", "method": "GET",
             "statusCode": 200, "responseTime": 1}  # fmt: skip
    status, _, _ = gateway.ask("POST", "/telemetry", json.dumps(event).encode(), {"Content-Type": "application/json", **offer})
    assert status == 200


def read_head(lines):
    """A request's line and headers, which say nothing that matters here."""
    while lines.readline() != b"\r\n":
        pass


def test_an_application_that_is_away_is_nobodys_fault():
    """502 where nothing listens; the partner is not even known for it. The log says so once, and when it is back."""
    number = free_port()
    with proxy(f"http://127.0.0.1:{number}") as (gateway, port):
        for _ in range(50):
            status, headers, _ = call(port)
            assert (status, headers["Content-Type"]) == (502, "application/problem+json")
        assert profile(gateway, "acme") is None
        assert stats(gateway)["upstream_failures"] == 50

        def answer():
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                read_head(lines)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        with socket.create_server(("127.0.0.1", number)) as server:
            thread = threading.Thread(target=answer)
            thread.start()
            assert call(port)[0] == 204
            thread.join()
    said = [line for line in gateway.errors if "the application at" in line]
    assert [re.search(r"(failed|answers again).*: \d+", line)[1] for line in said] == ["failed", "answers again"]
    assert said[1].rstrip().endswith("failed calls: 50")


def test_an_application_that_does_not_answer_is_given_up(site):
    """504 after the time that is allowed; nobody is blamed."""
    _, gateway, port = site
    assert call(port, "/silent", partner="patient")[0] == 504
    assert profile(gateway, "patient") is None


def test_an_answer_that_breaks_off_is_cut(site):
    """Where the application dies in the middle of its answer, the caller sees that it is not whole."""
    _, _, port = site
    with pytest.raises(http.client.IncompleteRead):
        call(port, "/cut", partner="unlucky")


def test_bodies_are_streamed_both_ways():
    """The application answers the first part of a body before the second is sent, and the caller has it by then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                read_head(lines)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while size := int(lines.readline(), 16):
                    part = lines.read(size)
                    lines.readline()
                    connection.sendall(b"%x\r\n%s\r\n" % (size + 4, b"got " + part))
                connection.sendall(b"0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        there = f"http://127.0.0.1:{server.getsockname()[1]}"
        with (proxy(there) as (_, port), socket.create_connection(("127.0.0.1", port), 20) as caller,
              caller.makefile("rb") as answer):
            caller.sendall(b"POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in (b"one", b"two"):
                caller.sendall(b"%x\r\n%s\r\n" % (len(part), part))
                while b"got " + part not in (line := answer.readline()):
                    assert line
            caller.sendall(b"0\r\n\r\n")
            while (line := answer.readline()) != b"0\r\n":
                assert line
        thread.join()


def test_a_caller_who_leaves_is_noticed():
    """When the caller leaves, the application's connection is closed, and the call is known with status 499."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached, closed = threading.Event(), threading.Event()

        def serve():
            connection, _ = server.accept()
            with connection:
                while connection.recv(65536):
                    reached.set()
                closed.set()

        thread = threading.Thread(target=serve)
        thread.start()
        with proxy(f"http://127.0.0.1:{server.getsockname()[1]}",
                   {**ENFORCED, "ZTMON_GATEWAY_UPSTREAM_SECONDS": "60"}) as (gateway, port):
            with socket.create_connection(("127.0.0.1", port), 20) as caller:
                caller.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nX-Partner-ID: hasty\r\n\r\n")
                until(reached.is_set)
                assert stats(gateway)["upstream_open"] == 1
            until(closed.is_set)
            until(lambda: profile(gateway, "hasty") and profile(gateway, "hasty")["events"] == 1)
            until(lambda: stats(gateway)["upstream_open"] == 0)
        thread.join()


@pytest.mark.memory
def test_a_large_body_does_not_fill_memory(site):
    """A hundred megabytes pass through a process that does not grow by as much."""
    _, gateway, port = site

    def resident():
        with open(f"/proc/{gateway.process.pid}/status") as status:
            return int(next(line for line in status if line.startswith("VmHWM")).split()[1])

    before = resident()
    body = bytes(100_000_000)
    assert json.loads(call(port, "/large", "POST", body)[2])["body"] == len(body)
    assert resident() - before < 40_000


def test_backend_api_url_sets_it_up():
    """BACKEND_API_URL is the environment's name for --upstream; a URL that is none is refused with one line."""
    with Application() as application:
        gateway = Gateway("--upstream-port", "0", "--udp", "-", env={"BACKEND_API_URL": application.url})
        try:
            assert application.url in gateway.process.stdout.readline()
        finally:
            gateway.stop()
    refused = start("--port", "0", "--upstream", "nonsense")
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "gateway.upstream is 'nonsense'" in said


def test_sighup_changes_how_long_it_waits(tmp_path):
    """A shorter time for the application to answer is taken from the file by a running gateway."""
    file = tmp_path / "ztmon.toml"
    file.write_text("[gateway]\nupstream_seconds = 600\n")
    with Application() as application:
        gateway = Gateway("--config", str(file), "--upstream", application.url, "--upstream-port", "0", "--udp", "-")
        with gateway:
            port = int(re.search(r"port (\d+)", gateway.process.stdout.readline())[1])
            file.write_text("[gateway]\nupstream_seconds = 0.5\n")
            gateway.process.send_signal(signal.SIGHUP)
            gateway.until(lambda: any("gateway.upstream_seconds" in line for line in gateway.errors))
            status, _, body = call(port, "/silent")
            assert status == 504
            assert "within 0.5 s" in json.loads(body)["detail"]
