"""Access logs: what becomes of good lines, odd ones and broken ones."""

import datetime
import gzip
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ztcore.accesslog import AccessLogParser
from ztcore.engine import Engine
from ztcore.text import log_times

KEY = bytes(range(16))
SECOND = 1_000_000_000
COMMON = '203.0.113.9 - ann [10/Oct/2000:13:55:36 -0700] "GET /users/42 HTTP/1.0" 200 2326'
COMBINED = COMMON + ' "http://example.com/start" "Mozilla/5.0 (X11; Linux)"'
AT = 971211336 * SECOND


@pytest.fixture(scope="module")
def engine():
    return Engine(capacity=64, hash_key=KEY)


def read(text, **settings):
    """(events as a copy, names, bad lines) of a whole log."""
    parser = AccessLogParser(KEY, **settings)
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    found, names, bad, at = [], b"", [], 0
    while at < len(data):
        events, more, consumed, broken = parser.parse(memoryview(data)[at:], True)
        events = events.copy()
        events["name"] += np.uint32(len(names))
        found.append(events)
        names += more
        bad += broken
        at += consumed
        assert consumed
    return (np.concatenate(found) if found else parser.parse(b"")[0]), names, bad


def name_of(event, names):
    """(application, partner) of the record that an event points at."""
    at = int(event["name"]) - 1
    app = names[at + 1 : at + 1 + names[at]]
    at += 1 + names[at]
    return app.decode(), names[at + 1 : at + 1 + names[at]].decode("utf-8", "surrogatepass")


def one(line, **settings):
    events, names, bad = read(line + "\n", **settings)
    assert bad == []
    assert len(events) == 1
    return events[0], names


def test_common(engine):
    """A line of the common format has all its fields in the event, under the engine's keys."""
    event, names = one(COMMON)
    app, partner = name_of(event, names)
    assert app == "default"
    assert re.fullmatch(r"client-[0-9a-f]{8}", partner)
    assert event["timestamp"] == AT
    assert event["partner"] == engine.partner_key(partner)
    assert event["endpoint"] == engine.endpoint_key("/users/{id}")
    assert event["source"] == engine.source_key("203.0.113.9")
    assert event["object_id"] == 42
    assert (event["status"], event["method"], event["flags"], event["count"]) == (200, 0, 0, 1)
    assert (event["response_bytes"], event["request_bytes"], event["latency_ms"]) == (2326.0, 0.0, 0.0)


@pytest.mark.parametrize("line", [COMMON, COMBINED, COMBINED + "\r", COMBINED + ' "-"', COMMON + ' "-" "cut off'])
def test_endings(line):
    """Referer, user agent, a carriage return and more fields change nothing; a cut off one neither."""
    assert one(line)[0].tobytes() == one(COMMON)[0].tobytes()


@pytest.mark.parametrize(
    "client", ["198.51.100.7", "2001:db8::1", "::1", "[2001:db8::1]", "host.example.com", "localhost", "-"]
)
def test_clients(engine, client):
    """Addresses of both kinds and host names are clients; only their hash stays."""
    event, names = one(COMMON.replace("203.0.113.9", client))
    assert event["source"] == engine.source_key(client)
    if len(client) > 2:
        assert client.encode() not in names


def test_pseudonyms():
    """The pseudonym hangs on address and key, and is the address only when that is asked for."""
    lines = "\n".join(COMMON.replace("203.0.113.9", f"203.0.113.{n}") for n in (1, 2, 1))
    events, names, _ = read(lines)
    first, second, again = (name_of(event, names)[1] for event in events)
    assert first == again != second
    event, names = one(COMMON, show_clients=True)
    assert name_of(event, names) == ("default", "203.0.113.9")
    other, _, _, _ = AccessLogParser(bytes(16)).parse(COMMON.encode(), True)
    assert other["partner"][0] != one(COMMON)[0]["partner"]


