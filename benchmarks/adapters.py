"""Adapters: what they add to a request, beside a bare wrapper, and beside slowapi, Flask-Limiter, the Prometheus instrumentator
and OpenTelemetry.

    python benchmarks/adapters.py OUT.json      measure everything
    python benchmarks/adapters.py small         its first part alone, in this process
    python benchmarks/adapters.py serve NAME    FastAPI under uvicorn, guarded by NAME, on a free port, which it prints

In process: an application is called as a server calls it, with a scope made anew for each request; contenders take turns, and
what none of them adds is taken off within the same turn. Under uvicorn: wrk, each contender next to the application alone;
requests a second by the clock, and by the server's processor time, for the machine has other work.
"""

import asyncio
import atexit
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import gateway

PROCESSES, ROUNDS = 7, 31
CALLS = 2000
SERVED_ROUNDS = 25
SECONDS = 1
CONNECTIONS = 16
PATHS = [f"/orders/{i * 977 % 1_000_000}" for i in range(CALLS)]
HEADERS = [("host", "127.0.0.1:8000"), ("user-agent", "bench"), ("accept", "*/*"), ("accept-encoding", "gzip"),
           ("connection", "keep-alive"), ("cookie", "a=b")]
HTTP = [(name.encode(), value.encode()) for name, value in HEADERS]


def calm():
    """A monitor whose partners are grown and call as they are used to."""
    from ztmon import Config, Monitor
    return Monitor(Config(capacity=8192, shadow=False, learning_hours=0.0))


# -- applications --------------------------------------------------------------------------------


START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


class Route:
    """What Starlette leaves in the scope."""

    path = "/orders/{order}"


async def plain_asgi(scope, receive, send):
    scope["route"] = Route
    await send(START)
    await send(BODY)


def plain_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


class BareAsgi:
    """A wrapper of receive and send that does nothing, as anybody would write it."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def receiving():
            return await receive()

        async def sending(message):
            await send(message)

        await self.app(scope, receiving, sending)


class LeanAsgi:
    """The same with the least that a monitor can do: a clock, a status, a size, a mean a partner."""

    def __init__(self, app):
        self.app, self.known = app, {}

    async def __call__(self, scope, receive, send):
        began = time.perf_counter()
        status = size = 0

        async def receiving():
            return await receive()

        async def sending(message):
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                size += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receiving, sending)
        key = dict(scope["headers"]).get(b"x-api-key")
        known = self.known.setdefault(key, [0, 0.0, 0.0])
        known[0] += status >= 400
        known[1] += 0.01 * ((time.perf_counter() - began) - known[1])
        known[2] += 0.01 * (size - known[2])


class BareWsgi:
    """A wrapper of start_response and the body that does nothing."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        def starting(status, headers, exc_info=None):
            return start_response(status, headers, exc_info)

        return Body(self.app(environ, starting))


class Body:
    def __init__(self, parts):
        self.parts, self.step = parts, iter(parts)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.step)

    def close(self):
        if hasattr(self.parts, "close"):
            self.parts.close()


def make_fastapi(name):
    """A FastAPI service with one of the contenders before it."""
    from fastapi import FastAPI, Request
    app = FastAPI()

    @app.get("/orders/{order}")
    async def order(order: str, request: Request):
        return {"order": order}

    if name == "ztmon":
        from ztmon.adapters.fastapi import ZtmonMiddleware
        app.add_middleware(ZtmonMiddleware, monitor=calm())
    elif name == "bare":
        app.add_middleware(BareAsgi)
    elif name == "slowapi":
        from slowapi import Limiter
        from slowapi.middleware import SlowAPIASGIMiddleware
        from slowapi.util import get_remote_address
        app.state.limiter = Limiter(key_func=get_remote_address, default_limits=["1000000000/minute"])
        app.add_middleware(SlowAPIASGIMiddleware)
    elif name == "prometheus-fastapi-instrumentator":
        from prometheus_fastapi_instrumentator import Instrumentator
        Instrumentator().instrument(app)
    elif name == "OpenTelemetry":
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        FastAPIInstrumentor.instrument_app(app, tracer_provider=traced())
    return app


