"""Coverage-guided fuzzing of everything that reads bytes from outside, by atheris: `make fuzz`, or by hand

    python tests/fuzz_telemetry.py [SECONDS] [TARGET ...]

Each target must not raise anything but a refusal, and what the native reader accepts msgspec must accept with the same
values. The core is not instrumented; what guides the search is the Python around it, what finds bugs is the comparison.
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["ztmon.wire", "ztmon.gateway"]):
    from ztmon import Config, Monitor, wire
    from ztmon.gateway.access import Access
    from ztmon.gateway.http import Refused, unpack
    from ztmon.gateway.intake import Intake
    from ztmon.gateway.proxies import TrustedProxies
    from ztmon.gateway.settings import GatewayConfig
    from ztmon.gateway.tokens import Tokens

from ztcore.engine import Engine
from ztcore.telemetry import TelemetryReader

KEY = bytes(range(16))
ALWAYS = (0, 4_000_000_000_000_000_000)
SEED = (b'{"appId":"shop","partnerId":"acme","timestamp":1750000000000,"endpoint":"/a?q=1","method":"GET","statusCode":200,'
        b'"responseTime":4.5,"requestSize":1,"responseSize":null,"clientIp":"192.0.2.1","userAgent":"x","count":2}')

intake = Intake(Monitor(Config(capacity=256, hash_key=KEY)), GatewayConfig())
access = Access(GatewayConfig(origins=("https://shop.example",)), Tokens(dict))
proxies = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
one, two = Engine(64, KEY), Engine(64, KEY)
native, slow = TelemetryReader(one), TelemetryReader(two)


def json_bodies(data):
    """Bodies of JSON; and each object that is read natively, msgspec reads the same."""
    with contextlib.suppress(Refused):
        intake.take(data)
    if data.lstrip()[:1] != b"{":
        return
    n = native.take(data, *ALWAYS)
    if n != 1:
        for row in one.rows() if n > 1 else ():
            one.forget_key(int(row["key"]))
        return
    event, problems = wire.read_event(0, data)
    assert event is not None, (data, problems)
    slow.begin(len(data), 1, *ALWAYS)
    assert slow.put(0, event.app.encode(), event.partner.encode(), event.timestamp, event.endpoint.encode(),
                    event.method.encode(), event.status, event.latency_ms, event.request_bytes or 0.0,
                    event.response_bytes or 0.0, (event.source or "").encode(), event.count or 1)  # fmt: skip
    slow.observe()
    a, b = one.row(event.partner, event.app), two.row(event.partner, event.app)
    assert (a is None) == (b is None), data
    for engine in (one, two):
        engine.forget(event.partner, event.app)
    if a is not None:
        for field in ("events", "last_seen", "request_mean", "response", "hour_methods", "sources"):
            assert a[field].tobytes() == b[field].tobytes(), (field, data)


def msgpack_bodies(data):
    """Bodies of msgpack."""
    with contextlib.suppress(Refused):
        intake.take_msgpack(data)


def packed_bodies(data):
    """Bodies that claim to be gzipped."""
    with contextlib.suppress(Refused):
        assert len(unpack(data, 10_000)) <= 10_000


def headers(data):
    """Host, Origin, Authorization, X-Forwarded-For and X-Partner-ID."""
    parts = [*data.split(b"\n", 3), b"", b"", b""]
    given = {b"host": parts[0], b"origin": parts[1], b"authorization": parts[2]}
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", parts[3]), (b"x-partner-id", parts[3])]}
    for step in (lambda: access.cors(given), lambda: access.who(scope, given)):
        with contextlib.suppress(Refused):
            step()
    proxies.client(scope)
    proxies.partner(scope)


TARGETS = {"json": (json_bodies, [SEED, b"[" + SEED + b"," + SEED + b"]", SEED + b"\n" + SEED]),
           "msgpack": (msgpack_bodies, [b"\x91\x87\xa5appId\xa4shop"]),
           "packed": (packed_bodies, [b"\x1f\x8b\x08\x00"]),
           "headers": (headers, [b"localhost\nhttps://shop.example\nBearer zt_x\n1.1.1.1, 10.0.0.2"])}  # fmt: skip


def main(seconds, names):
    """Each target in a process of its own, for so long; nothing is returned where all went well."""
    import os
    import tempfile
    from pathlib import Path

    for name in names or TARGETS:
        child = os.fork()
        if child == 0:
            target, seeds = TARGETS[name]
            with tempfile.TemporaryDirectory() as folder:
                for i, seed in enumerate(seeds):
                    (Path(folder) / str(i)).write_bytes(seed)
                atheris.Setup([sys.argv[0], folder, f"-max_total_time={seconds}", "-max_len=2000", "-rss_limit_mb=1024",
                               "-print_final_stats=1", "-artifact_prefix=build/fuzz-"], target)
                atheris.Fuzz()
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{name}: a crash, see build/fuzz-*")
        print(f"{name}: nothing found in {seconds} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60, sys.argv[2:])