def test_partner_is_the_user(engine):
    """By user, who has none is known by the client's pseudonym."""
    event, names = one(COMMON, partner="user", app="shop")
    assert name_of(event, names) == ("shop", "ann")
    assert event["partner"] == engine.partner_key("ann", "shop")
    for user in ("-", '""'):
        event, names = one(COMMON.replace(" ann ", f" {user} "), partner="user")
        assert name_of(event, names)[1].startswith("client-")
    event, names = one(COMMON.replace(" ann ", " Ann von Lee "), partner="user")
    assert name_of(event, names)[1] == "Ann von Lee"


def test_partner_is_the_host(engine):
    """A virtual host in front is seen by itself, and is the partner where that is asked for."""
    line = "shop.example.com:443 " + COMBINED
    event, names = one(line, partner="vhost")
    assert name_of(event, names)[1] == "shop.example.com:443"
    assert event["source"] == engine.source_key("203.0.113.9")
    assert one(line)[0].tobytes() == one(COMBINED)[0].tobytes()
    assert name_of(*one(COMBINED, partner="vhost"))[1].startswith("client-")


def test_names_once_a_chunk():
    """Each partner's name is in the names of a chunk once, and every event points at its own."""
    lines = [COMMON.replace("203.0.113.9", f"203.0.113.{n % 7}") for n in range(100)]
    events, names, _ = read("\n".join(lines), show_clients=True)
    assert [name_of(event, names)[1] for event in events] == [f"203.0.113.{n % 7}" for n in range(100)]
    assert len(set(events["name"])) == 7
    parser = AccessLogParser(KEY)
    first = parser.parse((COMMON + "\n").encode())[1]
    assert parser.parse((COMMON + "\n").encode())[1] == first != b""


def test_long_names(engine):
    """A long user is cut in the names and whole in the key; a long application is refused."""
    event, names = one(COMMON.replace("ann", "x" * 300), partner="user", app="y" * 255)
    assert name_of(event, names) == ("y" * 255, "x" * 255)
    assert event["partner"] == engine.partner_key("x" * 300, "y" * 255)
    with pytest.raises(ValueError, match="256 bytes"):
        AccessLogParser(KEY, app="y" * 256)


@pytest.mark.parametrize(
    ("request_field", "method", "path"),
    [
        ("GET /a HTTP/1.1", 0, "/a"),
        ("post /a HTTP/2", 3, "/a"),
        ("DELETE /a HTTP/2.0", 6, "/a"),
        ("PROPFIND /a HTTP/1.1", 7, "/a"),
        ("GET /a", 0, "/a"),
        ("GET /a b c HTTP/1.1", 0, "/a b c"),
        ("GET  HTTP/1.1", 0, "/"),
        ("GET http://host/a?b=c HTTP/1.1", 0, "/a"),
        ("OPTIONS * HTTP/1.0", 2, "*"),
        (r"GET /a\x20b HTTP/1.1", 0, "/a b"),
        (r"GET /a\"b\\c HTTP/1.1", 0, '/a"b\\c'),
        (r"GET /%5C\n HTTP/1.1", 0, "/%5C "),
        ("-", 7, "/"),
        ("", 7, "/"),
        (r"\x16\x03\x01\x02\x00\x01\x00", 7, "/"),
        (r"\x80w\x01\x03\x01\x00N", 7, "/"),
        ("quit", 7, "/"),
        ("\x00\x01\xff", 7, "/"),
        ("AVeryLongMethodNameIndeed /a HTTP/1.1", 7, "/"),
    ],
)
def test_requests(engine, request_field, method, path):
    """Requests of every kind, escapes and what is no request at all."""
    names = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "OTHER"]
    event, _ = one(COMMON.replace("GET /users/42 HTTP/1.0", request_field))
    assert event["method"] == method
    assert event["endpoint"] == engine.endpoint_key(path, names[method])


def test_suspicious():
    """Patterns are looked for in path, query and in requests that are none, not in the user agent."""
    for request in ("GET /?q=%3Cscript%3E HTTP/1.1", r"GET /a?q=\x22><script> HTTP/1.1", "${jndi:ldap://x}"):
        assert one(COMMON.replace("GET /users/42 HTTP/1.0", request))[0]["flags"] == 1
    assert one(COMMON.replace("GET /users/42 HTTP/1.0", r"\x16\x03\x01\x00"))[0]["flags"] == 0
    assert one(COMMON + ' "-" "<script>"')[0]["flags"] == 0


