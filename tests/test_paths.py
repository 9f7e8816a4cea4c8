"""Raw paths and route templates become endpoints; ids become one placeholder."""

import csv
import gzip
import re
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ztcore.text import method_index, path, siphash, template

KEY = bytes(range(16))
HAS_ID, SUSPICIOUS, TEMPLATE, LONG = 1, 2, 4, 8
HASHED = 1 << 63

IDS = """
0 1 42 007 9876543210 12345678901234567890 -5 1,2,3 12:30 1-2 48.137 +4917112345678
2024-01-31 20240131 2024-01 31.01.2024 2024-01-31T12:00:00Z
550e8400-e29b-41d4-a716-446655440000 550E8400-E29B-41D4-A716-446655440000 550e8400e29b41d4a716446655440000
deadbeef1 5f1d7a84c2b94e6f 0x1f3a9c01 d41d8cd98f00b204e9800998ecf8427e
4111111111111111 4111-1111-1111-1111 4111%201111%201111%201111 5500+0000+0000+0004 3782%2D822463%2D10005
ann@example.com ann%40example.com ann.lee+tag@example.co.uk @ann
ord_8f3k2 INV-2024-0012 cus_NffrFeUfNV2Hib user12345 acct-998877 DE89370400440532013000
pi_3MtwBwLkdIwHu7ix28a3tqPa
eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.dBjftJeZ4CVPmB92K27uhbUJU1p1rwW1gFWFOEjXk
QmFzZTY0IHRleHQgaXMgaGVyZQ== dGhpcyBpcyBhIHRlc3Q1 mfrggzdfmztwq2lknnwg23tpob2wyz3b
42.json 550e8400-e29b-41d4-a716-446655440000.pdf statement-00012.pdf invoice-20240131.pdf
9b74c9897bac770ffc029102a200c5de.js
"""
WORDS = """
users Users api orders-items order_items user.profile index.html style.css main.min.js logo-2.gif logo@2x.png
icon@3x.png song.mp3 clip.mp4 jquery-3.6.0.min.js bootstrap.min.css archive.tar.gz top-10 a1 b2b s3 ec2 oauth2
3ds 3ds2 2fa ipv6 http2 covid19 v1 v2 V3 v2.1 v1.0.3 v2024 v1beta1 1.1 2.0 iso20022 ISO-20022 pain.001
pain.001.001.09 camt.053 pacs.008 sha256 utf-8 rfc7807 facade face cafe deadbeef decade .well-known robots.txt
getTransactionHistoryByAccountNumber how-to-use-2-factor-authentication pre-authorization payments:batch
batchGet caf%C3%A9 a%20b%20c a%2Fb @ ~ * é zażółć übersicht
"""
PARAMETERS = """
{id} {user_id} {path:path} {id:[0-9]{3}/x} {} <id> <int:id> <uuid:id> <regex('[a-z/]+'):x> :id :user_id {id}.json
user-{id}
"""


def endpoint(text, method=0, key=KEY):
    return path(key, text.encode("utf-8", "surrogatepass"), method)[0]


@pytest.mark.parametrize("segment", IDS.split())
def test_ids(segment):
    """Numbers, dates, UUIDs, hex, cards, addresses, tokens and mixed ids are the placeholder."""
    assert template(f"/a/{segment}/b".encode()) == b"/a/\x01/b"
    found, object_id, flags = path(KEY, f"/a/{segment}/b".encode())
    assert found == endpoint("/a/{id}/b")
    assert object_id != 0
    assert flags & (HAS_ID | TEMPLATE | LONG) == HAS_ID


@pytest.mark.parametrize("segment", WORDS.split())
def test_words(segment):
    """Words, versions, standards, file names and codes with a digit or two stay what they are."""
    assert template(f"/a/{segment}/b".encode()) not in (b"/a/\x01/b", b"/a/b")
    assert path(KEY, f"/a/{segment}/b".encode())[1] == 0
    assert endpoint(f"/a/{segment}/b") != endpoint("/a/{id}/b")


