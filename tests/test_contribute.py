"""The script in Redis that keeps what hosts contribute: sums that come out the same whatever is lost, repeated or late."""

import msgpack
import numpy as np
import pytest

from ztcore.ledger import SUMS
from ztmon.store.keys import Keys
from ztmon.store.link import Link
from ztmon.store.sharing import _digits, _spread

from .fleet import prefix


def contribute(link, key, host, boot, seq, events, at=1000, born=1, parts=(0, 1.0, 1.0, 1.0, 1.0)):
    packed = msgpack.packb([1, boot, seq, born, events, at * 1_000_000, list(parts)], use_single_float=True)
    answer = link.run("contribute", [key], [host, packed, 100, _digits(key.encode() + host.encode() + packed)])
    return msgpack.unpackb(answer[8:])


def test_a_write_that_comes_twice_late_or_never_changes_no_sum(redis_server):
    """Absolute contributions: the others' sum after any of it is what the last ones say."""
    link, key = Link(redis_server.url), Keys(prefix()).partner("1" * 16, "parts")
    contribute(link, key, "a", 1, 1, 10)
    contribute(link, key, "a", 1, 2, 20, parts=(0, 2.0, 2.0, 2.0, 2.0))
    contribute(link, key, "a", 1, 2, 20, parts=(0, 2.0, 2.0, 2.0, 2.0))     # again
    contribute(link, key, "a", 1, 1, 10)                               # late
    contribute(link, key, "a", 1, 5, 50, parts=(0, 5.0, 5.0, 5.0, 5.0))     # two were lost in between
    _, elsewhere, mine, _, flat = contribute(link, key, "b", 9, 1, 7)
    assert (elsewhere, mine, flat) == (50, 7, [0, 5.0, 5.0, 5.0, 5.0])
    assert contribute(link, key, "a", 1, 6, 50, parts=(0, 5.0, 5.0, 5.0, 5.0))[1] == 7


def test_a_row_that_began_anew_adds_to_the_one_before(redis_server):
    """A host whose table lost a partner, or went back to an older snapshot, counts on and nothing twice."""
    link, key = Link(redis_server.url), Keys(prefix()).partner("1" * 16, "parts")
    contribute(link, key, "a", 1, 1, 100, born=1)
    assert contribute(link, key, "a", 1, 2, 5, born=2)[2] == 105       # evicted and back
    assert contribute(link, key, "a", 1, 3, 9, born=2)[2] == 109
    assert contribute(link, key, "a", 2, 1, 6, born=2)[2] == 109       # from a snapshot that is older by 3 calls
    assert contribute(link, key, "a", 2, 2, 16, born=2)[2] == 119
    assert contribute(link, key, "a", 2, 3, 17, born=1)[2] == 120      # took over the fleet's knowledge, which is older


def test_sums_decay_to_one_time(redis_server):
    """What was contributed a minute ago is half of it in the first half-life; calls have one half-life more than hits."""
    link, key = Link(redis_server.url), Keys(prefix()).partner("1" * 16, "parts")
    contribute(link, key, "a", 1, 1, 1, at=1000, parts=(0, 8.0, 8.0, 8.0, 8.0, 5, 4.0, 4.0, 4.0))
    at, _, _, _, flat = contribute(link, key, "b", 1, 1, 1, at=1060)
    assert at == 1_060_000_000
    found = np.zeros(1, SUMS)[0]
    _spread(flat, found)
    assert found["whole"][0] == pytest.approx([4.0, 8.0 * 0.5**0.1, 8.0 * 0.5 ** (1 / 90), 8.0 * 0.5 ** (1 / 30)])
    assert found["hits"][3] == pytest.approx([2.0, 4.0 * 0.5**0.1, 4.0 * 0.5 ** (1 / 90)])
    assert np.count_nonzero(found["whole"]) + np.count_nonzero(found["hits"]) == 7


def test_what_a_process_before_contributed_stays_in_the_sum(redis_server):
    """A host starts again, twice, and contributes from nothing: for the others its calls of before are there, and decay; it is
    not told of them as others'."""
    link, key = Link(redis_server.url), Keys(prefix()).partner("1" * 16, "parts")
    contribute(link, key, "a", 1, 1, 8, at=1000, parts=(0, 8.0, 8.0, 8.0, 8.0))
    assert contribute(link, key, "a", 2, 1, 8, at=1060, parts=())[4] == []
    assert contribute(link, key, "a", 2, 2, 9, at=1060, parts=(0, 1.0, 1.0, 1.0, 1.0))[4] == []
    assert contribute(link, key, "b", 1, 1, 1, at=1060, parts=())[4] == pytest.approx(
        [0, 5.0, *(1 + 8 * 0.5 ** (1 / n) for n in (10, 90, 30))])
    assert contribute(link, key, "a", 3, 1, 9, at=1120, parts=())[4] == []
    assert contribute(link, key, "b", 1, 2, 1, at=1120, parts=())[4] == pytest.approx(
        [0, 2.5, *(0.5 ** (1 / n) + 8 * 0.5 ** (2 / n) for n in (10, 90, 30))])


def test_hosts_that_are_gone_are_left_out(redis_server):
    """Their fields go when a new host comes, once they had no call for as long as the key lives (100 s here); their calls stay
    counted, and one that comes back after all is not counted twice."""
    link, key = Link(redis_server.url), Keys(prefix()).partner("1" * 16, "parts")
    contribute(link, key, "a", 1, 1, 10, at=1000)
    contribute(link, key, "b", 1, 1, 20, at=1000)
    contribute(link, key, "b", 1, 2, 30, at=1200, parts=())
    assert contribute(link, key, "c", 1, 1, 5, at=1200, born=1_150_000_000)[1:3] == [40, 5]
    assert sorted(link.call("HKEYS", key)) == [b"h:b", b"h:c", b"sum"]
    assert contribute(link, key, "a", 2, 1, 12, at=1201)[1:3] == [33, 12]       # of one row with the ten from before
    assert contribute(link, key, "a", 2, 2, 17, at=1202)[1:3] == [33, 17]
    assert contribute(link, key, "d", 1, 1, 3, at=1203, born=1_203_000_000)[1:3] == [50, 3]


def test_what_is_not_what_was_sent_is_refused(redis_server):
    """A byte that changed on the way is noticed before it is stored."""
    link, key = Link(redis_server.url), Keys(prefix()).partner("1" * 16, "parts")
    packed = msgpack.packb([1, 1, 1, 1, 10, 1, []])
    with pytest.raises(Exception, match="ZTDAMAGED"):
        link.run("contribute", [key], ["a", packed, 100, _digits(b"something else")])