@pytest.mark.parametrize(
    ("more", "unit", "latency"),
    [
        ("", "auto", 0.0),
        (" 0.123", "auto", 123.0),
        (' "-" "-" "0.123"', "auto", 123.0),
        (" 12", "auto", 0.0),
        (" -", "auto", 0.0),
        (" 12", "s", 12_000.0),
        (" 12", "ms", 12.0),
        (" 12000", "us", 12.0),
        (' "10.0.0.1" rt=0.250 uct="0.001" urt="0.2"', "auto", 250.0),
        (' rt="1.5"', "auto", 1500.0),
        (" request_time=2", "auto", 2000.0),
        (" 0.1 0.2", "auto", 200.0),
        (" 1.2.3", "auto", 0.0),
        (" rt=-", "auto", 0.0),
        (" rt=", "auto", 0.0),
    ],
)
@pytest.mark.parametrize("line", [COMMON, COMBINED])
def test_latency(line, more, unit, latency):
    """The time a request took, where it stands at the end of the line or has a name."""
    assert one(line + more, unit=unit)[0]["latency_ms"] == pytest.approx(latency, rel=1e-6)


def test_dashes():
    """No size and no status are 0."""
    event, _ = one(COMMON.replace("200 2326", "- -"))
    assert (event["status"], event["response_bytes"]) == (0, 0.0)


BROKEN = {
    "hello": "no time in brackets",
    "\x00\x01\x02\xff": "no time in brackets",
    "1.2.3.4 - - [": "no time in brackets",
    COMMON.replace("]", ""): "no time in brackets",
    COMMON.replace("203.0.113.9 - ann ", " "): "no client address before the time",
    COMMON.replace("- ann ", ""): "no client address before the time",
    COMMON.replace("Oct", "Okt"): "the time in brackets is none",
    COMMON.replace("13:55:36", "24:55:36"): "the time in brackets is none",
    COMMON.replace("2000", "1969"): "the time in brackets is none",
    COMMON.replace("-0700", "PST12"): "the time in brackets is none",
    COMMON.replace('"', ""): "no request in quotes",
    COMMON.replace('0" 200 2326', "0"): "no request in quotes",
    COMMON.replace('"GET', "GET"): "no request in quotes",
    COMMON.replace(" 200 2326", ""): "no status of three digits",
    COMMON.replace(" 200 ", " 2x0 "): "no status of three digits",
    COMMON.replace(" 2326", ""): "no number of bytes",
    COMMON.replace("2326", "many"): "no number of bytes",
    COMMON.replace("2326", "23x"): "no number of bytes",
    COMMON.replace("2326", "1" * 30): "no number of bytes",
    COMMON.replace("/users", "/" + "x" * 70_000): "longer than 64 KiB",
}


@pytest.mark.parametrize("line", BROKEN)
def test_broken_lines(line):
    """A broken line is told with its number and reason, and the lines around it are read."""
    events, _, bad = read("\n".join([COMMON, "", line, COMMON]))
    assert len(events) == 2
    assert bad == [(3, BROKEN[line])]


