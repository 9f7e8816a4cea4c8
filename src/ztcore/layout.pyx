"""The structs as numpy sees them. Importing fails where compiler and dtype disagree on a size."""

import numpy as np

from ztcore.event cimport Event
from ztcore.histogram cimport HISTOGRAM_BUCKETS, HISTOGRAM_LOG2_LOW, HISTOGRAM_PER_OCTAVE
from ztcore.journal cimport Transition
from ztcore.row cimport Row
from ztcore.verdict cimport Why


def _record(*fields):
    return np.dtype(list(fields), align=True)


EVENT = _record(
    ("timestamp", "i8"), ("partner", "u8"), ("endpoint", "u8"), ("source", "u8"), ("object_id", "u8"),
    ("latency_ms", "f4"), ("request_bytes", "f4"), ("response_bytes", "f4"), ("status", "u2"),
    ("method", "u1"), ("flags", "u1"), ("count", "u4"), ("name", "u4"),
)
"""One event, 64 bytes. timestamp: ns since the epoch; partner, endpoint, source: keys from
Engine.partner_key(), endpoint_key(), source_key(); count: at least 1; name: 1 + offset of the
partner's record in the batch's names, 0 where the partner is known already."""

WHY = _record(("signal", "u1"), ("lane", "u1"), ("nats", "u2"), ("k", "f4"), ("n", "f4"), ("p", "f4"))

TRANSITION = _record(
    ("timestamp", "i8"), ("partner", "u8"), ("row", "u4"), ("from_level", "u1"), ("to_level", "u1"),
    ("cause", "u1"), ("whys", "u1"), ("score", "f4"), ("interval", "f4"), ("enforced", "u1"), ("name_length", "u1"),
    ("app_length", "u1"), ("anomaly", "u1"), ("evident", "u4"), ("why", WHY, 3), ("app", "S48"), ("name", "S64"),
)

_FAMILIAR = _record(("hours", "u1"), ("last", "u1"))
_ENDPOINT = _record(
    ("mark", "u4"), ("count", "u4"), ("latency_mean", "u2"), ("latency_var", "u2"), ("size_mean", "u2"), ("size_var", "u2"),
)
_SOURCES = np.dtype((_record(("mark", "u2"), ("familiar", _FAMILIAR)), 24))
_METHODS = _record(("familiar", _FAMILIAR, 8), ("count", "u1", 8))
_OBJECTS = _record(("last", "u8"), ("bits", "u8", (2, 3)), ("added", "u4"), ("young", "u4"))
_WELFORD = _record(("n", "f4"), ("mean", "f4"), ("m2", "f4"))
_MINUTES = _record(("minute", "u4"), ("requests", "u4", 2), ("errors", "u4", 2), ("latency", "f4", 2), ("busy", "f4"))
_SHARES = _record(
    ("hits", "f4", 17), ("trials", "f4"), ("discovery", "f4"), ("pending", "u2", 17), ("spread", "u2", 17),
    ("windows", "u2"), ("spread_at", "u4"), ("folded_at", "u4"),
)
_TAILS = _record(("mean", "u1", (19, 2)), ("record", "u1", (19, 2)), ("peak", "u1", (21, 2)), ("episodes", "u1", 19), ("last", "u1", 21))
_MIX = _record(("recent", "u1", 24), ("other", "u1"), ("total", "u2"))
_JOBS = _record(("record", "u1", (2, 2)), ("peak", "u1", (2, 2)))
_HOURS = _record(("rate", "u2", 24), ("seconds", "u2", 24), ("week", "u2", 7), ("called", "u4"))
_MOMENTS = _record(("mean", "f4", 4), ("var", "f4", 4))