def make_flask(name):
    """The same in Flask."""
    from flask import Flask
    app = Flask("bench")
    app.add_url_rule("/orders/<order>", view_func=lambda order: "ok", endpoint="order")
    if name == "ztmon":
        from ztmon.adapters.flask import Ztmon
        Ztmon(app, calm())
    elif name == "bare":
        app.wsgi_app = BareWsgi(app.wsgi_app)
    elif name == "Flask-Limiter":
        from flask_limiter import Limiter
        from flask_limiter.util import get_remote_address
        Limiter(get_remote_address, app=app, default_limits=["1000000000/minute"], storage_uri="memory://")
    elif name == "OpenTelemetry":
        from opentelemetry.instrumentation.flask import FlaskInstrumentor
        FlaskInstrumentor().instrument_app(app, tracer_provider=traced())
    return app


def traced():
    """Spans are made and dropped: what an exporter costs is not the adapter's."""
    from opentelemetry.sdk.trace import TracerProvider
    return TracerProvider()


# -- in process ----------------------------------------------------------------------------------


async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message):
    pass


def turn_asgi(app, loop, keys):
    """us of processor time a call."""
    n = len(keys)

    async def calls():
        for i in range(CALLS):
            await app({"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("127.0.0.1", 8000),
                       "client": ("127.0.0.1", 5000), "scheme": "http", "method": "GET", "root_path": "", "path": PATHS[i],
                       "raw_path": b"", "query_string": b"", "headers": [*HTTP, (b"x-api-key", keys[i % n])], "state": {}},
                      receive, send)

    began = time.process_time()
    loop.run_until_complete(calls())
    return (time.process_time() - began) / CALLS * 1e6


def turn_wsgi(app, keys):
    n = len(keys)
    names = [("HTTP_" + name.upper().replace("-", "_"), value) for name, value in HEADERS]
    common = {**dict(names), "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1",
              "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
              "wsgi.input": None, "wsgi.errors": sys.stderr}

    def start(status, headers, exc_info=None):
        return None

    began = time.process_time()
    for i in range(CALLS):
        parts = app({**common, "PATH_INFO": PATHS[i], "HTTP_X_API_KEY": keys[i % n]}, start)
        for _ in parts:
            pass
        if hasattr(parts, "close"):
            parts.close()
    return (time.process_time() - began) / CALLS * 1e6


def in_turn(contenders, turn, rounds):
    """us that each adds to the one called "none": medians over rounds, each against its own round; and the least of all."""
    found = {name: [] for name in contenders}
    for app in contenders.values():
        turn(app)
    for _ in range(rounds):
        for name, app in contenders.items():
            found[name].append(turn(app))
    none = found["none"]
    return {name: {"us": statistics.median(a - b for a, b in zip(times, none, strict=True)), "least_us": min(times) - min(none)}
            for name, times in found.items() if name != "none"} | {"none": {"us": statistics.median(none), "least_us": min(none)}}


def small():
    """Applications that do next to nothing, in this process."""
    from ztmon.adapters.asgi import ZtmonMiddleware as Asgi
    from ztmon.adapters.wsgi import ZtmonMiddleware as Wsgi
    loop = asyncio.new_event_loop()
    result = {}
    for partners in (1, 100, 1000):
        keys = [b"key-%d" % i for i in range(partners)]
        texts = [key.decode() for key in keys]
        result[f"asgi {partners}"] = in_turn(
            {"none": plain_asgi, "bare": BareAsgi(plain_asgi), "lean": LeanAsgi(plain_asgi), "ztmon": Asgi(plain_asgi, calm())},
            lambda app, keys=keys: turn_asgi(app, loop, keys), ROUNDS)
        result[f"wsgi {partners}"] = in_turn(
            {"none": plain_wsgi, "bare": BareWsgi(plain_wsgi), "ztmon": Wsgi(plain_wsgi, calm())},
            lambda app, texts=texts: turn_wsgi(app, texts), ROUNDS)
    loop.close()
    return result


