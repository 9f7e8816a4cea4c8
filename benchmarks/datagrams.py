"""Telemetry by UDP beside its floors, in the same run: a loop of recvmmsg that does nothing with what it gets, the ways in which
a Python service would do it, and of batches the least that could be done with records that need no reading. All datagrams lie
in the socket's buffer before the clock starts, so that what is measured is the receiver alone. The calls are those of the other
benchmarks (traffic.py), into an engine that has seen more than a day of them.

    python benchmarks/datagrams.py OUT.json

Where a process's memory comes to lie, and where its hash key puts the partners, moves a figure by a fifth: it is taken in
several fresh processes.
"""

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import traffic
from conftest import floor_module

from ztcore.datagrams import Receiver
from ztcore.engine import Engine
from ztcore.packed import pack
from ztmon import wire

PARTNERS = 1000
BUFFER = 64 * 1024 * 1024
SO_RCVBUFFORCE = 33
UDP_SEGMENT, UDP_GRO = 103, 104
PROCESSES, ROUNDS = 5, 9
TOGETHER = 19       # datagrams of 1,400 bytes that the 512 events make which our client sends with one call
DATAGRAMS, EVENTS = 5_000, 20_000
"""Of a round: datagrams of one event, events that are packed."""
LEAN = np.dtype([("partner", "u8"), ("timestamp", "i8"), ("latency", "f4"), ("status", "u2"), ("method", "u2"),
                 ("request_bytes", "f4"), ("response_bytes", "f4")])


class Calls:
    """The calls of traffic.py, a thousand a second, after a day of them, and the engine that saw that day."""

    def __init__(self, raw):
        self.engine, self.raw = Engine(65536), raw
        self.calls, self.at = traffic.tuples(PARTNERS, raw), 0
        self.now = traffic.warm_up(self.engine, PARTNERS, raw)
        self.back = time.time() - self.now + 3600.0
        """How far back a receiver must allow time stamps to be, s."""

    def next(self, n):
        """(partner, endpoint, method, status, latency, request, response, source, timestamp, count) of so many."""
        found = [(*self.calls[(self.at + i) % len(self.calls)][:8], self.now + i / traffic.RATE, 1) for i in range(n)]
        self.at, self.now = self.at + n, self.now + n / traffic.RATE
        return found

    def lean(self, n, most):
        """Datagrams of so many of them as records of fixed width, whose partners are numbers already."""
        of = traffic.events(self.engine, PARTNERS, self.raw, n)
        records = np.zeros(n, LEAN)
        records["partner"], records["latency"], records["status"] = of["partner"], of["latency_ms"], of["status"]
        records["timestamp"] = np.arange(n) * (1e9 / traffic.RATE)
        each = most // LEAN.itemsize
        return [records[at:at + each].tobytes() for at in range(0, n - n % each, each)]

    def batch(self, n):
        """ns an event of observe_batch() for so many, already in its form."""
        events = traffic.events(self.engine, PARTNERS, self.raw, n)
        events["timestamp"] = int(self.now * 1e9) + (np.arange(n) * (1e9 / traffic.RATE)).astype("i8")
        self.now += n / traffic.RATE
        began = time.thread_time()
        self.engine.observe_batch(events)
        return (time.thread_time() - began) / n * 1e9


def as_wire(event):
    partner, endpoint, method, status, latency, request, response, source, timestamp, _ = event
    found = {"appId": "default", "partnerId": partner, "timestamp": round(timestamp * 1000, 3), "endpoint": endpoint,
             "method": method, "statusCode": status, "responseTime": round(latency, 3), "requestSize": request,
             "responseSize": response}
    return found | {"clientIp": source} if source else found


