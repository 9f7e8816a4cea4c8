"""One partner at several hosts: each sees the whole, nobody counts anything twice, silence is no change."""

import itertools

import numpy as np
import pytest

from ztcore.engine import Engine
from ztcore.ledger import ACCOUNT_BYTES, OTHERS, Ledger

from .hosts import KEY, Exchange, calls, decayed, guessing

START = 1_750_000_000
HOUR = 3600.0
ENDPOINT_FOCUS = 17


def run(hosts, events, who, whole=None, every=1.0, exchange=lambda second: True):
    """Send each event to its host, and to `whole`; exchange every so many seconds of their time."""
    seconds = events["timestamp"] * 1e-9
    edges = np.searchsorted(seconds, np.arange(seconds[0], seconds[-1] + 2 * every, every))
    for before, end in itertools.pairwise(edges):
        if before == end:
            continue
        if whole is not None:
            whole.observe_batch(np.ascontiguousarray(events[before:end]))
        for host, engine in enumerate(hosts.engines):
            part = np.ascontiguousarray(events[before:end][who[before:end] == host])
            if len(part):
                engine.observe_batch(part)
        if exchange(seconds[end - 1]):
            hosts.turn(int(events["timestamp"][end - 1]))


def usual(rng, hours, per_second, since=START):
    """A day and more of calls of which two in a hundred fail."""
    return since + np.sort(rng.uniform(0, hours * HOUR, int(hours * HOUR * per_second)))


def worst(hosts):
    """The highest level a partner's score reached at each host."""
    return [max((int(t["to_level"]) for t in engine.transitions()), default=0) for engine in hosts.engines]