def in_process():
    """All the tables. The small applications in several fresh processes: medians of these, of their ratios too."""
    runs = [json.loads(subprocess.run([sys.executable, __file__, "small"], check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(PROCESSES)]
    result = {}
    for key, first in runs[0].items():
        found = [run[key] for run in runs]
        result[key] = {name: {what: statistics.median(run[name][what] for run in found) for what in one}
                       for name, one in first.items()}
        for what in ("us", "least_us"):
            ratios = [run["ztmon"][what] / run["bare"][what] for run in found]
            result[key][f"ratio_{what}"] = [statistics.median(ratios), min(ratios), max(ratios)]
        print(key, result[key], flush=True)
    loop = asyncio.new_event_loop()
    result["fastapi"] = in_turn({name: make_fastapi(name) for name in ("none", "bare", "ztmon", *PEERS)},
                                lambda app: turn_asgi(app, loop, [b"key"]), 11)
    names = ("none", "bare", "ztmon", "Flask-Limiter", "OpenTelemetry")
    result["flask"] = in_turn({name: make_flask(name).wsgi_app for name in names}, lambda app: turn_wsgi(app, ["key"]), 11)
    print(result["fastapi"], result["flask"], flush=True)
    loop.close()
    return result


PEERS = ("slowapi", "prometheus-fastapi-instrumentator", "OpenTelemetry")


# -- served --------------------------------------------------------------------------------------


def serve(name):
    """In a process of its own, until it is killed."""
    import uvicorn
    config = uvicorn.Config(make_fastapi(name), port=0, log_level="critical", access_log=False, loop="uvloop", http="httptools")
    listening = config.bind_socket()
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run([listening])


class Served(gateway.Contender):
    """A FastAPI service under uvicorn."""

    def __init__(self, name):
        self.process = subprocess.Popen([sys.executable, __file__, "serve", name], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        atexit.register(self.stop)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.1)
        self.load(1)

    def load(self, seconds):
        """(requests a second by the clock, by the server's processor time)"""
        before = self.cpu()
        said = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", "x-api-key: bench", f"http://127.0.0.1:{self.port}/orders/17"],
            capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said:
            raise ValueError(said)
        requests = int(next(line for line in said.splitlines() if "requests in" in line).split()[0])
        rate = float(next(line for line in said.splitlines() if "Requests/sec" in line).split()[1])
        return rate, requests / (self.cpu() - before)


def served():
    """Throughput of each beside none at all, which is measured next to each turn of the others, for the processor's pace changes
    within seconds: medians of the ratios, and the rate that one turn in ten exceeds."""
    servers = {name: Served(name) for name in ("none", "bare", "ztmon", *PEERS)}
    found = {name: [] for name in servers}
    ratios = {name: [] for name in servers}
    for i in range(SERVED_ROUNDS):
        for name in [name for name in servers if name != "none"]:
            pair = {one: servers[one].load(SECONDS) for one in (("none", name) if i % 2 else (name, "none"))}
            for one in pair:
                found[one].append(pair[one])
            ratios[name].append([ours / none for ours, none in zip(pair[name], pair["none"], strict=True)])
    for server in servers.values():
        server.stop()
    result = {}
    for name, turns in found.items():
        peak, core_peak = (statistics.quantiles(rates, n=10)[-1] for rates in zip(*turns, strict=True))
        less, core_less = (1.0 - statistics.median(x) for x in zip(*ratios[name], strict=True)) if name != "none" else (0.0, 0.0)
        result[name] = {"rate": peak, "core_rate": core_peak, "less": less, "core_less": core_less}
        print(name, result[name], flush=True)
    return result


def main(out):
    warnings.simplefilter("ignore")
    result = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "load": os.getloadavg()[0], "processes": PROCESSES,
              "rounds": ROUNDS, "connections": CONNECTIONS, "served_rounds": SERVED_ROUNDS}
    result["process"] = in_process()
    result["served"] = served()
    Path(out).parent.mkdir(exist_ok=True)
    Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif sys.argv[1] == "small":
        logging.disable()
        print(json.dumps(small()))
    else:
        main(sys.argv[1])
