"""What is held against a partner and what is not: jobs, deployments, the time after an attack."""

import numpy as np
import pytest

from ztcore.engine import Engine
from ztcore.layout import EVENT
from ztcore.levels import SIGNALS
from ztcore.merge import merge
from ztmon import Config, Monitor
from ztmon.simulate import simulate

LARGE_REQUESTS = SIGNALS.index("large_requests")
START = 1_750_032_000.0     # midnight UTC
HOUR, DAY = 3600.0, 86400.0
HOME, AWAY = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9    # addresses, as keys


def feed(engine, partner, times, endpoint="/e", status=200, **columns):
    """Calls of one partner at these times (s); endpoint: a name, or keys; columns: others of EVENT. The levels after each."""
    events = np.zeros(len(times), EVENT)
    name = partner.encode()
    events["partner"], events["name"] = engine.partner_key(partner), 1
    events["timestamp"] = np.round(np.asarray(times) * 1e9)
    events["endpoint"] = engine.endpoint_key(endpoint) if isinstance(endpoint, str) else endpoint
    events["status"], events["count"] = status, 1
    events["latency_ms"] = 20.0
    for column, values in columns.items():
        events[column] = values
    levels = np.zeros(len(times), "u1")
    engine.observe_batch(events, b"\x07default" + bytes([len(name)]) + name, levels)
    return levels & 7


def steady(first, last, per_hour, seed=1):
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(first, last, int((last - first) / HOUR * per_hour)))


def test_a_nightly_job_raises_nobody_but_a_burst_does():
    """Three hundred calls in five minutes at three o'clock of every night are usual for who always sent them, and an
    attack of who never did."""
    engine = Engine(64, bytes(16))
    job = np.linspace(0, 300, 300)
    days = steady(START, START + 4 * DAY, 120)
    nights = [START + day * DAY + 3 * HOUR + job for day in range(4)]
    often = feed(engine, "with-a-job", np.sort(np.concatenate([days, *nights])))
    once = feed(engine, "without", np.sort(np.concatenate([days, nights[3]])))
    assert often.max() == 0
    assert once.max() >= 2


@pytest.mark.parametrize("together", [True, False])
def test_a_deployment_is_nobodys_fault(together):
    """Where all partners change to new routes at once nobody rises; one who alone turns to functions it never used does."""
    engine = Engine(64, bytes(16))
    partners = [f"partner-{i}" for i in range(6)]
    for i, partner in enumerate(partners):
        feed(engine, partner, steady(START, START + 2 * DAY, 200, i), "/api/orders")
    who = partners if together else partners[:1]
    scores = []
    for minute in range(30):
        for i, partner in enumerate(who):
            at = START + 2 * DAY + minute * 60.0 + i
            scores.append(engine.observe(partner, f"/v2/function-{'abcd'[minute % 4]}", timestamp=at).score)
    if together:
        assert max(scores[60:]) < 31        # ten minutes later
    else:
        assert max(scores) >= 31


def test_a_partner_comes_down_soon_after_an_attack():
    """Blocked for failing log-ins, and at monitor three quarters of an hour after the last, though its own log-ins fail
    now and then."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 2 * DAY, 300))
    feed(engine, "acme", START + np.arange(40) * HOUR, status=401)
    at = START + 2 * DAY
    assert feed(engine, "acme", at + np.arange(600.0), status=401).max() == 4
    calm = feed(engine, "acme", steady(at + 610, at + 600 + 45 * 60, 300))
    assert calm[0] == 4
    engine.advance(at + 600 + 45 * 60)
    assert engine.row("acme")["level"] == 0
    feed(engine, "acme", at + 600 + 46 * 60 + np.array([0.0]), status=401)
    assert engine.row("acme")["level"] == 0


def test_large_requests_are_judged_among_requests_with_a_body():
    """Many reads without a body do not make a large upload usual."""
    engine = Engine(64, bytes(16))
    rng = np.random.default_rng(3)
    at = START
    for i in range(3000):
        at += 40.0
        engine.observe("acme", "/a", method="POST" if i % 5 == 0 else "GET", timestamp=at,
                       request_bytes=float(rng.lognormal(6, 0.3)) if i % 5 == 0 else 0.0)
    levels = [engine.observe("acme", "/a", method="POST", request_bytes=60_000.0, timestamp=at + i).level for i in range(30)]
    assert max(levels) >= 2
    assert levels[0] == 0


def test_the_record_of_a_signal_grows_slowly_once_learning_is_over():
    """An attacker who raises the rate a little more every hour of a day does not make a flood usual."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 2 * DAY, 120))
    before = engine.row("acme")["jobs"]["record"][0].astype(int)
    for hour in range(24):
        at = START + 2 * DAY + hour * HOUR
        feed(engine, "acme", np.sort(np.concatenate([steady(at, at + HOUR, 120, hour), at + np.linspace(0, 60, 4 + hour)])))
    grown = engine.row("acme")["jobs"]["record"][0].astype(int) - before     # in eighths of an octave
    assert (grown <= 2 * 3).all()               # two calendar days were touched


