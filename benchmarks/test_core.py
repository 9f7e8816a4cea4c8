"""observe(), check() and observe_batch() beside their floors, measured in turn in the same run."""

from statistics import median
from time import perf_counter

import numpy as np
import pytest
import traffic

TIMES = 1
"""How often a round goes through the calls; the clock goes on with every call."""

ROUNDS = 31
BATCH = 1_000_000
PARTNERS = (1_000, 100_000, 1_000_000)
STEP = 1.0 / traffic.RATE


def loop_bare(calls, now):
    began = perf_counter()
    for _ in range(TIMES):
        for partner, endpoint, method, status, latency, request, response, source, app in calls:
            now += STEP
    return perf_counter() - began


def loop(function, calls, now):
    began = perf_counter()
    for _ in range(TIMES):
        for partner, endpoint, method, status, latency, request, response, source, app in calls:
            now += STEP
            function(partner, endpoint, method, status, latency, request, response, source, app, now)
    return perf_counter() - began


def loop_keywords(function, calls, now):
    began = perf_counter()
    for _ in range(TIMES):
        for partner, endpoint, method, status, latency, request, response, source, app in calls:
            now += STEP
            function(partner, endpoint, method=method, status=status, latency_ms=latency, request_bytes=request,
                     response_bytes=response, source=source, app=app, timestamp=now)
    return perf_counter() - began


def loop_names(names, now):
    began = perf_counter()
    for _ in range(TIMES):
        for name in names:
            pass
    return perf_counter() - began


def loop_check(function, names, now):
    began = perf_counter()
    for _ in range(TIMES):
        for name in names:
            function(name)
    return perf_counter() - began


def measure(benchmark, target, floors, bare, calls, state):
    """Rounds in which the floors, the bare loop and `target` go through the same calls in turn.
    Medians in ns a call, less the bare loop, and the target's ratio to each floor: extra_info."""
    seen = {name: [] for name in ("bare", *floors)}
    took = []

    def setup():
        for name, run in floors.items():
            seen[name].append(run(calls, state[1]))
        seen["bare"].append(bare(calls, state[1]))

    def run():
        took.append(target(calls, state[1]))
        state[1] += len(calls) * TIMES * STEP

    benchmark.pedantic(run, setup=setup, rounds=ROUNDS, iterations=1, warmup_rounds=5)
    n = len(calls) * TIMES
    base = median(seen["bare"])
    info = benchmark.extra_info
    info["calls"] = n
    info["ns"] = (median(took) - base) / n * 1e9
    info["bare_loop_ns"] = base / n * 1e9
    for name in floors:
        info[f"{name}_ns"] = (median(seen[name]) - base) / n * 1e9
        info[f"ratio_to_{name}"] = info["ns"] / info[f"{name}_ns"]


@pytest.mark.parametrize("partners", PARTNERS)
@pytest.mark.parametrize("style", ["template", "keywords", "raw"])
def test_observe(benchmark, engines, floor, partners, style):
    """observe() from Python with every signal on."""
    raw = style == "raw"
    state = engines(partners, raw)
    run = loop_keywords if style == "keywords" else loop
    empty, barest = floor.Empty(), floor.Bare()
    benchmark.group = f"observe {style} {partners}"
    measure(benchmark, lambda calls, now: run(state[0].observe, calls, now),
            {"empty": lambda calls, now: loop(empty.observe, calls, now),
             "barest": lambda calls, now: loop(barest.observe, calls, now)},
            loop_bare, traffic.tuples(partners, raw), state)


@pytest.mark.parametrize("partners", PARTNERS)
def test_check(benchmark, engines, floor, partners):
    """check() from Python, nobody under an action."""
    state = engines(partners, False)
    empty, barest = floor.Empty(), floor.Bare()
    names = [call[0] for call in traffic.tuples(partners, False)]
    benchmark.group = f"check {partners}"
    measure(benchmark, lambda calls, now: loop_check(state[0].check, calls, now),
            {"empty": lambda calls, now: loop_check(empty.check, calls, now),
             "barest": lambda calls, now: loop_check(barest.check, calls, now)}, loop_names, names, state)


@pytest.mark.parametrize("partners", PARTNERS)
def test_batch(benchmark, engines, floor, partners):
    """observe_batch() on one core, events in arrival order, in turn with the least that anybody would do with them."""
    state = engines(partners, False)
    engine = state[0]
    events = traffic.events(engine, partners, False, BATCH)
    steps = (np.arange(BATCH) * (1e9 / traffic.RATE)).astype("i8")

    lean, lean_took = floor.Lean(partners), []
    columns = [np.ascontiguousarray(events[name]) for name in ("partner", "timestamp", "latency_ms", "status")]

    def setup():
        events["timestamp"] = columns[1] = int(state[1] * 1e9) + steps
        state[1] += BATCH / traffic.RATE
        began = perf_counter()
        lean.observe_batch(*columns)
        lean_took.append(perf_counter() - began)

    benchmark.group = f"batch {partners}"
    benchmark.pedantic(lambda: engine.observe_batch(events), setup=setup, rounds=7, iterations=1, warmup_rounds=1)
    info = benchmark.extra_info
    info["events"] = BATCH
    info["million_a_second"] = BATCH / benchmark.stats.stats.median / 1e6
    info["lean_ns"] = median(lean_took) / BATCH * 1e9
    info["ratio_to_lean"] = 1e3 / info["million_a_second"] / info["lean_ns"]


def test_memory(benchmark):
    """Bytes a partner, all tables included, at a million partners."""
    from ztcore.engine import Engine
    benchmark.group = "memory 1000000"
    engine = benchmark.pedantic(lambda: Engine(1_000_000), rounds=1, iterations=1)
    benchmark.extra_info["bytes"] = engine.memory_bytes
    benchmark.extra_info["bytes_a_partner"] = engine.memory_bytes / 1_000_000