def test_many_broken_lines():
    """All are counted by reason, the first ten told, and a new file starts anew."""
    parser = AccessLogParser(KEY)
    lines = b"junk\n" * 7 + COMMON.encode() + b"\n"
    told = [parser.parse(lines)[3] for _ in range(3)]
    assert [[number for number, _ in bad] for bad in told] == [[1, 2, 3, 4, 5, 6, 7], [9, 10, 11], []]
    assert (parser.lines, parser.broken) == (24, 21)
    assert parser.reasons == {"no time in brackets": 21}
    parser.new_file()
    assert (parser.lines, parser.broken, parser.reasons) == (0, 0, {})
    assert parser.parse(lines)[3][0] == (1, "no time in brackets")


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 65_536, 300_000])
def test_chunks(size):
    """However the file is cut into chunks, the events are the same, and no more is kept than one line."""
    lines = [COMBINED.replace("42", str(n)) for n in range(300 if size < 100 else 2000)]
    lines[5] = "broken"
    lines[9] = COMMON.replace("/users", "/" + "x" * 200_000)
    data = ("\n".join(lines) + "\n").encode()
    parser = AccessLogParser(KEY)
    kept, found, bad, most = b"", [], [], 0
    for at in range(0, len(data), size):
        kept += data[at : at + size]
        while True:
            events, _, consumed, broken = parser.parse(kept, at + size >= len(data))
            found += events["object_id"].tolist()
            bad += broken
            kept = kept[consumed:]
            if not consumed or not kept:
                break
        most = max(most, len(kept))
    assert found == [n for n in range(1, len(lines)) if n not in (5, 9)] or found[0] >> 63
    assert len(found) == len(lines) - 2
    assert bad == [(6, "no time in brackets"), (10, "longer than 64 KiB")]
    assert kept == b""
    assert most <= 65_536 + size


def test_no_line_end():
    """The last line counts without a line end only where nothing follows."""
    parser = AccessLogParser(KEY)
    events, names, consumed, bad = parser.parse(COMMON.encode())
    assert (len(events), names, consumed, bad, parser.lines) == (0, b"", 0, [], 0)
    events, _, consumed, _ = parser.parse(COMMON.encode(), True)
    assert (len(events), consumed) == (1, len(COMMON))


def test_more_than_fits():
    """Beyond 16,384 events a call the rest is left for the next."""
    data = (COMMON + "\n").encode() * 20_000
    parser = AccessLogParser(KEY)
    events, _, consumed, _ = parser.parse(data)
    assert (len(events), consumed) == (16_384, 16_384 * (len(COMMON) + 1))
    events, _, rest, _ = parser.parse(data[consumed:])
    assert (len(events), consumed + rest) == (20_000 - 16_384, len(data))


def test_more_names_than_fit():
    """Long names of many users are handed over in more calls, none is lost."""
    lines = [COMMON.replace("ann", f"{n:05d}" + "x" * 240) for n in range(6000)]
    events, names, _ = read("\n".join(lines), partner="user")
    assert [name_of(event, names)[1][:5] for event in events] == [f"{n:05d}" for n in range(6000)]


def test_into_the_engine():
    """Events and names go into an engine, which then knows the partners and the names of endpoints."""
    engine = Engine(capacity=64, hash_key=KEY)
    parser = AccessLogParser(KEY, partner="user", engine=engine)
    lines = [COMMON.replace("ann", user).replace("/users", "/kangaroos") for user in ("ann", "bob", "cat")]
    events, names, _, _ = parser.parse("\n".join(lines).encode(), True)
    assert engine.observe_batch(events, names) == 3
    assert {bytes(row["name"]) for row in engine.rows()} == {b"ann", b"bob", b"cat"}
    assert engine.endpoint_name(int(events["endpoint"][0])) == "GET /kangaroos/{id}"
    with pytest.raises(ValueError, match="another hash_key"):
        AccessLogParser(bytes(16), engine=engine)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partner": "host"}, "'client', 'user', 'vhost'"),
        ({"unit": "h"}, "'auto', 's', 'ms', 'us'"),
        ({"hash_key": b"short"}, "5 bytes"),
    ],
)
def test_bad_settings(settings, message):
    """What is not allowed is refused with what is."""
    with pytest.raises(ValueError, match=message):
        AccessLogParser(**{"hash_key": KEY, **settings})


TIMES = st.datetimes(datetime.datetime(1970, 1, 3), datetime.datetime(2099, 12, 30))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: datetime.timezone(datetime.timedelta(minutes=m)))


