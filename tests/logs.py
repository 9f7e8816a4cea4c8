"""Logs for tests, and the program run on them as a person would."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = str(Path(sys.executable).parent / "ztmon")
SECONDS = 120
LINE = '203.0.113.{client} - {user} [{time}] "GET {path} HTTP/1.1" {status} {size} "-" "curl/8.5.0"\n'


def run(*words, stdin=None, env=None):
    """The finished program: returncode, stdout, stderr."""
    return subprocess.run([PROGRAM, *map(str, words)], input=stdin, capture_output=True, timeout=SECONDS, env=env)


def replay(*words, stdin=None):
    """The facts that `ztmon replay --json` prints; it must succeed."""
    done = run("replay", "--json", *words, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def combined(n, first=0, step=1, clients=5):
    """n lines of a combined log from 1 March 2026 on, one every `step` seconds, the first after `first` of them."""
    lines = []
    for i in range(first, first + n):
        s = i * step
        time = f"{1 + s // 86400:02d}/Mar/2026:{s // 3600 % 24:02d}:{s // 60 % 60:02d}:{s % 60:02d} +0000"
        lines.append(LINE.format(client=1 + i % clients, user=f"user-{i % 3}", time=time, path=f"/api/item/{i % 7}",
                                 status=200, size=500 + i % 50))
    return "".join(lines).encode()


def event(i, **changes):
    """An event of the wire format; fields that are None are left out."""
    found = {"appId": "shop", "partnerId": f"partner-{i % 4}", "timestamp": 1_767_225_600_000 + i * 1000,
             "endpoint": "/api/orders", "method": "GET", "statusCode": 200, "responseTime": 20 + i % 5, **changes}
    return {name: value for name, value in found.items() if value is not None}


def lines(events):
    return "".join(json.dumps(e) + "\n" for e in events).encode()
