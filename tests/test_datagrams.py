"""Datagrams of telemetry: every format, held against the decoder that HTTP uses; nothing that comes in does harm."""

import hashlib
import json
import struct

import msgpack
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ztcore.datagrams import OUTCOME_NAMES, Receiver
from ztcore.engine import Engine
from ztcore.packed import pack
from ztmon import wire

KEY = bytes(range(16))
NOW = 1_767_225_600.0
EVENT = {
    "appId": "shop", "partnerId": "acme", "timestamp": NOW * 1000, "endpoint": "/api/orders/42?x=1", "method": "GET",
    "statusCode": 200, "responseTime": 45.25, "requestSize": 10, "responseSize": 512.5, "clientIp": "192.0.2.1",
    "userAgent": "curl", "count": 2,
}  # fmt: skip


def receiver(**options):
    engine = Engine(64, KEY)
    return engine, Receiver(engine, **options)


def outcome(datagram, **options):
    return receiver(**options)[1].take(datagram, NOW)


def row(engine, partner="acme", app="shop"):
    """All that is known of a partner, but for the word that says who is at work on it."""
    found = engine.row(partner, app)
    return None if found is None else bytes(found.tobytes()[8:])


def observed(events):
    """The engine after the same events one by one."""
    engine = Engine(64, KEY)
    for e in events:
        engine.observe(e["partnerId"], e["endpoint"], e["method"], e["statusCode"], e["responseTime"], e.get("requestSize") or 0,
                       e.get("responseSize") or 0, e.get("clientIp") or None, e["appId"], e["timestamp"] / 1000,
                       e.get("count") or 1)  # fmt: skip
    return engine


def encoded(event):
    """The same event in every format that carries one."""
    text = json.dumps(event).encode()
    return {
        "json": text, "json with blanks": b"\xef\xbb\xbf\r\n " + json.dumps(event, indent=1, ensure_ascii=False).encode() + b"\n",
        "msgpack": msgpack.packb(event), "rfc 3164": b"<190>Jan  2 03:04:05 host nginx: " + text + b"\n\0",
        "rfc 5424": b'<190>1 2026-01-02T03:04:05Z host app 7 id [a@1 x="{\\"]"][b y=""] \xef\xbb\xbf' + text,
        "rfc 5424 without data": b"<13>1 - - - - - - @cee:" + text,
    }  # fmt: skip


@pytest.mark.parametrize("form", encoded(EVENT))
def test_every_format_is_what_observe_would_have_seen(form):
    """An event leaves the same traces whichever way it comes."""
    engine, taker = receiver()
    assert taker.take(encoded(EVENT)[form], NOW) == "taken"
    assert row(engine) == row(observed([EVENT]))
    assert taker.stats()["events"] == taker.stats()["observed"] == 1


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
ODD = st.one_of(
    st.none(), st.booleans(), TEXT, st.sampled_from(["x" * 255, "x" * 256, "y" * 8192, "y" * 8193]),
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.recursive(st.none() | TEXT | st.integers(0, 9), lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXT, x, max_size=3),
                 max_leaves=6),
)  # fmt: skip
CHANGES = st.dictionaries(st.sampled_from(sorted(EVENT)) | TEXT, ODD, max_size=3)
MISSING = st.sets(st.sampled_from(sorted(EVENT)), max_size=2)


@given(CHANGES, MISSING, st.booleans())
@example({"statusCode": 200.0}, set(), True)
@example({"count": 2**32}, set(), True)
@example({"timestamp": 0}, set(), False)
def test_json_is_accepted_where_http_accepts_it(changes, missing, ascii_only):
    """An object is taken by the native reader where the decoder of HTTP takes it, and leaves the same traces."""
    event = {name: value for name, value in (EVENT | changes).items() if name not in missing}
    text = json.dumps(event, ensure_ascii=ascii_only).encode()
    good = bool(wire.read(text)[0])
    engine, taker = receiver(back_seconds=1e9, ahead_seconds=1e9)
    assert (taker.take(text, NOW) == "taken") == good
    if good:
        (_, e), *_ = wire.read(text)[0]
        assume(1e9 < e.timestamp / 1000 < 2.5e9)        # else it is clamped
        assert row(engine, e.partner, e.app)[80:] == row(observed([event]), e.partner, e.app)[80:]


@given(CHANGES, MISSING)
def test_msgpack_is_accepted_where_http_accepts_it(changes, missing):
    """Likewise for msgpack."""
    event = {name: value for name, value in (EVENT | changes).items() if name not in missing}
    raw = msgpack.packb(event)
    assert (outcome(raw) == "taken") == bool(wire.read_msgpack(raw)[0])


@given(st.binary(max_size=200))
def test_any_bytes_are_counted(raw):
    """Whatever comes is taken or counted by what is wrong with it."""
    _, taker = receiver()
    assert taker.take(raw, NOW) in OUTCOME_NAMES
    stats = taker.stats()
    assert stats["taken"] + sum(stats["refused"].values()) == 1


