"""What endpoints are called: words of three partners or of a list, and nothing else."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.text import NameTable, path

KEY = bytes(range(16))
ANN, BOB, CAT, DAN = (0x1111_0000_0000_0001 * n for n in (1, 3, 5, 7))


@pytest.fixture
def names():
    return NameTable(KEY)


def shown(names, text, *partners, method=0):
    """How an endpoint is called after these partners met it."""
    for partner in partners:
        endpoint, _ = names.learn(text, partner, method)
    return names.text(endpoint).decode()


def partners(count, seed=1):
    source = random.Random(seed)
    return [source.getrandbits(64) | 1 << 40 for _ in range(count)]


def test_three_partners(names):
    """A word is shown from the third partner on; the same one three times is one."""
    assert shown(names, b"/api/kangaroos/42", ANN) == "GET /api/{*}/{id}"
    assert shown(names, b"/api/kangaroos/43", ANN, ANN, ANN) == "GET /api/{*}/{id}"
    assert shown(names, b"/api/kangaroos/44", BOB, ANN, BOB) == "GET /api/{*}/{id}"
    assert shown(names, b"/api/kangaroos/45", CAT) == "GET /api/kangaroos/{id}"


def test_words_are_counted_one_by_one(names):
    """A word that three partners use in different paths is shown in all of them."""
    assert shown(names, b"/kangaroos", ANN) == "GET /{*}"
    assert shown(names, b"/v1/kangaroos/42", BOB) == "GET /v1/{*}/{id}"
    assert shown(names, b"/kangaroos/wombats", CAT) == "GET /kangaroos/{*}"
    assert shown(names, b"/v1/kangaroos/42", BOB) == "GET /v1/kangaroos/{id}"


def test_text_is_not_there_before():
    """Until then the word is nowhere in memory, not even in part."""
    names = NameTable(KEY)
    shown(names, b"/api/kangaroos/42?note=bandicoots", ANN, BOB)
    assert b"kang" not in names.block
    assert b"garoo" not in names.block
    shown(names, b"/api/kangaroos/42", CAT)
    assert b"kangaroos" in names.block
    assert b"bandi" not in names.block
    assert b"42" not in names.block


def test_ids_never_are(names):
    """Ids are {id} however many partners use them."""
    for text in (b"/users/42", b"/users/ann@example.com", b"/users/4111-1111-1111-1111", b"/users/{id}"):
        assert shown(names, text, ANN, BOB, CAT, DAN) == "GET /users/{id}"
    assert b"ann@" not in names.block


@pytest.mark.parametrize(
    "segment", [b"x" * 33, b"a<b", b'a"b', b"a'b", b"a\x1b[31mb", b"a b", b"\x00", b"a&b", b"a|b", b"a`b"]
)
def test_unfit_for_display(names, segment):
    """Long segments, and those with bytes that mean something to a page or terminal, never are."""
    assert shown(names, b"/api/" + segment, *partners(10)) == "GET /api/{*}"
    assert not names.know(segment)


def test_longest_word(names):
    """Thirty-two bytes are shown in full; letters beyond ASCII are too."""
    assert shown(names, b"/" + b"x" * 32, ANN, BOB, CAT) == "GET /" + "x" * 32
    assert shown(names, "/überweisungen".encode(), ANN, BOB, CAT) == "GET /überweisungen"


def test_typed_braces_make_nothing_known(names):
    """A path with parameters of a route in it is trusted no more than another."""
    assert shown(names, b"/kangaroos/{id}", ANN, BOB) == "GET /{*}/{id}"


def test_list(names):
    """What the application knows is shown from the first use, even if it was met before."""
    endpoint, _ = names.learn(b"/kangaroos/wombats/42", ANN)
    assert names.know(b"kangaroos")
    assert names.text(endpoint) == b"GET /kangaroos/{*}/{id}"
    assert names.know(b"/v1/wombats/{id}/emus")
    assert names.text(endpoint) == b"GET /kangaroos/wombats/{id}"
    assert shown(names, b"/emus", ANN) == "GET /emus"


def test_ordinary_words(names):
    """With a single partner ordinary words are readable."""
    for text in ("/api/v1/users/{id}/orders", "/login", "/v2/payments/{id}/refunds", "/healthz", "/favicon.ico"):
        assert shown(names, text.encode(), ANN) == "GET " + text


def test_methods_and_shapes(names):
    """Method, root and what is too long for a name."""
    assert shown(names, b"/", ANN) == "GET /"
    every = [shown(names, b"/users", ANN, method=method).split()[0] for method in range(8)]
    assert every == ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "OTHER"]
    assert shown(names, b"/a" * 11, ANN) == "GET " + "/{*}" * 11
    assert shown(names, b"/users" * 10 + b"/a/users", ANN) == "GET " + "/users" * 10 + "/{*}"
    assert shown(names, b"/users" * 1000, ANN) == "{*}"


def test_unknown(names):
    """An endpoint that nobody learned has no name."""
    assert names.text(123) == b"{*}"
    names.learn(b"/users", ANN)
    assert names.text(path(KEY, b"/orders")[0]) == b"{*}"


def test_upper_bits(names):
    """An endpoint is found by its upper 24 bits, which is what rows keep, where the lower ones are 0."""
    endpoint, _ = names.learn(b"/users", ANN)
    assert names.text(endpoint >> 40 << 40) == b"GET /users"
    assert names.text(endpoint ^ 1) == b"{*}"


def test_little_room(names):
    """A name is cut where there is no more room for it."""
    endpoint, _ = names.learn(b"/users/42/orders", ANN)
    whole = names.text(endpoint)
    assert [names.text(endpoint, size) for size in range(len(whole) + 2)] == [
        whole[:size] for size in range(len(whole) + 2)
    ]


def test_settled(names):
    """Learning says when there is nothing more to learn."""
    assert names.learn(b"/api/users/42", ANN)[1]
    assert [names.learn(b"/api/emus", partner)[1] for partner in (ANN, BOB, CAT, DAN)] == [False, False, False, True]
    assert names.learn(b"/api/" + b"x" * 33, ANN)[1]


def test_flood_of_one_partner():
    """One partner's made-up paths push out nobody's names, and memory stays what it was."""
    names = NameTable(KEY, 2048)
    size = len(names.block)
    names.learn(b"/", 1)
    words = [b"/api/real%s/users" % (bytes([97 + n]) * 3) for n in range(16)]
    before = [shown(names, text, ANN, BOB, CAT) for text in words]
    half_known = [b"/half/%s" % (bytes([113 + n]) * 3) for n in range(10)]
    for text in half_known:
        shown(names, text, ANN, BOB)
    for n in range(50_000):
        names.learn(b"/made/up-%s" % str(n).translate(str.maketrans("0123456789", "abcdefghij")).encode(), DAN)
    assert before == [f"GET {text.decode()}" for text in words]
    assert [names.text(path(KEY, text)[0]).decode() for text in words] == before
    assert sum(shown(names, text, CAT) == "GET " + text.decode() for text in half_known) >= 8
    assert len(names.block) == size


def test_flood_of_many_partners():
    """Made-up paths of a hundred thousand made-up partners leave names that many use in place."""
    names = NameTable(KEY, 2048)
    crowd = partners(40)
    words = [f"/animals/{a}{b}".encode() for a in ("cat", "dog", "emu", "fox") for b in ("s", "let", "like", "hood")]
    real = {text: names.learn(text, partner)[0] for text in words for partner in crowd}
    before = {text: names.text(endpoint) for text, endpoint in real.items()}
    assert set(before.values()) == {b"GET " + text for text in words}
    letters = str.maketrans("0123456789", "klmnopqrst")
    for n, partner in enumerate(partners(100_000, seed=2)):
        names.learn(b"/fake/" + str(n // 5).translate(letters).encode(), partner)
    kept = sum(names.text(endpoint) == before[text] for text, endpoint in real.items())
    assert kept >= len(words) - 1


def test_full_of_known_words():
    """What finds no room is not shown; what was there stays."""
    names = NameTable(KEY, 8)
    results = [names.know(b"word-%s" % bytes([97 + n, 97 + n])) for n in range(26)]
    assert not any(results)
    assert shown(names, b"/word-aa", ANN, BOB, CAT) == "GET /{*}"


@given(st.lists(st.tuples(st.binary(max_size=80), st.integers(1, 2**64 - 1)), max_size=30))
def test_any_bytes(calls):
    """Whatever is learned, names are printable, and no unknown word of one partner is among them."""
    names = NameTable(KEY, 16)
    for text, partner in calls:
        name = names.text(names.learn(text, partner)[0])
        assert all(byte >= 0x20 and byte != 0x7F for byte in name)
        assert not set(b"<>\"'&`\\") & set(name)
    only = calls[:1]
    for text, partner in only:
        fresh = NameTable(KEY, 16)
        name = fresh.text(fresh.learn(b"/zzyzx/" + text, partner)[0])
        assert b"zzyzx" not in name


def test_readers_while_writing():
    """A reader in another thread sees a whole name or none, never half of one."""
    names = NameTable(KEY, 64)
    endpoint, _ = names.learn(b"/users/42/orders", ANN)
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            names.learn(b"/x" + bytes([97 + n % 26, 97 + n // 26 % 26]), ANN + n * 2**40)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = {names.text(endpoint) for _ in range(20_000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"GET /users/{id}/orders", b"{*}"}
