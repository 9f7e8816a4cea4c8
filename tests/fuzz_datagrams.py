"""Coverage-guided fuzzing of datagrams by atheris: `make fuzz`, or by hand

    python -m tests.fuzz_datagrams [SECONDS]

What is taken HTTP's decoder must take, and the reverse; nothing may crash. The core is not instrumented: what guides the
search is the decoder it is compared with.
"""

import sys

import atheris

with atheris.instrument_imports(include=["ztmon.wire"]):
    from ztmon import wire

from ztcore.datagrams import Receiver
from ztcore.engine import Engine

from .test_datagrams import BATCH, EVENT, NOW, encoded, signed

plain = Receiver(Engine(64))
keyed = Receiver(Engine(64), keys={1: b"k" * 16}, started=NOW - 60)


def good(datagram):
    """Whether HTTP would take it as one event."""
    body = datagram.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    try:
        events, _ = wire.read(body) if body[:1] == b"{" else wire.read_msgpack(body)
    except wire.NotTelemetry:
        return False
    return len(events) == 1 and wire.read_event(0, body, wire._JSON if body[:1] == b"{" else wire._MSGPACK)[0] is not None


def one(datagram):
    outcome = plain.take(datagram, NOW)
    keyed.take(datagram, NOW)
    first = datagram.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1]
    if first and (first == b"{" or first[0] & 0xF0 == 0x80 or first in b"\xde\xdf"):
        assert (outcome == "taken") == good(datagram), (outcome, datagram)


def main(seconds):
    for seed in (*encoded(EVENT).values(), BATCH, signed(BATCH)):
        one(seed)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=600"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