@pytest.mark.parametrize(("routes", "kept", "by_day"), [(2, 0, 5000), (20, 0, 5000), (5, 1, 1000)])
def test_routes_that_a_deployment_renamed_in_the_evening_are_known_by_the_next_morning(routes, kept, by_day):
    """A hundred calls an hour by night and far more by day, six of ten on one route; at eight in the evening all but
    those kept get another name, for everybody. That the calls of old are to the old names makes nothing of the new ones
    stand out, also where old ones had to make room, nor have those that kept theirs a larger share for their past."""
    engine = Engine(64, bytes(16))
    partners = [f"partner-{i}" for i in range(4)]
    highest = 0
    for hour in range(4 * 24):
        at = START + hour * HOUR
        version = "second" if hour >= 2 * 24 + 20 else "first"
        for i, partner in enumerate(partners):
            times = steady(at, at + HOUR, by_day if 8 <= hour % 24 < 20 else 100, 10 * hour + i)
            rng = np.random.default_rng(hour)
            which = np.where(rng.random(len(times)) < 0.6, 0, rng.integers(1, routes, len(times)))
            events = np.zeros(len(times), EVENT)
            events["partner"], events["name"] = engine.partner_key(partner), 1
            events["timestamp"] = np.round(times * 1e9)
            names = [f"/{version if n < routes - kept else 'first'}/{chr(97 + n)}" for n in range(routes)]
            keys = [engine.endpoint_key(name, "GET") for name in names]
            events["endpoint"] = np.array(keys, "u8")[which]
            events["status"], events["count"], events["latency_ms"] = 200, 1, 20.0
            levels = np.zeros(len(times), "u1")
            engine.observe_batch(events, b"\x07default" + bytes([len(partner)]) + partner.encode(), levels)
            if hour >= 3 * 24:
                highest = max(highest, (levels & 7).max())
    assert highest == 0