@pytest.mark.parametrize("segment", PARAMETERS.split())
def test_parameters_of_routes(segment):
    """A parameter in the style of any framework is the placeholder, without an id of an object."""
    assert path(KEY, f"/users/{segment}".encode()) == (endpoint("/users/42"), 0, TEMPLATE)
    assert path(KEY, f"/users/{segment}/orders".encode()) == (endpoint("/users/42/orders"), 0, TEMPLATE)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("", "/"),
        ("/users/", "/users"),
        ("//users///42//", "/users/42"),
        ("users/42", "/users/42"),
        ("/users/42?page=2", "/users/42"),
        ("/users/42#top", "/users/42"),
        ("/users?next=/a/b/c", "/users"),
        ("/?x=1", "/"),
        ("?x=1", "/"),
        ("http://host/users/42", "/users/42"),
        ("HTTPS://user:secret@host:8443/users/42?x#y", "/users/42"),
        ("http://host", "/"),
        ("http://host?x", "/"),
        ("/%75sers/%34%32", "/users/42"),
        ("/a%2db%2Ec%5Fd%7Ee", "/a-b.c_d~e"),
        ("/a%2fb", "/a%2Fb"),
        ("/caf%c3%a9", "/café"),
        ("/users;v=1/42;x", "/users/42"),
        ("/;x/users", "/users"),
        ("/100%", "/100%25"),
        ("/a%zzb%4", "/a%25zzb%254"),
    ],
)
def test_the_same_endpoint(text, plain):
    """What does not tell endpoints apart is dropped: host, query, slashes too many, needless escapes."""
    assert endpoint(text) == endpoint(plain)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/users", "/Users"),
        ("/users", "/user"),
        ("/users/orders", "/users"),
        ("/users/42", "/users"),
        ("/a/b", "/a%2Fb"),
        ("/a/b", "/ab"),
        ("/a+b", "/a%20b"),
        ("/a", "/"),
        ("/users/{id}/x", "/users/x/{id}"),
    ],
)
def test_other_endpoints(one, other):
    """Case, words, their number and their order do tell endpoints apart."""
    assert endpoint(one) != endpoint(other)


def test_methods():
    """Each method has a number, in any case, and makes another endpoint of the same path."""
    names = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
    for spell in (str, str.lower, str.title):
        assert [method_index(spell(name).encode()) for name in names] == list(range(7))
    assert {
        method_index(other) for other in (b"", b"G", b"TRACE", b"QUERY", b"PROPFIND", b"GEX", b"\x00\xff", b"DELETES")
    } == {7}
    for text in ("/", "/users", "/users/42", "/users/{id}"):
        assert len({endpoint(text, method) for method in range(8)}) == 8
    assert endpoint("/users/42", 3) == endpoint("/users/{id}", 3)


def test_object_ids():
    """A decimal id below 2^62 is the number itself; others are hashes with the top bit; the first counts."""

    def object_id(text):
        return path(KEY, text)[1]

    assert [object_id(b"/a/%d" % n) for n in (1, 42, 99999999, 100000000)] == [1, 42, 99999999, 100000000]
    assert object_id(b"/a/007") == 7
    assert object_id(b"/a/%d/b/9" % (2**62 - 1)) == 2**62 - 1
    for odd in (b"0", b"%d" % 2**62, b"9" * 19, b"1" * 40, b"550e8400-e29b-41d4-a716-446655440000"):
        assert object_id(b"/a/" + odd) == siphash(KEY, odd) | HASHED
    assert object_id(b"/a/%34%32") == 42
    assert object_id(b"/a/7/b/8") == 7
    assert object_id(b"/a/{id}/b/8") == 8
    assert object_id(b"/a/b") == 0


