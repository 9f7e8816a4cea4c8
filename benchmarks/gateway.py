"""HTTP: the gateway beside the same server that reads the body and does nothing, and other servers beside it.

    python benchmarks/gateway.py OUT.json          measure everything
    python benchmarks/gateway.py serve APP SERVER  one server on a free port, which it prints; what is measured

A client of raw sockets sends ready-made requests over a few connections and reads answers; contenders take turns in rounds.
What is counted is processor time of the server's process: the machine has other work, and "on a core" means a second of that.
"""

import asyncio
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 9
SECONDS = 1.0
CONNECTIONS = 8
BATCH = 1000
TICK = os.sysconf("SC_CLK_TCK")

EVENT = {"appId": "shop", "partnerId": "acme", "timestamp": 0, "endpoint": "/api/orders/42", "method": "GET", "statusCode": 200,
         "responseTime": 45.2}  # fmt: skip


# -- servers -------------------------------------------------------------------------------------


def make_nothing():
    """Reads the body and does nothing; answers as the gateway does, from constants."""
    from ztmon.gateway.http import SAFE
    from ztmon.gateway.telemetry import ONE_CALM

    start = {"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", str(len(ONE_CALM)).encode()), *SAFE]}
    end = {"type": "http.response.body", "body": ONE_CALM}

    async def nothing(scope, receive, send):
        while (await receive()).get("more_body", False):
            continue
        await send(start)
        await send(end)

    return nothing


def application(name):
    if name == "nothing":
        return make_nothing()
    from ztmon import Config, Gateway
    from ztmon.gateway.telemetry import make_entry
    return make_entry(Gateway(Config(capacity=8192)))


def serve(name, server):
    """In a process of its own, until it is killed."""
    sys.path.insert(0, str(Path(__file__).parent))
    if server == "granian":
        from granian import Granian
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        print(port, flush=True)
        os.environ["ZTMON_BENCH_APP"] = name
        Granian("gateway:granian_app", address="127.0.0.1", port=port, interface="asginl", workers=1, log_enabled=False,
                websockets=False, factory=True, loop="uvloop").serve()
        return
    import uvloop

    from ztmon import GatewayConfig
    from ztmon.serve import listen, make_server
    settings = GatewayConfig(port=0)
    listening = listen(settings)
    print(listening.getsockname()[1], flush=True)
    app = make_server(application(name), settings)
    if server == "plain":
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
        app.config.http_protocol_class = HttpToolsProtocol
    elif server == "h11":
        from uvicorn.protocols.http.h11_impl import H11Protocol
        app.config.http_protocol_class = H11Protocol
    loop = asyncio.new_event_loop if server == "asyncio" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(app.serve(sockets=[listening]))


def granian_app():
    """What granian imports."""
    return application(os.environ["ZTMON_BENCH_APP"])


class Contender:
    """A server process and what it is sent."""

    def __init__(self, app, server="uvicorn"):
        self.process = subprocess.Popen([sys.executable, __file__, "serve", app, server], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.1)
        self.pids = [self.process.pid]

    def cpu(self):
        """Seconds of processor time so far, of the process and its children."""
        pids = [self.process.pid]
        for pid in pids:
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += [int(child) for child in found]
        return sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) for pid in pids) / TICK

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


# -- client --------------------------------------------------------------------------------------


def request(body, path="/telemetry"):
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def bodies():
    """A single event, and a thousand of a hundred partners as clients send them."""
    now = int(time.time() * 1000)
    many = [EVENT | {"partnerId": f"partner-{i % 100}", "timestamp": now + i, "endpoint": f"/api/orders/{i}",
                     "requestSize": 100 + i, "responseSize": 512 + i, "clientIp": f"192.0.2.{i % 100}"} for i in range(BATCH)]
    return {"single": json.dumps(EVENT | {"timestamp": now}).encode(), "batch": json.dumps(many).encode()}


def turn(contender, message, seconds):
    """Send for so long; (answers, seconds of the server's processor time)."""
    poll = select.epoll()
    waiting = {}
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", contender.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(message)
        waiting[connection.fileno()] = [connection, -1]
        poll.register(connection.fileno(), select.EPOLLIN)
    before, answers, end = contender.cpu(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in poll.poll(1.0):
            place = waiting[fd]
            got = place[0].recv(1 << 20)
            if not got:
                raise ConnectionError("the server hung up")
            if place[1] < 0:
                head = got.find(b"\r\n\r\n")
                if not got.startswith(b"HTTP/1.1 2"):
                    raise ValueError(got[:500])
                at = got.lower().find(b"content-length: ")
                place[1] = int(got[at + 16: got.find(b"\r", at)]) + head + 4
            place[1] -= len(got)
            if place[1] == 0:
                answers += 1
                place[1] = -1
                place[0].sendall(message)
    used = contender.cpu() - before
    for connection, _ in waiting.values():
        connection.close()
    poll.close()
    return answers, used


def measure(contenders, message, rounds=ROUNDS):
    """Answers a second of processor time by contender, the median over rounds in which all take turns; and of each round."""
    found = {name: [] for name in contenders}
    for name, contender in contenders.items():
        turn(contender, message, 0.5)
    for _ in range(rounds):
        for name, contender in contenders.items():
            answers, used = turn(contender, message, SECONDS)
            found[name].append(answers / used)
    return {name: statistics.median(rates) for name, rates in found.items()}, found


def main(out):
    body = bodies()
    contenders = {"nothing": Contender("nothing"), "gateway": Contender("gateway")}
    result = {"rounds": ROUNDS, "seconds": SECONDS, "batch": BATCH, "batch_bytes": len(body["batch"]),
              "date": time.strftime("%Y-%m-%d"),
              "load": os.getloadavg()[0]}
    for kind, message in (("single", request(body["single"])), ("single_202", request(body["single"], "/telemetry?wait=0")),
                          ("batch", request(body["batch"]))):
        median, rates = measure(contenders, message)
        ratios = [g / n for g, n in zip(rates["gateway"], rates["nothing"], strict=True)]
        result[kind] = median | {"ratio": statistics.median(ratios)}
        print(kind, result[kind], flush=True)
    for contender in contenders.values():
        contender.stop()
    servers = {}
    for server in ("uvicorn", "plain", "asyncio", "h11", "granian"):
        try:
            if server == "granian":
                __import__("granian")
        except ImportError:
            continue
        for app in ("nothing", "gateway"):
            servers[f"{server} {app}"] = Contender(app, server)
    result["servers"], _ = measure(servers, request(body["single"]), 5)
    result["servers_batch"], _ = measure(servers, request(body["batch"]), 3)
    print(result["servers"], result["servers_batch"])
    for contender in servers.values():
        contender.stop()
    Path(out).parent.mkdir(exist_ok=True)
    Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3])
    else:
        main(sys.argv[1])
