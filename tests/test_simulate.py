"""Made-up traffic: the same for the same seed, the same on both ways in, and its attacks are found."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ztmon import Config, ConfigError, InputError, Monitor, wire
from ztmon.simulate import HAPPENINGS, KINDS, START, main, simulate
from ztmon.simulate.calm import HOUR_NS

THROTTLE = 2


def levels_of(found, monitor):
    """The level after each event."""
    events, names = found.traffic.events(monitor)
    levels = np.zeros(len(events), "u1")
    assert monitor.observe_batch(events, names, levels) == len(events)
    return levels & 7


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_attacks_reach_throttle_and_calm_partners_never_do(seed):
    """In three days every blatant attack reaches throttle inside its window; nobody does who did nothing."""
    found = simulate(partners=16, hours=72, seed=seed, kinds=[kind for kind in KINDS if kind != "fleet"])
    with Monitor(Config(clock="events")) as monitor:
        levels = levels_of(found, monitor)
    calls = found.traffic.calls
    begun = np.full(len(found.partners), np.iinfo("i8").max)
    for attack in found.attacks:
        inside = (calls["partner"] == attack.partner) & (calls["timestamp"] >= attack.start)
        inside &= calls["timestamp"] < attack.end
        assert levels[inside].max() >= THROTTLE, attack
        begun[attack.partner] = attack.start
    before = calls["timestamp"] < begun[calls["partner"]]
    assert len({attack.partner for attack in found.attacks}) == 16
    assert levels[before].max() < THROTTLE


def test_a_weak_attack_is_smaller_than_a_blatant_one():
    """Strength scales the number of calls of an attack."""
    counts = [
        sum(int(entry["calls"]) for entry in simulate(8, 30, 5, strength=strength).truth()) for strength in (0.1, 1, 3)
    ]
    assert counts[0] * 5 < counts[1] < counts[2]


def test_the_same_seed_makes_the_same_traffic():
    """A seed decides every byte; another one makes something else."""
    first, again, other = (
        "".join(simulate(5, 20, seed, attack_seconds=60).traffic.lines()) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_lines_and_events_say_the_same():
    """Fed as JSON lines or as an array, the same traffic leaves the same statistics behind."""
    found = simulate(4, 30, 3, attack_seconds=300)
    config = Config(clock="events", hash_key=bytes(range(16)))
    with Monitor(config) as by_array, Monitor(config) as by_line:
        levels_of(found, by_array)
        events, problems = wire.read("".join(found.traffic.lines()).encode())
        assert problems == []
        assert len(events) == len(found.traffic)
        for _, e in events:
            by_line.observe(
                e.partner, e.endpoint, method=e.method, status=e.status, latency_ms=e.latency_ms,
                request_bytes=e.request_bytes, response_bytes=e.response_bytes, source=e.source,
                timestamp=e.timestamp / 1000,
            )  # fmt: skip
        for partner in found.partners:
            one, two = by_array.profile(partner.name), by_line.profile(partner.name)
            assert one.events == two.events
            assert one.level == two.level
            assert [calls for _, calls in one.endpoints] == [calls for _, calls in two.endpoints]
            assert one.familiar_sources == two.familiar_sources
            assert one.active_hours == two.active_hours
            # time stamps and latencies are rounded on the wire: at most one bucket apart
            assert one.latency_ms == pytest.approx(two.latency_ms, rel=0.25)


def test_partners_are_alike_neither_in_size_nor_over_the_day():
    """Partners differ in size by more than ten times, and each has a peak and a quiet time of day."""
    found = simulate(40, 72, 1, kinds=())
    calls = found.traffic.calls
    sizes = np.bincount(calls["partner"], minlength=40)
    assert sizes.max() > 10 * sizes.min()
    assert sizes.min() >= 300
    by_hour = np.bincount((calls["timestamp"] // HOUR_NS) % 24, minlength=24)
    assert by_hour.max() > 2 * by_hour.min()
    assert (np.diff(calls["timestamp"]) >= 0).all()
    assert calls["timestamp"][0] >= START * 10**9
    assert calls["timestamp"][-1] < (START + 72 * 3600) * 10**9
    failed = (calls["status"] >= 400).mean()
    assert 0 < failed < 0.03


def test_the_command_writes_events_and_the_truth(tmp_path, capsys):
    """The events are telemetry, and the truth names kind, partner and window of every attack."""
    out, truth = tmp_path / "events.jsonl", tmp_path / "truth.jsonl"
    assert main(6, 30, 4, "burst,deletes@2", out, truth) == 0
    events, problems = wire.read(out.read_bytes())
    entries = [json.loads(line) for line in truth.read_text().splitlines()]
    assert problems == []
    assert [entry["kind"] for entry in entries] == ["burst", "deletes"]
    for entry in entries:
        assert entry["strength"] == 2
        inside = [e for _, e in events if e.partner == entry["partner"] and entry["from"] <= e.timestamp < entry["to"]]
        assert len(inside) >= entry["calls"] > 0
    assert f"{len(events):,} events of 6 partners" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error():
    """`simulate | head` ends without a word of complaint."""
    done = subprocess.run(
        f"{sys.executable} -c 'import sys; from ztmon.simulate import main; sys.exit(main(12, 48))' | head -n 1",
        shell=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith('{"appId"')
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"partners": 0}, "partners is 0; allowed is a number from 1 to 100,000"),
        ({"hours": float("nan")}, "hours is nan; allowed is"),
        ({"seed": -1}, "seed is -1; allowed is"),
        ({"attacks": "burst,tickling"}, "attacks has 'tickling'; allowed are all, none, or some of burst"),
        ({"attacks": "all@much"}, "attacks has the strength 'much'; allowed is a number"),
        ({"attacks": "all@0"}, "strength is 0"),
    ],
)
def test_what_is_not_allowed_is_refused(arguments, said):
    """A refusal names the setting, the value and what is allowed."""
    with pytest.raises(ConfigError) as refused:
        main(**arguments)
    assert said in str(refused.value)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    """Where the output cannot be written, the message says which file and why."""
    with pytest.raises(InputError, match=r"events\.jsonl: cannot be written: No such file"):
        main(2, 2, out=tmp_path / "nowhere" / "events.jsonl", attacks="none")


def test_a_hard_stream_holds_what_is_innocent():
    """Partners of very different size, one of each happening in the truth, and what each says is in the traffic."""
    found = simulate(40, 120, 5, kinds=(), hard=True)
    calls, start = found.traffic.calls, START * 10**9
    sizes = np.bincount(calls["partner"], minlength=40)
    assert sizes.max() > 500 * max(1, sizes.min())
    happenings = {what.kind: what for what in found.happenings}
    assert happenings.keys() == HAPPENINGS.keys()
    assert [entry["kind"] for entry in found.truth() if entry.get("innocent")] == list(HAPPENINGS)

    def between(what, partner=None):
        inside = (calls["timestamp"] >= what.start) & (calls["timestamp"] < what.end)
        return calls[inside if partner is None else inside & (calls["partner"] == partner)]

    silent = happenings["silence"]
    assert len(between(silent, silent.partner)) == 0
    born = happenings["newborn"]
    assert calls["timestamp"][calls["partner"] == born.partner].min() >= born.end
    assert (between(happenings["failing_backend"])["status"] >= 500).mean() > 0.3
    assert np.median(between(happenings["slow_backend"])["latency_ms"]) > 3 * np.median(calls["latency_ms"])
    assert (np.array([place.path.startswith("/v2/") for place in found.traffic.places])[
        between(happenings["renamed_routes"])["place"]]).mean() > 0.8
    assert calls["timestamp"][0] >= start
    assert (np.diff(calls["timestamp"]) >= 0).all()


def test_without_a_happening_all_else_is_the_same():
    """What was planned and does not take place is missing, and no other call."""
    with_it = simulate(12, 96, 5, hard=True)
    without = simulate(12, 96, 5, hard=True, without=("failing_backend", "slow_backend"))
    assert without.attacks == with_it.attacks
    assert without.happenings == with_it.happenings
    outage = next(what for what in with_it.happenings if what.kind == "failing_backend")
    slow = next(what for what in with_it.happenings if what.kind == "slow_backend")
    calls, calm = with_it.traffic.calls, without.traffic.calls
    during = (calls["timestamp"] >= outage.start) & (calls["timestamp"] < outage.end + 10 * 10**9)
    assert (calls["status"][during] >= 500).mean() > 0.3
    assert len(calm) < len(calls)
    for what in (outage, slow):
        end = what.end + 10 * 10**9
        calls, calm = (some[(some["timestamp"] < what.start) | (some["timestamp"] >= end)] for some in (calls, calm))
    assert (calls == calm).all()
    with pytest.raises(ConfigError, match="without has 'growth'; allowed are all, none, or some of failing_backend"):
        simulate(12, 96, 5, hard=True, without=("growth",))


def test_who_tries_again_is_answered_once():
    """While the backend fails a call comes again until it is answered, twice at most, and its answer is the usual one."""
    found, calm = (simulate(8, 60, 3, kinds=(), hard=True, happenings=("failing_backend",), without=without).traffic.calls
                   for without in ((), ("failing_backend",)))
    names = ["partner", "place", "object_id", "request_bytes"]
    asked = set(calm[[*names, "response_bytes"]].tolist())
    failed = found[found["status"] >= 500]
    answered = found[~(found["status"] >= 500)]
    assert set(answered[[*names, "response_bytes"]].tolist()) <= asked
    assert len(failed) > 50
    assert len(np.unique(answered[[*names, "latency_ms"]])) == len(answered)


def test_strengths_are_drawn_between_the_edge_and_blatant():
    """Each attack has its own, and no two seeds the same."""
    found = [simulate(20, 60, seed, strength=None).attacks for seed in (1, 2)]
    for attacks in found:
        assert all(KINDS[attack.kind].edge <= attack.strength <= 1.0 for attack in attacks)
    assert [a.strength for a in found[0]] != [a.strength for a in found[1]]


def test_rates_follow_real_series(tmp_path):
    """A folder of series gives the partners' rates their shape."""
    (tmp_path / "series.csv").write_text("time,value\n" + "".join(f"{i},{1 + 9 * (i % 6 == 0)}\n" for i in range(600)))
    found = simulate(3, 24, 1, kinds=(), shapes=tmp_path)
    step = ((found.traffic.calls["timestamp"] - START * 10**9) // (600 * 10**9)).astype(int)
    counts = np.bincount(step, minlength=144)
    assert counts[::6].sum() > 1.5 * (counts.sum() - counts[::6].sum())
    with pytest.raises(InputError, match="has no CSV file with a series"):
        simulate(3, 24, 1, shapes=tmp_path.parent / tmp_path.name / "..")
