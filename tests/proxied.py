"""What the tests of real proxies share: an application behind them, a gateway that hears their access log, the program
with the configuration that docs/proxies.md gives."""

import http.client
import json
import subprocess
import sys
from contextlib import contextmanager

from .gateways import Gateway
from .pages import blocks
from .servers import free_port, until

TRUSTED = {"ZTMON_GATEWAY_TRUSTED_PROXIES": '["127.0.0.1/32"]', "SHADOW_MODE": "false"}
KEYS = {"acme": "the key of acme", "globex": "the key of globex"}
LEVELS = [("monitor", 200), ("alert", 200), ("throttle", 429), ("quarantine", 401), ("block", 403)]

APPLICATION = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status = int(self.path.rpartition("status=")[2] or 200) if "status=" in self.path else 200
        body = b"hello from the application"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def application():
    process = subprocess.Popen([sys.executable, "-c", APPLICATION], stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def configuration(title, **ports):
    """The page's configuration of that title with these ports, of gateway, udp and application, in it; and the free port on
    which the program will listen."""
    (text,) = [block.text for block in blocks("docs/proxies.md") if block.title == title]
    port = free_port()
    for name, there in (("gateway", 9000), ("udp", 9001), ("application", 8000)):
        if name in ports:
            text = text.replace(f"127.0.0.1:{there}", f"127.0.0.1:{ports[name]}")
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"), port


@contextmanager
def serving(port, words, folder, **options):
    """A program until the end of the block, from when it answers on its port."""
    with open(folder / "said", "ab") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said, stdin=subprocess.DEVNULL, **options)
    try:
        until(lambda: process.poll() is not None or answers(port), f"{words[0]} that answers")
        assert process.poll() is None, "".join(path.read_text() for path in folder.iterdir() if path.is_file())
        yield
    finally:
        process.terminate()
        process.wait()


def answers(port):
    try:
        call(port)
    except OSError:
        return False
    return True


def call(port, partner=None, path="/api/orders/17?token=secret", method="GET", **headers):
    """(status, headers, body) through the proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if partner:
        headers["X-Api-Key"] = KEYS[partner]
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


@contextmanager
def gateway_by_udp(env=TRUSTED):
    udp = free_port()
    gateway = Gateway("--udp", str(udp), env=env)
    try:
        yield gateway, udp
    finally:
        gateway.stop()


def profile(gateway, partner):
    status, _, body = gateway.ask("GET", f"/partners/{partner}?app=shop")
    return json.loads(body) if status == 200 else None


def pin(gateway, partner, level):
    asked = json.dumps({"level": level, "reason": "a test", "ttl": 600}).encode()
    status, _, body = gateway.ask("POST", f"/partners/{partner}/pin?app=shop", asked)
    assert status == 200, body
