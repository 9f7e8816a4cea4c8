"""Telemetry by UDP beside its floors, in the same run: a loop of recvmmsg that does nothing with what it gets, and the ways
in which a Python service would do it. All datagrams lie in the socket's buffer before the clock starts, so that what is
measured is the receiver alone.

    python benchmarks/datagrams.py OUT.json
"""

import json
import os
import socket
import statistics
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgpack
import msgspec
from conftest import floor_module

from ztcore.datagrams import Receiver
from ztcore.engine import Engine
from ztcore.packed import pack
from ztmon import wire

PARTNERS = 1000
BUFFER = 64 * 1024 * 1024
SO_RCVBUFFORCE = 33
ROUNDS = 9
MOST = 10_000
"""Datagrams of a round, or events where they are packed; sent again in each, so that time stamps lie a little back."""


def events(n, start):
    """Calls of a thousand partners, a third of them with a fresh id, from now on."""
    return [(f"partner-{i * 7919 % PARTNERS}", f"/api/orders/{i}" if i % 3 == 0 else f"/api/v1/reports/daily{i % 7}", "GET",
             200, 12.5 + i % 40, 0, 512 + i % 1000, f"10.0.{i % 5}.{i % 200}", start + i * 1e-6, 1) for i in range(n)]


def as_wire(event):
    partner, endpoint, method, status, latency, _, response, source, timestamp, _ = event
    return {"appId": "shop", "partnerId": partner, "timestamp": timestamp * 1000, "endpoint": endpoint, "method": method,
            "statusCode": status, "responseTime": latency, "responseSize": response, "clientIp": source}


class Buffered:
    """A receiving socket full of datagrams."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        with suppress(PermissionError):
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect(self.socket.getsockname())

    def fill(self, datagrams):
        for datagram in datagrams:
            self.out.send(datagram)


def until_empty(receive):
    """Python's own way: one datagram a call."""
    n = 0
    try:
        while True:
            receive()
            n += 1
    except BlockingIOError:
        return n


def contenders(engine, receiver, floor, buffered):
    one = msgspec.json.Decoder(wire.Event).decode
    many = msgspec.msgpack.Decoder(wire.Event).decode
    take = buffered.socket.recv

    def ours():
        before = receiver.stats()["datagrams"]
        receiver.stop()
        receiver.run(buffered.socket.fileno())
        return receiver.stats()["datagrams"] - before

    def python(decode):
        def receive():
            e = decode(take(65536))
            engine.observe(e.partner, e.endpoint, e.method, e.status, e.latency_ms, e.request_bytes or 0, e.response_bytes or 0,
                            e.source, e.app, e.timestamp / 1000, e.count or 1)
        return lambda: until_empty(receive)

    return {"floor": lambda: floor.drain(buffered.socket.fileno()), "ours": ours,
            "recv": lambda: until_empty(lambda: take(65536)), "python_json": python(one), "python_msgpack": python(many)}


def measure(name, datagrams, floor, python):
    """Rounds in turn; medians of ns a datagram and of the ratio within a round."""
    engine = Engine(65536)
    receiver = Receiver(engine)
    buffered = Buffered()
    ways = contenders(engine, receiver, floor, buffered)
    wanted = ["floor", "ours", *python]
    took = {way: [] for way in wanted}
    share = []
    for turn in range(ROUNDS + 2):
        for way in wanted:
            buffered.fill(datagrams)
            began = time.thread_time()
            n = ways[way]()
            spent = (time.thread_time() - began) / n * 1e9
            if turn >= 2:
                took[way].append(spent)
        if turn >= 2:
            share.append(took["floor"][-1] / took["ours"][-1])
    stats = receiver.stats()
    assert stats["taken"] == stats["datagrams"], stats
    found = {way: statistics.median(spent) for way, spent in took.items()}
    size = len(datagrams[0])
    return {"name": name, "bytes": size, "events": stats["events"] / stats["datagrams"], "ns": found,
            "share": statistics.median(share), "million_events": 1e3 * stats["events"] / stats["datagrams"] / found["ours"]}


def record_cost():
    """ns a call of TelemetryClient.record(), the loop subtracted, nobody listening to the buffer."""
    from ztmon.client import TelemetryClient
    client = TelemetryClient("udp://127.0.0.1:9", flush_seconds=3600, buffer=10**9)
    n, rounds = 50_000, []
    for _ in range(9):
        began = time.thread_time()
        for _ in range(n):
            pass
        empty = time.thread_time() - began
        began = time.thread_time()
        for _ in range(n):
            client.record("acme", "/api/orders/42", method="GET", status=200, latency_ms=45.0, response_bytes=512)
        rounds.append((time.thread_time() - began - empty) / n * 1e9)
        client._events.clear()
    client._closed = True
    return statistics.median(rounds)


def main(out):
    load = os.getloadavg()[0]
    floor = floor_module()
    calls, many = events(MOST, time.time()), events(20 * MOST, time.time())
    found = {"datagrams": [
        measure("one event, msgpack", [msgpack.packb(as_wire(e)) for e in calls], floor,
                ("recv", "python_msgpack")),
        measure("one event, JSON", [json.dumps(as_wire(e)).encode() for e in calls], floor,
                ("python_json",)),
        measure("one event, JSON in syslog", [b"<190>Jan  2 03:04:05 nginx: " + json.dumps(as_wire(e)).encode()
                                             for e in calls], floor, ()),
        measure("packed, 1,400 bytes", pack(many, "shop", 1400)[0], floor, ()),
        measure("packed, 32,000 bytes", pack(many, "shop", 32_000)[0], floor, ()),
    ], "record_ns": record_cost(), "date": time.strftime("%Y-%m-%d"), "load": load}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(found, indent=1))
    for x in found["datagrams"]:
        print(f"{x['name']}: {x['bytes']} bytes, {x['ns']}, {x['share']:.0%} of the floor, {x['million_events']:.1f} M events/s")
    print(f"record(): {found['record_ns']:.0f} ns")


if __name__ == "__main__":
    main(sys.argv[1])