BATCH = pack([("acme", "/api/orders/1", "GET", 200, 1.0, 0, 5, "192.0.2.1", NOW, 1),
              ("b", "/x", "PUT", 404, 2, 1, 0, None, NOW, 3)],
             "shop", 1400)[0][0]  # fmt: skip


@given(st.sampled_from([*encoded(EVENT).values(), BATCH]), st.data())
def test_broken_datagrams_do_no_harm(raw, data):
    """A good datagram cut anywhere, with bytes changed, put in or left out, is taken or counted."""
    raw = bytearray(raw[: data.draw(st.integers(0, len(raw)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if raw:
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    assert outcome(bytes(raw)) in OUTCOME_NAMES


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "empty"), (b" \n", "empty"), (b"GET / HTTP/1.1", "unknown_kind"), (b"[]", "unknown_kind"),
        (b"\xc1", "unknown_kind"),
        (b"{}", "missing_field"), (b"{", "malformed"), (b'{"a":' + b"[" * 60_000, "malformed"), (b"\x81\xa1a", "malformed"),
        (b"\xdf\xff\xff\xff\xff", "malformed"), (b"\x81\xa1a\xdd\xff\xff\xff\xff", "malformed"),
        (b'{"appId": ""}', "wrong_field"),
        (b'{"appId": "\xff"}', "malformed"), (b'{"appId": "\\ud800"}', "malformed"), (b"<190>hello", "no_json_in_syslog"),
        (b"<9999>{}", "no_json_in_syslog"), (b'<1>1 - - - - - [x a="{}', "no_json_in_syslog"), (b"\xc1z", "broken_batch"),
        (BATCH[:-1], "broken_batch"), (BATCH + b"\0", "broken_batch"),
        (b"\xc1s\1" + bytes(45), "unknown_key"), (b"\xc1s" + bytes(46), "unsigned"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(raw, expected):
    """Each kind of broken datagram is counted as what it is."""
    assert outcome(raw) == expected


def test_fields_that_are_wrong_are_counted_by_name():
    """A datagram refused for a field is counted by the field."""
    _, taker = receiver()
    taker.take(json.dumps(EVENT | {"statusCode": 1000}).encode(), NOW)
    taker.take(json.dumps({k: v for k, v in EVENT.items() if k != "endpoint"}).encode(), NOW)
    assert taker.stats()["wrong"] == {"statusCode": 1}
    assert taker.stats()["missing"] == {"endpoint": 1}


def test_time_stamps_are_held_to_a_window():
    """What is older than 15 minutes or more than 10 s ahead is taken for that, and counted."""
    for off, seen, counted in ((-7200, -900, 1), (7200, 10, 1), (-899, -899, 0), (9, 9, 0)):
        engine, taker = receiver()
        assert taker.take(json.dumps(EVENT | {"timestamp": (NOW + off) * 1000}).encode(), NOW) == "taken"
        assert engine.row("acme", "shop")["last_seen"] == int((NOW + seen) * 1e9)
        assert taker.stats()["clamped"] == counted


CALL = st.tuples(
    st.sampled_from(["acme", "globex", "ümläut", "x" * 200]),
    st.sampled_from(["/api/orders/17", "/api/users", "/a?q=../../etc/passwd"]),
    st.sampled_from(["GET", "post", "BREW"]), st.integers(100, 599), st.floats(0, 1e6, width=32), st.integers(0, 2**20),
    st.floats(0, 1e9, width=32), st.sampled_from([None, "", "192.0.2.1", "2001:db8::1"]), st.integers(0, 800), st.integers(1, 9),
)  # fmt: skip


@given(st.lists(CALL, max_size=60), st.sampled_from([400, 1400, 65507]), st.booleans())
def test_packed_batches_are_what_observe_would_have_seen(calls, most, alike):
    """Events packed by the client's packer and received leave the traces of the same calls of observe(), also where batches are
    filled up to be of one size."""
    calls = sorted(((*call[:8], NOW - 800 + call[8], call[9]) for call in calls), key=lambda call: call[8])
    engine, taker = receiver()
    made, bad = pack(calls, "shop", most, alike)
    assert bad == 0
    assert all(len(one) <= most for one in made)
    assert not alike or all(len(one) == most for one in made[:-1])
    assert [taker.take(one, NOW) for one in made] == ["taken"] * len(made)
    twin = Engine(64, KEY)
    for partner, endpoint, method, status, latency, request, response, source, when, count in calls:
        twin.observe(partner, endpoint, method, status, latency, request, response, source or None, "shop", when, count)
    for partner in {call[0] for call in calls}:
        assert row(engine, partner) == row(twin, partner)


def test_names_that_resemble_each_other_are_kept_apart():
    """Names of every length, and those that differ in their middle only or by their application, are their own partners, whether
    they are seen for the first time or again."""
    names = ["n" * length for length in range(1, 60)] + [f"partner-{i:04}-of-the-shop" for i in range(50)] + \
        [f"p{i}" for i in range(50)]
    engine = Engine(1024, KEY)
    taker = Receiver(engine)
    calls = [(name, "/", "GET", 200, 1.0, 0, 0, None, NOW, 1) for name in names]
    for app in ("shop", "bank") * 2:
        for made in pack(calls, app, 1400)[0]:
            assert taker.take(made, NOW) == "taken"
        for name in names:
            assert taker.take(json.dumps(EVENT | {"appId": app, "partnerId": name, "count": 1}).encode(), NOW) == "taken"
    assert {engine.row(name, app)["events"] for name in names for app in ("shop", "bank")} == {4}
    assert engine.stats()["partners"] == 2 * len(names)


def test_packed_time_stamps_are_held_to_a_window():
    """Each event's of a batch, wherever its base is."""
    for offs, seen, counted in (((-7200,), -900, 1), ((7200,), 10, 1), ((-899, 9), 9, 0), ((-1000, 0), 0, 1), ((0, 20), 10, 1)):
        engine, taker = receiver()
        made, bad = pack([("acme", "/", "GET", 200, 1.0, 0, 0, None, NOW + off, 1) for off in offs], "shop", 1400)
        assert (len(made), bad, taker.take(made[0], NOW)) == (1, 0, "taken")
        assert engine.row("acme", "shop")["last_seen"] == int((NOW + seen) * 1e9)
        assert taker.stats()["clamped"] == counted


BAD_RECORDS = [("app", 4, "<H", 0), ("app", 4, "<H", 9), ("partner", 6, "<H", 0), ("partner", 6, "<H", 65535),
               ("endpoint", 8, "<H", 0), ("endpoint", 8, "<H", 7), ("source", 10, "<H", 7), ("status", 12, "<H", 99),
               ("status", 12, "<H", 600), ("method", 14, "B", 8), ("method", 14, "B", 255), ("count", 16, "<I", 0),
               ("latency", 20, "<f", -1.0), ("latency", 20, "<f", float("nan")), ("request", 24, "<f", -1.0),
               ("response", 28, "<f", float("nan"))]  # fmt: skip


@pytest.mark.parametrize("what", BAD_RECORDS, ids=lambda what: f"{what[0]} {what[3]}")
def test_a_batch_with_a_record_that_is_wrong_is_refused_whole(what):
    """What came before the record counts no more than what comes behind it; the next batch is taken as if nothing had been."""
    call = ("acme", "/api/orders/1", "GET", 200, 1.0, 0, 5, "192.0.2.1", NOW - 2000, 1)
    good = pack([call, call, call], "shop", 1400)[0][0]
    _, at, form, value = what
    bad = bytearray(good)
    struct.pack_into(form, bad, 16 + 32 + at, value)
    engine, taker = receiver()
    assert taker.take(bytes(bad), NOW) == "broken_batch"
    assert (taker.stats()["events"], taker.stats()["clamped"], engine.stats()["partners"]) == (0, 0, 0)
    assert taker.take(good, NOW) == "taken"
    assert (taker.stats()["clamped"], engine.row("acme", "shop")["events"]) == (3, 3)


def test_a_batch_whose_names_are_too_long_is_refused():
    """Names have at most 255 bytes, paths at most 8,192, as everywhere."""
    call = ("p" * 255, "/" + "x" * 8191, "GET", 200, 1.0, 0, 5, "s" * 255, NOW, 1)
    assert outcome(pack([call], "a" * 255, 65507)[0][0]) == "taken"
    for longer in (("p" * 256, *call[1:]), (call[0], "/" + "x" * 8192, *call[2:]), (*call[:7], "s" * 256, *call[8:])):
        assert outcome(pack([longer], "shop", 65507)[0][0]) == "broken_batch"
    assert outcome(pack([call], "a" * 256, 65507)[0][0]) == "broken_batch"


def test_a_batch_has_no_more_texts_than_are_taken():
    """However short the texts of many events are."""
    calls = [(chr(33 + i % 90) + chr(33 + i // 90), f"/{i:x}", "GET", 200, 1.0, 0, 0, f"{i:x}", NOW, 1) for i in range(3000)]
    engine = Engine(4096, KEY)
    taker = Receiver(engine)
    made, bad = pack(calls, "s", 65507, alike=True)
    assert bad == 0
    assert {taker.take(one, NOW) for one in made} == {"taken"}
    assert taker.stats()["events"] == 3000


def test_what_cannot_be_packed_is_counted():
    """An event with a wrong type, a number out of range or a text that fits no datagram is left out; the others go."""
    good = ("acme", "/", "GET", 200, 1.0, 0, 0, None, NOW, 1)
    wrong = [(1,), 5, (*good[:3], 99, *good[4:]), (*good[:4], -1.0, *good[5:]), (*good[:4], float("nan"), *good[5:]),
             (*good[:8], None, 1), (*good[:9], 0), (*good[:9], 2**32), ("acme", "/" + "x" * 70_000, *good[2:]),
             ("acme", "/" + "x" * 1400, *good[2:]), (None, *good[1:])]  # fmt: skip
    made, bad = pack([good, *wrong, good], "shop", 1400)
    engine, taker = receiver()
    assert bad == len(wrong)
    assert {taker.take(one, NOW) for one in made} == {"taken"}
    assert engine.row("acme", "shop")["events"] == 2


SECRET = b"a secret of thirty-two bytes!!!!"


def signed(payload, number=1, key=SECRET, when=NOW, sender=7, sequence=1):
    head = struct.pack("<BBBBIqQQ", 0xC1, ord("s"), 1, number, 0, int(when * 1000), sender, sequence)
    return head + payload + hashlib.blake2b(head + payload, key=key, digest_size=16).digest()


def signing(**keys):
    """A receiver that was started a minute ago."""
    taker = receiver(keys={1: SECRET, 2: b"the next one"}, started=NOW - 60)[1]
    return lambda *a, **k: taker.take(signed(*a, **k), NOW), taker


@given(st.binary(max_size=700), st.binary(min_size=1, max_size=64))
def test_signatures_are_those_of_hashlib(payload, key):
    """Any payload signed with any key by Python's BLAKE2 is let through to be looked at, and no other."""
    taker = receiver(keys={9: key}, started=NOW - 60)[1]
    good = signed(payload, 9, key)
    assert taker.take(good, NOW) not in ("forged", "unsigned", "stale", "replayed")
    assert taker.take(signed(payload, 9, key + b"x" if len(key) < 64 else key[:-1], sequence=2), NOW) == "forged"


def test_only_what_is_signed_is_taken():
    """With keys, what bears no signature or a wrong one is refused and counted, in any format."""
    take, taker = signing()
    good = encoded(EVENT)["json"]
    assert [taker.take(raw, NOW) for raw in (*encoded(EVENT).values(), BATCH)] == ["unsigned"] * 7
    assert take(good) == "taken"
    assert take(BATCH, sequence=2) == "taken"
    assert take(good, number=3, sequence=3) == "unknown_key"
    assert take(good, key=b"another", sequence=3) == "forged"
    changed = bytearray(signed(good, sequence=3))
    changed[40] ^= 1
    assert taker.take(bytes(changed), NOW) == "forged"
    assert take(good, sequence=3) == "taken"
    assert taker.stats()["refused"]["forged"] == 2


def test_keys_are_rotated_without_a_gap():
    """Both keys hold while senders change from one to the other."""
    take, _ = signing()
    assert take(encoded(EVENT)["json"], 1) == "taken"
    assert take(encoded(EVENT)["json"], 2, b"the next one", sequence=2) == "taken"


def test_nothing_comes_twice():
    """A datagram sent again is refused, whether it is the last one, one of the last thousand, or older; a late one that
    is new is taken."""
    take, _ = signing()
    good = encoded(EVENT)["json"]
    assert [take(good, sequence=n) for n in (1, 1, 3, 2, 2, 3, 1000, 999, 2000, 1000, 1001, 977, 976, 5000, 4000, 2000)] == [
        "taken", "replayed", "taken", "taken", "replayed", "replayed", "taken", "taken", "taken", "replayed", "taken", "taken",
        "replayed", "taken", "taken", "replayed",
    ]  # fmt: skip


def test_the_time_of_a_signature_must_be_near():
    """What is off by more than the window, or older than the receiver, is stale: so nothing from before its start or from
    a sender that is no longer remembered can come again."""
    take, _ = signing()
    good = encoded(EVENT)["json"]
    assert take(good, when=NOW - 31) == take(good, when=NOW + 31) == "stale"
    assert take(good, when=NOW - 29) == "taken"
    late = receiver(keys={1: SECRET}, started=NOW)[1]
    assert late.take(signed(good, when=NOW - 1), NOW) == "stale"


def test_senders_that_are_forgotten_leave_a_mark():
    """Thousands of senders fit; what the forgotten ones sent is still refused when it comes again."""
    _take, taker = signing()
    first = [signed(encoded(EVENT)["json"], sender=n, when=NOW - 20 + n / 1000) for n in range(1, 4000)]
    assert {taker.take(raw, NOW) for raw in first} <= {"taken", "stale"}
    assert taker.stats()["taken"] > 3000
    assert {taker.take(raw, NOW) for raw in first} <= {"replayed", "stale"}