ROW = _record(
    ("word", "u8"), ("key", "u8"), ("decision", "u8"), ("bucket", "u8"), ("reference", "i8"),
    ("last_seen", "i8"), ("next_tick", "i8"), ("events", "u8"),
    ("trials", "f4", 4), ("seen", "f4", 4), ("expected", "f4", 4), ("weight", "f4", 4), ("gate", "f4", 4),
    ("bytes_out", "f4", 4), ("rate", "f4"), ("paced", "f4"), ("unlearned", "f4"), ("hot", "u4"),
    ("response_mean", "f4"), ("pending_trials", "u2"), ("last_hour", "u2"), ("flags", "u1"), ("level", "u1"), ("pin_level", "u1"),
    ("focus", "u1"), ("episode", "u1"), ("late_streak", "u1"), ("hour_methods", "u1"), ("max_action", "u1"),
    ("moments", _MOMENTS), ("minutes", _MINUTES), ("endpoints", _ENDPOINT, 24), ("sources", _SOURCES), ("mix", _MIX),
    ("borrowed", "u4"), ("response", _WELFORD), ("request_mean", "f4"), ("within", "f4", 2), ("score", "f4"), ("nats", "f4"),
    ("latency", "u2", 64), ("methods", _METHODS), ("phi", "f4", 4), ("counts", "f4", (18, 4)),
    ("shares", _SHARES), ("tails", _TAILS), ("jobs", _JOBS), ("gone", "u2"), ("hours", _HOURS), ("objects", _OBJECTS), ("tokens", "f4"),
    ("learned", "f4"), ("rest", "u4"), ("singles", "f4"), ("why", WHY, 2), ("whys", "u1"),
    ("cause", "u1"), ("name_length", "u1"), ("raised", "u1"), ("highest", "u1"), ("app", "u2"), ("first_seen", "i8"),
    ("since", "i8"), ("fresh_at", "i8"), ("below", "i8"), ("pin_until", "i8"), ("todo", "u8"), ("candidate", "u8"), ("applying", "u8"),
    ("evident", "u4"), ("excused", "u4"), ("excused_until", "u4"), ("expected_until", "u4"), ("expected_rate", "f4"),
    ("user", "u1", 20), ("name", "S64"),
)
"""All that is remembered of a partner; the fields are explained in row.pxd."""


def _check(name, dtype, size_t size):
    if dtype.itemsize != size:
        raise ImportError(f"ztcore.layout: {name} has {dtype.itemsize} bytes in numpy and {size} in C; "
                          "the package was built for another machine: reinstall it")


_check("EVENT", EVENT, sizeof(Event))
_check("WHY", WHY, sizeof(Why))
_check("TRANSITION", TRANSITION, sizeof(Transition))
_check("ROW", ROW, sizeof(Row))
if sizeof(Row) % 64:
    raise ImportError(f"ztcore.layout: a row of {sizeof(Row)} bytes does not end with a cache line")
for _name, _at in (("decision", 16), ("trials", 64), ("gate", 128), ("moments", 192), ("endpoints", 256), ("response", 768)):
    if ROW.fields[_name][1] != _at:
        raise ImportError(f"ztcore.layout: ROW.{_name} is at {ROW.fields[_name][1]}, not at {_at}")


def histogram_quantile(counts, double q):
    """The q-quantile (0..1) of latencies in ms from 64 bucket counts, within 10 %; nan if empty."""
    counts = np.asarray(counts, dtype=np.float64)
    if counts.shape != (HISTOGRAM_BUCKETS,):
        raise ValueError(f"counts has shape {counts.shape}, not ({HISTOGRAM_BUCKETS},)")
    total = counts.sum()
    if total <= 0:
        return float("nan")
    # rank as in numpy's "inverted_cdf": the smallest value with at least q of all at or below it
    i = int(np.searchsorted(np.cumsum(counts), max(q * total, 1e-9), side="left"))
    i = min(i, HISTOGRAM_BUCKETS - 1)
    low = 2.0 ** (HISTOGRAM_LOG2_LOW + i / HISTOGRAM_PER_OCTAVE)
    # the harmonic middle has the same relative error at both ends of the bucket
    high = 2.0 ** (HISTOGRAM_LOG2_LOW + (i + 1) / HISTOGRAM_PER_OCTAVE)
    return 2.0 * low * high / (low + high)