@pytest.mark.parametrize(("refused", "known"), [(False, True), (True, False)])
def test_a_block_for_what_is_new_ends_once_the_new_is_what_the_partner_does(refused, known):
    """A partner that only read begins to delete, ten calls an hour among a hundred, and goes on: it is acted on, but not
    for days. Where its calls are refused, as those of who tries out what it may are, it is for as long as it goes on."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 2 * DAY, 100))
    levels = []
    for at in steady(START + 2 * DAY, START + 3 * DAY, 110, 5):
        new = len(levels) % 5 == 0
        levels.append(engine.observe("acme", "/orders/x" if new else "/e", method="DELETE" if new else "GET",
                                     status=403 if new and refused else 200, timestamp=float(at)).level)
    assert max(levels) >= 3
    assert (max(levels[-200:]) == 0) is known


def gone(row):
    """Calls of endpoints that lost their slot and were not called any more."""
    return int(row["gone"]) / 65535 * int(row["rest"])


def test_endpoints_of_old_make_room_for_those_of_a_deployment():
    """Twenty endpoints, all renamed at once after two days: an hour later the partner has a slot for most of the new ones,
    and how its calls are spread is as it was."""
    engine = Engine(64, bytes(16))
    partners = ["one", "two", "three", "four"]
    for hour in range(2 * 24 + 3):
        version = "second" if hour >= 2 * 24 else "first"
        if hour == 2 * 24:
            rest = int(engine.row("one")["rest"])
        for i, partner in enumerate(partners):
            times = steady(START + hour * HOUR, START + (hour + 1) * HOUR, 1000, 10 * hour + i)
            events = np.zeros(len(times), EVENT)
            events["partner"], events["name"] = engine.partner_key(partner), 1
            events["timestamp"] = np.round(times * 1e9)
            keys = np.array([engine.endpoint_key(f"/{version}/{chr(97 + n)}", "GET") for n in range(20)], "u8")
            events["endpoint"] = keys[np.random.default_rng(hour).integers(0, 20, len(times))]
            events["status"], events["count"], events["latency_ms"] = 200, 1, 20.0
            engine.observe_batch(events, b"\x07default" + bytes([len(partner)]) + partner.encode())
    row = engine.row("one")
    known = row["endpoints"]["count"] >> 24 == int(row["last_hour"]) & 255
    assert known.sum() >= 16
    assert int(row["mix"]["recent"].astype(int).sum()) + int(row["mix"]["other"]) == int(row["mix"]["total"])
    assert int(row["mix"]["other"]) < int(row["mix"]["total"]) // 4
    lost = int(row["rest"]) - rest
    assert lost > 1000
    assert lost * 0.8 < gone(row) <= lost + 1           # what made room was no longer called
    assert gone(merge(row, row)) == pytest.approx(2 * gone(row), abs=3)     # rounded down twice, and to a unit of its part


def test_a_throttle_that_fell_by_itself_teaches_what_a_release_brings():
    """Every day at noon six uploads a hundred times the usual, among small ones: throttled on the first day, not on the
    third."""
    engine = Engine(64, bytes(16))
    rng = np.random.default_rng(3)
    highest = []
    for day in range(5):
        levels = []
        for i in range(1440):
            large = day >= 2 and 720 <= i < 726
            levels.append(engine.observe("acme", "/a", method="POST", timestamp=START + day * DAY + i * 60.0,
                                         request_bytes=60_000.0 if large else float(rng.lognormal(6, 0.3))).level)
        highest.append(max(levels))
    assert highest[2] == 2
    assert highest[4] < 2


@pytest.mark.parametrize("everybody", [True, False])
def test_calls_sent_again_while_the_backend_fails_are_nobodys_fault(everybody):
    """A partner that seldom sends a large file sends two, and each again until it goes through, five times. That is two
    large files where the others' calls fail as well, and ten where only its own do."""
    engine = Engine(64, bytes(16))
    rng = np.random.default_rng(5)
    others = [f"partner-{i}" for i in range(5)]
    for hour in range(3 * 24):
        first = START + hour * HOUR
        for i, partner in enumerate(others):
            feed(engine, partner, steady(first, first + HOUR, 200, 10 * hour + i))
        for at in steady(first, first + HOUR, 60, 10 * hour + 9):
            engine.observe("acme", "/a", method="POST", timestamp=float(at), request_bytes=float(rng.lognormal(6, 0.3)))
    highest = 0
    for i in range(400):
        at = START + 3 * DAY + i * 0.5
        engine.observe(others[i % 5], "/e", status=503 if everybody and i % 10 < 6 else 200, timestamp=at)
        if i >= 200 and i % 20 == 0:
            through = i // 20 % 5 == 4
            highest = max(highest, engine.observe("acme", "/a", method="POST", status=201 if through else 503,
                                                  request_bytes=60_000.0, timestamp=at).level)
    assert highest == (0 if everybody else 2)
    hits = engine.row("acme")["counts"][LARGE_REQUESTS][1] / engine.row("acme")["weight"][1]
    assert round(float(hits)) == (2 if everybody else 9)      # some are older than they were


def test_what_fails_while_the_backend_does_adds_a_third_of_a_call_to_the_rate():
    """And nothing to how a partner's calls are spread. Where the others' succeed each is a whole one."""
    seen, spread = [], []
    for fails in (True, False):
        engine = Engine(64, bytes(16))
        for second in range(300):
            at = START + second
            engine.observe("other", "/e", status=503 if fails else 200, timestamp=at)
            engine.observe("acme", "/e", status=503, timestamp=at)
        row = engine.row("acme")
        seen.append(float(row["seen"][0] / row["weight"][0]))
        spread.append(int(row["mix"]["total"]))
    assert seen[1] == pytest.approx(1 / (1 - 2 ** (-1 / 60)) * (1 - 2**-5), rel=0.01)
    assert seen[0] == pytest.approx(seen[1] / 3, rel=0.02)
    assert spread[0] < spread[1] / 10


