"""`ztmon replay` beside a Python regex that only parses: whole processes, start included.

    python benchmarks/replay.py OUT.json

The log is the combined log of real traffic under ZTMON_TEST_DATA, again and again with its dates
moved on, so that time never runs back; where it is absent, made-up lines of the same shape.
"""

import datetime
import gzip
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from traffic import REAL

SIZES = (10_000, 100_000, 1_000_000)
RUNS = 5
START = datetime.date(2015, 5, 17)
DAYS = 4

REGEX = r"""
import re, sys
line = re.compile(r'(\S+) (\S+) (\S+) \[([^\]]+)\] "(\S+) (\S+) ([^"]*)" (\d{3}) (\S+) "([^"]*)" "([^"]*)"')
n = 0
for text in open(sys.argv[1], encoding="utf-8", errors="replace"):
    found = line.match(text)
    if found:
        found.groups()
        n += 1
print(n)
"""


def real():
    """The lines of the real log, or None."""
    path = REAL / "elastic-apache" / "apache_logs.gz"
    return gzip.decompress(path.read_bytes()).decode().splitlines(True) if path.exists() else None


def made_up(n):
    """Lines of the same shape and of its span of four days."""
    rng = random.Random(1)
    clients = [f"192.0.2.{i}" for i in range(1, 255)]
    for i in range(n):
        at = datetime.datetime(2015, 5, 17) + datetime.timedelta(seconds=i * DAYS * 86400 // n)
        yield (f"{rng.choice(clients)} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] \"GET /articles/{rng.randrange(500)}/page.html "
               f"HTTP/1.1\" {rng.choice((200, 200, 200, 304, 404))} {rng.randrange(200, 60_000)} "
               "\"http://example.com/index.html\" \"Mozilla/5.0 (X11; Linux x86_64; rv:28.0) Gecko/20100101 Firefox/28.0\"\n")


def write(path, n):
    """A log of n lines."""
    lines = real() or list(made_up(10_000))
    with open(path, "w", encoding="utf-8") as out:
        for copy in range(-(-n // len(lines))):
            shift = datetime.timedelta(days=copy * DAYS)
            moved = {f"{START + datetime.timedelta(d):%d/%b/%Y}": f"{START + datetime.timedelta(d) + shift:%d/%b/%Y}"
                     for d in range(-1, DAYS + 1)}
            text = re.sub(r"(?<=\[)\d\d/\w\w\w/\d{4}", lambda m, moved=moved: moved[m[0]], "".join(lines))
            out.write(text)


def seconds(command):
    """Of one whole process."""
    before = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - before


def main(out):
    found = []
    ztmon = str(Path(sys.executable).parent / "ztmon")
    with tempfile.TemporaryDirectory() as folder:
        for n in SIZES:
            path = str(Path(folder) / f"{n}.log")
            write(path, n)
            regex, replay = [], []
            for _ in range(RUNS):
                regex.append(seconds([sys.executable, "-c", REGEX, path]))
                replay.append(seconds([ztmon, "replay", path]))
            a, b = statistics.median(replay), statistics.median(regex)
            found.append({"lines": n, "replay": a, "regex": b, "ratio": a / b})
            print(f"{n:>9,} lines: ztmon replay {a:.2f} s, Python re {b:.2f} s, ratio {a / b:.2f}")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps({"runs": RUNS, "real": real() is not None, "sizes": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