def one_byte_changed(text):
    yield text
    for at in (0, len(text) // 2, len(text) - 1):
        yield text[:at] + b"y" + text[at + 1 :]


def test_long_segments():
    """A segment of more than 240 bytes is an id, whatever is in it; its hash is of all of it."""
    for size in (241, 1000, 10_000):
        text = b"/a/" + b"x" * size + b"/b"
        assert template(text) == b"/a/\x01/b"
        ids = {path(KEY, b"/a/" + bytes(changed) + b"/b")[1] for changed in one_byte_changed(b"x" * size)}
        assert len(ids) == 4
    assert template(b"/a/" + b"x" * 240) == b"/a/" + b"x" * 240


def test_many_segments():
    """However many segments there are, the first and the last one count."""
    for count in (12, 100, 3000):
        words = ["ab"] * count
        whole = endpoint("/" + "/".join(words))
        for changed in (0, count // 2, count - 1):
            other = [*words[:changed], "zz", *words[changed + 1 :]]
            assert endpoint("/" + "/".join(other)) != whole
    assert path(KEY, b"/ab" * 3000)[2] == LONG
    assert path(KEY, b"/ab" * 100)[2] == 0


def test_what_an_attacker_can_type():
    """Unclosed, nested and countless brackets are bytes like others, and cost no more."""
    assert path(KEY, b"/{" * 5000)[2] & TEMPLATE == 0
    assert path(KEY, b"/a/" + b"{" * 1000)[1] == path(KEY, b"/a/" + b"{" * 1000)[1]
    assert template(b"/{a/b") == b"/{a/b"
    assert template(b"/<a") == b"/<a"
    assert template(b"/a/{b}{c}<d>") == b"/a/\x01"


def test_key():
    """Another key, other endpoints; neither the endpoint nor its upper 16 bits are ever 0."""
    assert endpoint("/users") != endpoint("/users", key=bytes(16))
    for n in range(70_000):
        assert path(KEY, b"/w" + bytes([97 + n % 26, 97 + n // 26 % 26, 97 + n // 676 % 26, 97 + n // 17576]))[0] >> 48


PIECES = """
/ // ? # % %2 %2f %41 %00 ; { } {id} < > <int:id> : :id .. . @ users v1 42 é http:// x.js aB3aB3aB3aB3aB3aB3
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 999999999999999999999999999999999999
"""
PATHS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(PIECES.split()), max_size=40).map(lambda pieces: "".join(pieces).encode()),
    st.text(max_size=100).map(lambda s: s.encode("utf-8", "surrogatepass")),
)


@given(PATHS)
@example(b"/" + b"a" * 63)
@example(b"/" + b"a" * 64)
@example(b"/a" * 32)
@example(b"\xed\xa0\x80")
def test_any_bytes(text):
    """Any bytes make an endpoint: the hash of the template, which is its own template."""
    found, object_id, flags = path(KEY, text)
    written = template(text)
    assert path(KEY, text) == (found, object_id, flags)
    assert bool(flags & HAS_ID) == bool(object_id)
    if not flags & LONG:
        assert found == siphash(KEY, written) | (0 if siphash(KEY, written) >> 48 else 1 << 48)
        assert not written or written.startswith(b"/")
        assert b"?" not in written
        assert b"#" not in written
        assert b"//" not in written
        assert not written.endswith(b"/")


@given(PATHS)
def test_stable(text):
    """A template taken for a path is the same template again."""
    assume(not path(KEY, text)[2] & LONG and b"\x01" not in text)
    written = template(text).replace(b"\x01", b"{id}")
    assume(template(written).count(b"\x01") == template(text).count(b"\x01"))
    assert template(written) == template(text)


@given(st.lists(st.text(alphabet="avXe-_.019", min_size=1, max_size=12), min_size=1, max_size=4))
@example(["42.json"])
@example(["v2", "a1", "1.1"])
@example(["a", "", ""])
@example(["a" * 20, "b" * 20, "c" * 20])
def test_short_and_long_way(segments):
    """Paths that are read the quick way make the endpoint that the thorough way makes."""
    plain = "/" + "/".join(segments)
    thorough = plain + ";x"
    assert endpoint(plain) == endpoint(thorough)
    assert path(KEY, plain.encode())[1] == path(KEY, thorough.encode())[1]


@given(st.text(alphabet=st.characters(categories=["L", "N"], include_characters="-._~"), min_size=1, max_size=30))
def test_escapes_that_need_not_be(segment):
    """A segment is the same with all its bytes percent-encoded."""
    raw = segment.encode()
    assert endpoint("/a/" + segment) == endpoint("/a/" + "".join(f"%{byte:02x}" for byte in raw))
    assert endpoint("/a/" + segment) == endpoint("/a/" + quote(segment))


@given(st.integers(0, 2**70), st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=15))
def test_numbers_never_matter(number, word):
    """Whatever number stands in a path, the endpoint is the same."""
    assert endpoint(f"/{word}/{number}") == endpoint(f"/{word}/{{id}}")


def templates_of(paths):
    return len({template(text) for text in paths}), len(set(paths))


def test_real_web_log(traffic):
    """Requests of a real web log: templates are fewer than paths, and none is lost to an error."""
    with gzip.open(traffic("elastic-apache/apache_logs.gz")) as lines:
        paths = [match[1] for line in lines if (match := re.search(rb'"\S+ (.*?) HTTP/', line))]
    templates, raw = templates_of(paths)
    assert len(paths) == 10_000
    assert templates < 0.85 * raw


def test_real_paths(traffic):
    """The same of 30,969 real paths, most of them of files with numbers in their names."""
    with gzip.open(traffic("nasa-http-day/nasa_19950801.tsv.gz"), "rt", encoding="latin-1") as lines:
        paths = [row["url"].encode("latin-1") for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    templates, raw = templates_of(paths)
    assert templates < 0.75 * raw
