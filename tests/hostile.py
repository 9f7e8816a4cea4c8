"""Millions of hostile datagrams into one receiver, whose process must not grow: `make fuzz`, or by hand

    python tests/hostile.py [DATAGRAMS]

Good datagrams of every format, cut, with bytes changed, and pure noise; a part of them comes through a real socket. Ends
with 1 where the process grew after the first tenth, or where a datagram was not counted.
"""

import socket
import sys
import time

import numpy as np

from ztcore.datagrams import Receiver
from ztmon import Config, Monitor
from ztmon.adapters.udp import UdpListener

from .test_datagrams import BATCH, EVENT, SECRET, encoded, signed

GROWTH = 16 * 1024 * 1024
BLOCK = 20_000


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def hostile(rng, templates):
    """BLOCK datagrams: each a template with some of its bytes changed, or cut, or noise of the same length."""
    found = []
    for template in templates:
        raw = np.tile(np.frombuffer(template, np.uint8), (BLOCK // len(templates) + 1, 1))
        n, size = raw.shape
        for _ in range(3):
            rows = rng.random(n) < 0.6
            raw[rows, rng.integers(0, size, rows.sum())] = rng.integers(0, 256, rows.sum())
        noise = rng.random(n) < 0.05
        raw[noise] = rng.integers(0, 256, (noise.sum(), size))
        cut = np.where(rng.random(n) < 0.2, rng.integers(0, size + 1, n), size)
        whole = raw.tobytes()
        found += [whole[i * size : i * size + cut[i]] for i in range(n)]
    rng.shuffle(found)
    return found[:BLOCK]


def main(count):
    rng = np.random.default_rng(7)
    now = time.time()
    fresh = EVENT | {"timestamp": now * 1000}
    templates = [*encoded(fresh).values(), BATCH, signed(BATCH, when=now), signed(b"{}", when=now)]
    with Monitor(Config(capacity=1024)) as monitor:
        plain, keyed = Receiver(monitor), Receiver(monitor, keys={1: SECRET})
        listener = UdpListener(monitor, port=0).start()
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.connect(listener.address)
        done, before, began = 0, 0, time.monotonic()
        while done < count:
            datagrams = hostile(rng, templates)
            for take, part in ((plain.take, datagrams[: BLOCK // 2]), (keyed.take, datagrams[BLOCK // 2 : BLOCK * 9 // 10])):
                for raw in part:
                    take(raw, now)
            for raw in datagrams[BLOCK * 9 // 10 :]:
                out.send(raw)
            done += len(datagrams)
            if before == 0 and done >= count // 10:
                before = resident()
        grown = resident() - before
        listener.stop()
        out.close()
        found = plain.stats(), keyed.stats()
        by_socket = listener.stats()
        seconds = time.monotonic() - began
    counted = all(
        s["taken"] + sum(s["refused"].values()) == s["datagrams"] for s in found)
    all_of_them = sum(s["datagrams"] for s in found) + by_socket["datagrams"] + by_socket["kernel_drops"]
    counted = counted and all_of_them == done
    print(f"{done:,} hostile datagrams in {seconds:.0f} s, {sum(s['taken'] for s in found) + by_socket['taken']:,} taken; "
          f"{by_socket['datagrams']:,} by a socket; memory grew by {grown / 1024:,.0f} KiB after the first tenth")
    print({name: sum(s["refused"][name] for s in found) for name in found[0]["refused"]})
    return 0 if grown < GROWTH and counted else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000))