def test_a_runaway_client_is_seen_while_the_backend_fails():
    """It sends thirty times what it usually does, and all of it fails, as most of the others' calls do: it is throttled, and
    they are not."""
    engine = Engine(64, bytes(16))
    names = ["acme", *(f"partner-{i}" for i in range(5))]
    for hour in range(2 * 24):
        for i, partner in enumerate(names):
            feed(engine, partner, steady(START + hour * HOUR, START + (hour + 1) * HOUR, 600, 10 * hour + i))
    at, highest = START + 2 * DAY, dict.fromkeys(names, 0)
    for i in range(1200):
        partner = names[1 + i // 6 % 5] if i % 6 == 0 else "acme"
        fails = i % 60 < 42 or partner == "acme"
        level = engine.observe(partner, "/e", status=503 if fails else 200, timestamp=at + i * 0.2).level
        highest[partner] = max(highest[partner], level)
    assert highest.pop("acme") >= 2
    assert max(highest.values()) == 0


def test_what_is_of_long_ago_makes_room():
    """An endpoint and an address of every hour of four days, then not seen for nine, hold no slot against those of now."""
    engine = Engine(64, bytes(16), learning_hours=1000.0)       # nothing is held against it
    old, now = "198.51.100.1", "198.51.100.2"
    for hour in range(96 + 210):
        engine.observe("acme", "/old" if hour < 96 else "/now", source=old if hour < 96 else now, timestamp=START + hour * HOUR)
    for i in range(300):
        engine.observe("acme", f"/{chr(97 + i % 26)}{chr(97 + i // 26)}", source=f"203.0.113.{i % 150}",
                       timestamp=START + (96 + 210 + i // 150) * HOUR + i)
    row = engine.row("acme")
    counts = row["endpoints"]["count"] & 0xffffff
    assert (counts == 210).any()
    assert not (counts == 96).any()
    hours = row["sources"]["familiar"]["hours"]
    assert (hours >= 200).any()
    assert not (hours == 96).any()


def always_new(times):
    """An address a call that was never there before."""
    return np.random.default_rng(5).integers(1, 1 << 63, len(times), dtype="u8")


def test_new_addresses_hold_no_block_up():
    """What is loud makes no address familiar, so a partner that moved while it was blocked would be blocked for as long as its
    addresses are new."""
    engine = Engine(64, bytes(16))
    feed(engine, "acme", steady(START, START + 3 * DAY, 300), source=HOME)
    attack = START + 3 * DAY
    assert feed(engine, "acme", attack + np.arange(120.0), status=401, source=HOME).max() == 4
    after = steady(attack + 120, attack + 3 * HOUR, 300, 9)
    levels = feed(engine, "acme", after, source=always_new(after))
    assert levels[after > attack + 2 * HOUR].max() <= 1


@pytest.mark.parametrize("throttle", [61.0, 45.0])
def test_new_addresses_alone_are_an_alert(throttle):
    """Somebody should look, and nobody is held, wherever throttle begins."""
    engine = Engine(64, bytes(16))
    engine.configure(threshold_throttle=throttle)
    feed(engine, "acme", steady(START, START + 3 * DAY, 300), source=HOME)
    after = steady(START + 3 * DAY, START + 3 * DAY + 2 * HOUR, 300, 9)
    assert feed(engine, "acme", after, source=always_new(after)).max() == 1


def session(engine, at, rng, endpoints):
    """Ten calls in a minute from an address of its own, half of them of the first one's endpoint; the levels after each."""
    places = rng.choice(endpoints, 10)
    places[rng.random(10) < 0.5] = places[0]
    keys = np.array([engine.endpoint_key(f"/e{place}") for place in places], "u8")
    return feed(engine, "acme", at + np.arange(10) * 6.0, endpoint=keys, source=rng.integers(1, 1 << 63, dtype="u8"))


def test_a_session_from_a_new_address_is_not_a_look_around():
    """Few sessions a day, each from another address and of few functions: the fifth call of one it has hardly called says no more
    than the first two."""
    engine, rng = Engine(64, bytes(16)), np.random.default_rng(1)
    levels = [session(engine, START + hour * HOUR + 600, rng, 30) for hour in range(0, 10 * 24, 4)]
    assert np.concatenate(levels).max() == 0


def failures_until_throttled(days):
    """How many failing log-ins in a row a partner of so many days is allowed."""
    engine = Engine(64, bytes(16))
    at = START + days * DAY
    feed(engine, "acme", steady(START, at, 60))
    levels = feed(engine, "acme", at + np.arange(100.0), status=401)
    return int((levels < 2).sum())


def test_what_is_hardly_known_is_doubted():
    """When learning ends a level takes 8 nats more than later, half of that a day after, then none."""
    allowed = [failures_until_throttled(days) for days in (1.02, 1.5, 1.98, 2.02)]
    assert allowed[0] > allowed[1] >= allowed[2] > allowed[3]


def test_a_score_that_jumps_is_written_down_once_in_a_while():
    """Twenty partners with habits over thirty hours: of none more than a few crossings of the threshold, for a score that goes up
    and down with each call is one episode."""
    stream = simulate(20, 30.0, 7, strength=None, hard=True)
    with Monitor(Config(clock="events", hash_key=bytes(16))) as monitor:
        events, names = stream.traffic.events(monitor)
        monitor.observe_batch(events, names)
        found = monitor.transitions()
        assert monitor.stats()["transitions_lost"] == 0
    _, crossings = np.unique(found["partner"][found["anomaly"] != 0], return_counts=True)
    assert 0 < crossings.max() < 40