class Buffered:
    """A receiving socket full of datagrams."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        with suppress(PermissionError):
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self.socket.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)      # as our listener has it
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect(self.socket.getsockname())

    def fill(self, datagrams, together=1):
        """together: so many with one call, as our client sends them; all but the last one are of one size then."""
        for at in range(0, len(datagrams), together):
            if together == 1:
                self.out.send(datagrams[at])
            else:
                size = struct.pack("=H", len(datagrams[at]))
                self.out.sendmsg(datagrams[at:at + together], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)])


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


def measure(name, calls, n, encode, floor, python, together=1, most=0):
    """Rounds in turn, each of the next n events; medians of ns a datagram and of the ratio within a round. together: datagrams
    that one call sends. most: bytes of a datagram of the lean loop, 0: without it."""
    receiver = Receiver(calls.engine, back_seconds=calls.back)
    buffered = Buffered()
    ways = contenders(calls.engine, receiver, floor, buffered)
    wanted = ["floor", "ours", *python]
    took = {way: [] for way in wanted}
    share, batch, lean_took = [], [], []
    lean, lean_datagrams = floor.Lean(PARTNERS), calls.lean(n, most) if most else []

    def lean_take():
        lean.observe_records(np.frombuffer(buffered.socket.recv(65536), LEAN))

    for turn in range(ROUNDS + 2):
        datagrams = encode(calls.next(n))
        for way in wanted:
            if way in python:       # which observes them as well
                datagrams = encode(calls.next(n))
            buffered.fill(datagrams, together)
            began = time.thread_time()
            got = ways[way]()
            spent = (time.thread_time() - began) / len(datagrams) * 1e9
            assert got == (len(datagrams) if way != "floor" else -(-len(datagrams) // together)), (way, got)
            if turn >= 2:
                took[way].append(spent)
        if most:
            buffered.fill(lean_datagrams, together)
            began = time.thread_time()
            until_empty(lean_take)
            if turn >= 2:
                lean_took.append((time.thread_time() - began) / n * 1e9)
        alone = calls.batch(n)
        if turn >= 2:
            share.append(took["floor"][-1] / took["ours"][-1])
            batch.append(alone)
    stats = receiver.stats()
    assert stats["taken"] == stats["datagrams"], stats
    assert stats["clamped"] == 0, stats
    found = {way: statistics.median(spent) for way, spent in took.items()}
    events = stats["events"] / stats["datagrams"]
    return {"name": name, "bytes": len(datagrams[0]), "events": events, "batch_ns": statistics.median(batch),
            "share": statistics.median(share), "million_events": 1e3 * events / found["ours"],
            "million_best": 1e3 * events / min(took["ours"]), **{f"{way}_ns": spent for way, spent in found.items()},
            **({"lean_ns": statistics.median(lean_took)} if most else {})}


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


def run():
    """All of it in this process."""
    floor = floor_module()
    raw, templates = Calls(True), Calls(False)
    single = {"one event, msgpack": lambda event: msgpack.packb(as_wire(event)),
              "one event, JSON": lambda event: json.dumps(as_wire(event)).encode(),
              "one event, JSON in syslog": lambda event: b"<190>Jan  2 03:04:05 nginx: " + json.dumps(as_wire(event)).encode()}
    python = {"one event, msgpack": ("python_msgpack",), "one event, JSON": ("python_json",)}
    found = [measure(name, raw, DATAGRAMS, lambda events, one=one: [one(event) for event in events], floor, python.get(name, ()))
             for name, one in single.items()]
    found += [measure(f"packed, {most:,} bytes, {what}", calls, EVENTS,
                      lambda events, most=most: pack(events, "default", most)[0], floor, (), most=most if most == 1400 else 0)
              for what, calls in (("templates", templates), ("raw paths", raw)) for most in (1400, 32_000)]
    found += [measure(f"packed, 1,400 bytes, {what}, {TOGETHER} sent at once", calls, EVENTS,
                      lambda events: pack(events, "default", 1400, alike=True)[0], floor, (), TOGETHER)
              for what, calls in (("templates", templates), ("raw paths", raw))]
    return {"datagrams": found, "record_ns": record_cost()}


def together(runs):
    """Medians of processes, and between which two the events a second were."""
    found = []
    for rows in zip(*(run["datagrams"] for run in runs), strict=True):
        row = {key: value if isinstance(value, str) else statistics.median(row[key] for row in rows)
               for key, value in rows[0].items()}
        rates = [row["million_events"] for row in rows]
        found.append(row | {"million_least": min(rates), "million_most": max(rates),
                            "million_best": max(row["million_best"] for row in rows)})
    return {"datagrams": found, "record_ns": statistics.median(run["record_ns"] for run in runs)}


def main(out):
    load = os.getloadavg()[0]
    floor_module()
    runs = [json.loads(subprocess.run([sys.executable, __file__], check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(PROCESSES)]
    found = together(runs) | {"date": time.strftime("%Y-%m-%d"), "load": load, "processes": PROCESSES}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(found, indent=1))
    for x in found["datagrams"]:
        lean = f", {x['lean_ns']:.0f} ns in the lean loop" if "lean_ns" in x else ""
        print(f"{x['name']}: {x['bytes']:.0f} bytes, {x['ours_ns']:.0f} ns, {x['share']:.0%} of the floor; "
              f"{x['million_events']:.1f} million events/s, by process {x['million_least']:.1f} to {x['million_most']:.1f}, "
              f"{x['million_best']:.1f} in the best round; an event {x['batch_ns']:.0f} ns in observe_batch() alone{lean}")
    print(f"record(): {found['record_ns']:.0f} ns")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        print(json.dumps(run()))
