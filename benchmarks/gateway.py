"""HTTP: the gateway beside the same server that reads the body and does nothing, and other servers beside it.

    python benchmarks/gateway.py OUT.json          measure everything
    python benchmarks/gateway.py serve APP SERVER  one server on a free port, which it prints; what is measured

A client of raw sockets sends ready-made requests over a few connections and reads answers; contenders take turns in rounds.
What is counted is processor time of the server's process: the machine has other work, and "on a core" means a second of that.
"""

import asyncio
import atexit
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
TURNS = 10
SECONDS = 0.1
CONNECTIONS = 64
BATCH = 1000
TICK = os.sysconf("SC_CLK_TCK")

EVENT = {"appId": "shop", "partnerId": "acme", "timestamp": 0, "endpoint": "/api/orders/42", "method": "GET", "statusCode": 200,
         "responseTime": 45.2}  # fmt: skip


# -- servers -------------------------------------------------------------------------------------


def make_nothing():
    """Reads the body and does nothing; answers as the gateway does, from constants."""
    from ztmon.gateway.http import Answer
    from ztmon.gateway.telemetry import ONE_CALM

    start = {"type": "http.response.start", "status": 200, "headers": Answer(200, "application/json", ONE_CALM).all_headers()}
    end = {"type": "http.response.body", "body": ONE_CALM}

    async def nothing(scope, receive, send):
        while (await receive()).get("more_body", False):
            continue
        await send(start)
        await send(end)

    return nothing


def make_nothing_short():
    """The same where our protocol asks before it makes a task of a request."""
    from ztmon.gateway.http import Answer, as_sent
    from ztmon.gateway.telemetry import ONE_CALM

    answer = as_sent(Answer(200, "application/json", ONE_CALM))
    return lambda client, url, headers, body: answer


def application(name):
    """(ASGI application, what our protocol asks before it)"""
    if name == "nothing":
        return make_nothing(), None
    if name == "nothing short":
        return make_nothing(), make_nothing_short()
    from ztmon import Config, Gateway
    from ztmon.gateway.telemetry import ShortWay
    gateway = Gateway(Config(capacity=8192))
    return gateway, ShortWay(gateway)


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
    from ztmon.serve import listen, make_server, settle
    settings = GatewayConfig(port=0, head_seconds=3600)
    listening = listen(settings)
    print(listening.getsockname()[1], flush=True)
    asgi, short = application(name)
    app = make_server(asgi, settings, short)
    if server == "plain":
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
        app.config.http_protocol_class = HttpToolsProtocol
    elif server == "h11":
        from uvicorn.protocols.http.h11_impl import H11Protocol
        app.config.http_protocol_class = H11Protocol
    settle()
    loop = asyncio.new_event_loop if server == "asyncio" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(app.serve(sockets=[listening]))


def granian_app():
    """What granian imports."""
    return application(os.environ["ZTMON_BENCH_APP"])[0]


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
        atexit.register(self.stop)

    def cpu(self):
        """Seconds on a processor so far, of the process, its children and all their threads."""
        pids = [self.process.pid]
        for pid in pids:
            pids += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def stop(self):
        if self.process.poll() is not None:
            return
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


class Client:
    """A few connections to a contender, each with one request under way."""

    def __init__(self, contender, message):
        self.contender, self.message = contender, message
        self.poll = select.epoll()
        self.waiting = {}
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", contender.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.waiting[connection.fileno()] = [connection, -1]
            self.poll.register(connection.fileno(), select.EPOLLIN)

    def turn(self, seconds):
        """Send for so long; (answers, seconds of the server's processor time)."""
        before, answers, under_way, end = self.contender.cpu(), 0, len(self.waiting), time.monotonic() + seconds
        for connection, _ in self.waiting.values():
            connection.sendall(self.message)
        while under_way:
            for fd, _ in self.poll.poll(1.0):
                place = self.waiting[fd]
                if not self._got(place):
                    continue
                answers += 1
                if time.monotonic() < end:
                    place[0].sendall(self.message)
                else:
                    under_way -= 1
        return answers, self.contender.cpu() - before

    def _got(self, place):
        """Whether that was the end of an answer."""
        got = place[0].recv(1 << 20)
        if not got:
            raise ConnectionError("the server hung up")
        if place[1] < 0:
            if not got.startswith(b"HTTP/1.1 2"):
                raise ValueError(got[:500])
            at = got.lower().find(b"content-length: ")
            place[1] = int(got[at + 16: got.find(b"\r", at)]) + got.find(b"\r\n\r\n") + 4
        place[1] -= len(got)
        if place[1]:
            return False
        place[1] = -1
        return True

    def close(self):
        for connection, _ in self.waiting.values():
            connection.close()
        self.poll.close()


def measure(contenders, message, rounds=ROUNDS):
    """Answers a second of processor time by contender, of each round. In a round all take many short turns, so that what
    else the machine does falls on all alike."""
    clients = {name: Client(contender, message) for name, contender in contenders.items()}
    found = {name: [] for name in contenders}
    for client in clients.values():
        client.turn(0.5)
    for _ in range(rounds):
        sums = {name: [0, 0.0] for name in contenders}
        for _ in range(TURNS):
            for name, client in clients.items():
                answers, used = client.turn(SECONDS)
                sums[name][0] += answers
                sums[name][1] += used
        for name, (answers, used) in sums.items():
            found[name].append(answers / used)
    for client in clients.values():
        client.close()
    return found


def medians(found):
    return {name: statistics.median(rates) for name, rates in found.items()}


def main(out):
    body = bodies()
    contenders = {name: Contender(name) for name in ("nothing", "nothing short", "gateway")}
    result = {"rounds": ROUNDS, "turns": TURNS, "seconds": SECONDS, "batch_events": BATCH, "batch_bytes": len(body["batch"]),
              "date": time.strftime("%Y-%m-%d"),
              "load": os.getloadavg()[0]}
    for kind, message in (("single", request(body["single"])), ("single_202", request(body["single"], "/telemetry?wait=0")),
                          ("batch", request(body["batch"]))):
        rates = measure(contenders, message)
        ratios = [g / n for g, n in zip(rates["gateway"], rates["nothing"], strict=True)]
        short = [g / n for g, n in zip(rates["gateway"], rates["nothing short"], strict=True)]
        result[kind] = medians(rates) | {"ratio": statistics.median(ratios), "ratio_short": statistics.median(short)}
        print(kind, result[kind], flush=True)
    for contender in contenders.values():
        contender.stop()
    write(out, result)
    servers = {}
    for server in ("uvicorn", "plain", "asyncio", "h11", "granian"):
        try:
            if server == "granian":
                __import__("granian")
        except ImportError:
            continue
        for app in ("nothing", "gateway"):
            servers[f"{server} {app}"] = Contender(app, server)
    result["servers"] = medians(measure(servers, request(body["single"]), 5))
    result["servers_batch"] = medians(measure(servers, request(body["batch"]), 3))
    print(result["servers"], result["servers_batch"])
    for contender in servers.values():
        contender.stop()
    write(out, result)


def write(out, result):
    """What there is so far."""
    Path(out).parent.mkdir(exist_ok=True)
    Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3])
    else:
        main(sys.argv[1])
