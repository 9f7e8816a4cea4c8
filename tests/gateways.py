"""A gateway as a process of its own, started as its users start it, and spoken to over HTTP."""

import contextlib
import http.client
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time

PATIENCE = 60
EVENT = {"appId": "default", "partnerId": "acme", "timestamp": 1_767_225_600_000, "endpoint": "/api/orders",
         "method": "GET", "statusCode": 200, "responseTime": 12.5}  # fmt: skip
PROGRAM = "from ztmon.cli import main; main()"


def now_ms():
    return time.time() * 1000


def attack(name, n=30):
    """Events of injection, which act from the first one."""
    return [EVENT | {"partnerId": name, "endpoint": f"/api/x?q={i}' OR 1=1--", "timestamp": now_ms() + i} for i in range(n)]


def start(*words, env=None):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, "serve", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env={**os.environ, **(env or {})})


def ztmon(*words):
    """Run another command; what it prints. Fails where it fails."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


class Gateway:
    """A running gateway on a free port. token: sent with each request; context: for TLS."""

    def __init__(self, *words, store="-", token=None, context=None, env=None):
        self.token, self.context = token, context
        self.process = start("--port", "0", "--store", str(store), *words, env=env)
        self.said = self.process.stdout.readline()
        self.errors = []
        self._reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self._reader.start()
        found = re.search(r"https?://(\[[0-9a-f:]+\]|[\d.]+):(\d+)", self.said)
        if found is None:
            self.process.kill()
            self._reader.join(PATIENCE)
            raise AssertionError(self.said + "".join(self.errors))
        self.host, self.port = found[1].strip("[]"), int(found[2])
        if self.host == "0.0.0.0":
            self.host = "127.0.0.1"
        if context is None or context.verify_mode == ssl.CERT_NONE or token is not False:
            self.until(lambda: self.ask("GET", "/healthz")[0] == 200)

    def connect(self):
        if self.context is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=PATIENCE, context=self.context)
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def until(self, true):
        """Ask again and again; fails where the answer stays no."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if true():
                    return
            except ConnectionError:
                pass
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended by itself with {self.process.wait(0.05)}")
        raise AssertionError("it did not come true")

    def ask(self, method, path, body=None, headers=None, token=None):
        """(status, headers, body)"""
        connection = self.connect()
        token = token or self.token
        headers = dict(headers or {})
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path, token=None):
        status, _, body = self.ask("GET", path, token=token)
        return status, json.loads(body)

    def post(self, body, kind="application/json", path="/telemetry", token=None, **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        status, _, answer = self.ask("POST", path, body, {"content-type": kind, **headers}, token=token)
        return status, json.loads(answer)

    def do(self, method, path, what=None, token=None):
        """A route of control."""
        body = None if what is None else json.dumps(what).encode()
        status, _, answer = self.ask(method, path, body, {"content-type": "application/json"} if body else {}, token=token)
        return status, json.loads(answer)

    def stop(self, number=signal.SIGTERM):
        """(exit code, what it said on standard error)"""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return code, "".join(self.errors)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.stop(signal.SIGTERM if failure[0] is None else signal.SIGKILL)


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """Of HttpServer: keeps connections open and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class HttpServer(http.server.ThreadingHTTPServer):
    """A real HTTP server at url, on a free loopback port, for a with block."""

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()