def test_every_host_sees_the_whole():
    """Calls, bytes, hits, the usual rate and the usual shares are at each of three hosts those of one that gets it all."""
    rng = np.random.default_rng(1)
    hosts, whole = Exchange(3), Engine(64, KEY)
    events = calls(whole, usual(rng, 26, 0.2), rng, (200, 401), (0.98, 0.02))
    run(hosts, events, rng.integers(0, 3, len(events)), whole)
    at, wanted = int(events["timestamp"][-1]), whole.row("acme")
    hosts.turn(at)
    for engine, ledger in zip(hosts.engines, hosts.ledgers, strict=True):
        found = engine.row("acme")
        assert int(found["events"]) + ledger.elsewhere(int(found["key"])) == len(events)
        for name in ("trials", "seen", "bytes_out"):
            np.testing.assert_allclose(decayed(found, name, at), decayed(wanted, name, at), rtol=1e-3)
        np.testing.assert_allclose(decayed(found, "counts", at)[0], decayed(wanted, "counts", at)[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(decayed(found, "expected", at), decayed(wanted, "expected", at), rtol=0.02)
        assert found["rate"] == pytest.approx(wanted["rate"], rel=0.03)
        assert found["shares"]["trials"] == pytest.approx(wanted["shares"]["trials"], rel=0.01)
        assert found["shares"]["hits"][0] == pytest.approx(wanted["shares"]["hits"][0], rel=0.02)


def attacked(hosts, rng, exchange):
    """A day of ordinary calls, then a few minutes of guessing at log-ins, spread evenly."""
    quiet = calls(hosts.engines[0], usual(rng, 26, 0.065), rng)
    quiet["status"][::50] = 401
    run(hosts, quiet, np.arange(len(quiet)) % len(hosts.engines), every=60.0, exchange=exchange)
    for engine in hosts.engines:
        engine.transitions()
    since = quiet["timestamp"][-1] * 1e-9
    times, statuses = guessing(rng, since)
    bad = calls(hosts.engines[0], times, rng)
    bad["status"] = statuses
    run(hosts, bad, np.arange(len(bad)) % len(hosts.engines), every=0.25, exchange=exchange)
    return worst(hosts)


@pytest.mark.parametrize("seed", range(3))
def test_an_attack_that_no_host_sees_alone_is_stopped_on_all(seed):
    """Spread over three hosts: no level anywhere without sharing, at least throttle on all three with it."""
    assert attacked(Exchange(3), np.random.default_rng(seed), lambda second: False) == [0, 0, 0]
    assert min(attacked(Exchange(3), np.random.default_rng(seed), lambda second: True)) >= 2


def ramped(hosts, rng, exchange):
    """Days of a call every three minutes, then within two and a half hours twelve times as many, spread evenly."""
    rate, hours, peak = 0.006, 2.5, 12.0
    n, more = int(60 * HOUR * rate), int(rate * (peak - 1) * hours * HOUR / np.log(peak))
    quiet = START + (np.arange(n) + rng.random(n)) / rate
    rising = START + 60 * HOUR + np.log1p((np.arange(more) + rng.random(more)) / more * (peak - 1)) * hours * HOUR / np.log(peak)
    for times, every in ((quiet, 300.0), (rising, 30.0)):
        events = calls(hosts.engines[0], times, rng)
        run(hosts, events, np.arange(len(events)) % len(hosts.engines), every=every, exchange=exchange)
    reasons = {reason.signal for engine in hosts.engines for reason in engine.reasons(engine.row("acme"))}
    return worst(hosts), reasons


@pytest.mark.parametrize("seed", range(3))
def test_a_ramp_that_is_too_small_on_each_host_is_found_on_all(seed):
    """Spread over three hosts: no level anywhere without sharing, at least throttle on all three with it."""
    assert ramped(Exchange(3), np.random.default_rng(seed), lambda second: False)[0] == [0, 0, 0]
    levels, reasons = ramped(Exchange(3), np.random.default_rng(seed), lambda second: True)
    assert min(levels) >= 2
    assert "rate_ramp" in reasons


def focus(hosts, days, rng):
    """Sixty calls an hour to six endpoints; at six every morning a report is fetched three hundred times in five minutes.
    Evidence of one endpoint's focus that the last four mornings had, nats."""
    n, found = len(hosts.engines), 0
    for day in range(days):
        midnight = START - START % 86400 + 86400 * day
        events = np.concatenate([calls(hosts.engines[0], times, rng, endpoints=6) for times in (
            midnight + np.sort(rng.uniform(0, 24 * HOUR, 1440)), midnight + 6 * HOUR + np.arange(300.0))])
        events["endpoint"][1440:] = hosts.engines[0].endpoint_key("/report")
        events = events[np.argsort(events["timestamp"], kind="stable")]
        who = np.arange(len(events)) % n
        edges = np.searchsorted(events["timestamp"] * 1e-9, midnight + 6 * HOUR + np.array([0.0, 301.0]))
        for part, every in zip(np.split(np.arange(len(events)), edges), (300.0, 20.0, 300.0), strict=True):
            run(hosts, events[part], who[part], every=every)
            if every == 20.0 and day >= days - 4:
                found = max(found, *(int(engine.row("acme")["tails"]["peak"][ENDPOINT_FOCUS][0]) for engine in hosts.engines))
    return found / 2


def test_what_is_usual_of_an_endpoint_is_its_share_of_a_hosts_own_calls():
    """A report that is fetched every morning is no more of a focus where it is spread over six hosts, which make six times
    the calls of each."""
    assert focus(Exchange(6), 16, np.random.default_rng(7)) <= focus(Exchange(1), 16, np.random.default_rng(7))


def test_a_sum_taken_in_twice_counts_once():
    """Lost writes and repeated reads change nothing but the time."""
    rng = np.random.default_rng(3)
    hosts, whole = Exchange(2), Engine(64, KEY)
    events = calls(whole, usual(rng, 2, 1.0), rng)
    who = rng.integers(0, 2, len(events))
    run(hosts, events, who, whole, every=10.0, exchange=lambda second: int(second) % 7 < 3)
    at = int(events["timestamp"][-1])
    for _ in range(5):
        hosts.turn(at)
    for engine in hosts.engines:
        np.testing.assert_allclose(decayed(engine.row("acme"), "trials", at), decayed(whole.row("acme"), "trials", at), rtol=2e-3)


def test_what_redis_lost_is_not_counted_again_when_it_is_back():
    """The others' sum falls back by minutes, as after a failover, or to nothing, and comes again: it is in the row already."""
    rng = np.random.default_rng(8)
    hosts, whole = Exchange(2), Engine(64, KEY)
    events = calls(whole, usual(rng, 2, 0.2), rng)
    who = np.arange(len(events)) % 2
    run(hosts, events[:-60], who[:-60], whole, every=10.0)
    older = [dict(books) for books in hosts.published]
    run(hosts, events[-60:], who[-60:], whole, every=10.0)
    at = int(events["timestamp"][-1])
    hosts.turn(at)
    newer, nothing = [dict(books) for books in hosts.published], np.zeros(1, OTHERS)
    nothing["key"], nothing["at"] = events["partner"][0], at
    for lost in (older, None, newer):
        hosts.published = lost or hosts.published
        for host, ledger in enumerate(hosts.ledgers):
            ledger.take_in(nothing if lost is None else np.array([hosts.others(host, int(events["partner"][0]))], OTHERS), at)
    for engine in hosts.engines:
        for name in ("trials", "bytes_out"):
            np.testing.assert_allclose(decayed(engine.row("acme"), name, at), decayed(whole.row("acme"), name, at), rtol=2e-3)


def test_hosts_that_knew_the_partner_alone_meet_without_an_alarm():
    """Two hosts learned their halves for days before they share: the other's half is no burst."""
    rng = np.random.default_rng(4)
    hosts = Exchange(2)
    events = calls(hosts.engines[0], usual(rng, 60, 0.2), rng)
    run(hosts, events, rng.integers(0, 2, len(events)), every=60.0, exchange=lambda second: second > START + 50 * HOUR)
    assert worst(hosts) == [0, 0]
    assert [float(engine.row("acme")["rate"]) for engine in hosts.engines] == pytest.approx([0.2, 0.2], rel=0.15)


def test_silence_of_the_others_is_no_change():
    """Three hours without a word from the others: the usual rate stays, nothing alarms then nor at the return, and
    the whole is seen again."""
    rng = np.random.default_rng(5)
    hosts, whole = Exchange(3), Engine(64, KEY)
    events = calls(whole, usual(rng, 40, 0.2), rng)

    def exchange(second):
        away = START + 30 * HOUR < second < START + 33 * HOUR
        if away:
            for ledger in hosts.ledgers:
                ledger.suppose(int(second * 1e9))
        return not away

    run(hosts, events, rng.integers(0, 3, len(events)), whole, every=5.0, exchange=exchange)
    at = int(events["timestamp"][-1])
    hosts.turn(at)
    assert worst(hosts) == [0, 0, 0]
    for engine, ledger in zip(hosts.engines, hosts.ledgers, strict=True):
        found = engine.row("acme")
        assert int(found["events"]) + ledger.elsewhere(int(found["key"])) == len(events)
        np.testing.assert_allclose(decayed(found, "trials", at), decayed(whole.row("acme"), "trials", at), rtol=0.03)
        assert found["rate"] == pytest.approx(whole.row("acme")["rate"], rel=0.15)


def test_clocks_that_differ_by_seconds_do_no_harm():
    """A host two seconds behind and one three ahead: the same whole, and no alarm."""
    rng = np.random.default_rng(6)
    hosts, whole = Exchange(3), Engine(64, KEY)
    events = calls(whole, usual(rng, 30, 0.1), rng)
    who = rng.integers(0, 3, len(events))
    skewed = events.copy()
    skewed["timestamp"] += np.array([0, -2, 3])[who] * 10**9
    run(hosts, skewed[np.argsort(skewed["timestamp"], kind="stable")],
        who[np.argsort(skewed["timestamp"], kind="stable")], every=1.0)
    whole.observe_batch(events)
    at = int(events["timestamp"][-1])
    assert worst(hosts) == [0, 0, 0]
    for engine in hosts.engines:
        row = engine.row("acme")
        np.testing.assert_allclose(decayed(row, "trials", at)[1:], decayed(whole.row("acme"), "trials", at)[1:], rtol=0.03)


def test_a_clock_that_is_far_ahead_is_not_followed():
    """What another host says of tomorrow is taken as of now: events here stay in time."""
    hosts = Exchange(1)
    engine, ledger = hosts.engines[0], hosts.ledgers[0]
    engine.observe("acme", "/a", timestamp=float(START))
    ledger.collect()
    far = np.zeros(1, OTHERS)
    far["key"], far["events"], far["at"] = engine.partner_key("acme"), 10, (START + 86400) * 10**9
    far["sums"]["whole"][0, 0] = 10.0
    ledger.take_in(far, START * 10**9)
    assert int(engine.row("acme")["last_seen"]) <= (START + 5) * 10**9
    engine.observe("acme", "/a", timestamp=float(START + 1))
    assert engine.stats()["late"] == 0


def test_a_partner_that_left_the_table_and_came_back_goes_on():
    """Another row of the same partner adds to the contribution of the first."""
    engine = Engine(64, KEY)
    ledger = Ledger(engine)
    for i in range(20):
        engine.observe("acme", "/a", timestamp=float(START + i))
    ledger.collect()
    engine.forget("acme")
    for i in range(5):
        engine.observe("acme", "/a", timestamp=float(START + 30 + i))
    found, _ = ledger.collect()
    assert (int(found[0]["events"]), int(found[0]["born"])) == (5, (START + 30) * 10**9)
    assert found[0]["sums"]["whole"][0][2] == pytest.approx(25.0, rel=0.01)


def test_many_partners_at_once_are_kept_apart():
    """Contributions and sums of many partners in one array, each its own."""
    hosts = Exchange(2)
    for i in range(50):
        for _ in range(i + 1):
            hosts.engines[i % 2].observe(f"partner-{i}", "/a", timestamp=float(START))
            hosts.engines[(i + 1) % 2].observe(f"partner-{i}", "/a", timestamp=float(START))
    hosts.turn(START * 10**9)
    for engine, ledger in zip(hosts.engines, hosts.ledgers, strict=True):
        for i in range(50):
            row = engine.row(f"partner-{i}")
            assert ledger.elsewhere(int(row["key"])) == i + 1
            assert row["trials"][2] == pytest.approx(2 * (i + 1), rel=1e-5)


def test_what_a_partner_costs():
    """The books have 800 bytes a partner, in one process of a host."""
    assert ACCOUNT_BYTES <= 800
    assert len(Ledger(Engine(64, KEY))) == 0