@given(st.lists(st.tuples(TIMES, ZONES), min_size=1, max_size=8))
def test_times(times):
    """The usual form of a time is what Python makes of it, whatever was read before."""
    when = [time.replace(microsecond=0, tzinfo=zone) for time, zone in times]
    near = [moment + datetime.timedelta(seconds=n) for moment in when for n in (0, 0, 1, 59)]
    written = [moment.strftime("%d/%b/%Y:%H:%M:%S %z").encode() for moment in near]
    assert log_times(written) == [int(moment.timestamp()) * SECOND for moment in near]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10/Oct/2000:13:55:36 -0700", AT),
        ("10/oct/2000:13:55:36 -0700", AT),
        ("10/Oct/2000:20:55:36 +0000", AT),
        ("10/Oct/2000:20:55:36", AT),
        ("10/Oct/2000:20:55:36.250 +0000", AT + SECOND // 4),
        ("2000-10-10T13:55:36-07:00", AT),
        ("2000-10-10T20:55:36Z", AT),
        ("2000-10-10 20:55:36.123456789 +0000", AT + 123_456_789),
        ("29/Feb/2000:00:00:60 +0000", 951782460 * SECOND),
        ("", None),
        ("10/Oct/2000:13:55:36 -07000", None),
        ("10/Oct/2000:13:55:36 0700", None),
        ("10/Oct/2000:13:55:61 +0000", None),
        ("00/Oct/2000:13:55:36 +0000", None),
        ("2000-13-10T13:55:36Z", None),
        ("01/Jan/1970:00:00:00 +0100", None),
        ("x" * 26, None),
    ],
)
def test_forms_of_time(text, ns):
    """Times with fractions and in ISO 8601 too; what is no time is none."""
    assert log_times([text.encode(), b"11/Nov/2011:11:11:11 +0000", text.encode()])[::2] == [ns, ns]


@given(st.binary(max_size=2000), st.integers(1, 400))
@example(b'1 - - [10/Oct/2000:13:55:36 -0700] "\\', 400)
@example(b'1 - - [10/Oct/2000:13:55:36 -0700] "GET /\\x HTTP/1.1" 200 1 "', 400)
@example(b"[" * 100, 400)
def test_any_bytes(data, cut):
    """Any bytes are lines, good or broken, and all are counted."""
    parser = AccessLogParser(KEY)
    taken, _, consumed, _ = parser.parse(data[:cut])
    count = len(taken)
    for _ in range(2):
        taken, _, more, _ = parser.parse(data[consumed:], True)
        consumed += more
        count += len(taken)
    assert consumed == len(data)
    lines = data.split(b"\n")
    assert parser.lines == len(lines) - (lines[-1] == b"")
    assert count + parser.broken <= parser.lines


@given(st.text(max_size=40), st.integers(0, 999), st.integers(0, 10**12))
def test_any_fields(path, status, size):
    """A line with anything for its path, written as servers write it, is read."""
    escaped = "".join(
        c if " " < c < "\x7f" and c not in '"\\' else "".join(f"\\x{b:02x}" for b in c.encode("utf-8", "replace"))
        for c in path
    )
    event, _ = one(COMMON.replace("/users/42", "/" + escaped).replace("200 2326", f"{status:03d} {size}"))
    assert (event["status"], event["response_bytes"]) == (status, np.float32(size))


def test_real_log(traffic):
    """All 10,000 lines of a real combined log are read, as a regular expression reads them."""
    data = gzip.decompress(traffic("elastic-apache/apache_logs.gz").read_bytes())
    events, names, bad = read(data, show_clients=True)
    form = re.compile(r'(\S+) \S+ \S+ \[([^]]+)\] "(\S+) (.*?) HTTP/[\d.]+" (\d{3}) (\d+|-)')
    fields = [form.match(line).groups() for line in data.decode("latin-1").splitlines()]
    when = [datetime.datetime.strptime(field[1], "%d/%b/%Y:%H:%M:%S %z").timestamp() for field in fields]
    assert bad == []
    assert len(events) == len(fields) == 10_000
    assert [name_of(event, names)[1] for event in events] == [field[0] for field in fields]
    assert events["timestamp"].tolist() == [int(t) * SECOND for t in when]
    assert events["status"].tolist() == [int(field[4]) for field in fields]
    assert events["response_bytes"].tolist() == [0.0 if field[5] == "-" else np.float32(field[5]) for field in fields]
    methods = ["GET", "HEAD", "OPTIONS", "POST"]
    assert [methods[event["method"]] for event in events] == [field[2] for field in fields]
