"""Writes docs/performance.md from the JSON of `make bench`: every figure beside its floor."""

import json
import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"

HEAD = """# Performance

Written by `make bench` (benchmarks/report.py); do not edit. Measured on {cpu}, {cores} cores, Python {python},
{date}. Times differ from machine to machine, ratios hold: each figure stands beside its floor of the same run.

Traffic: partners by Zipf's law, 1,000 events a second, 25 simulated hours of warm-up (learning is over, every signal
is on), then 31 rounds of 20,000 calls in which the floors, the bare loop and the call measured take turns; medians,
the bare loop over the arguments subtracted everywhere. The floor of observe(), always the same work, took {least:.0f} to
{most:.0f} ns: where that differs much the machine was busy with other people's work, which costs what touches more memory more.
"""

OBSERVE = """
## observe()

*floor*: a method of a Cython class that does nothing, Cython's defaults, called with the same values by position.
*barest*: the same without Cython's function objects. *template*: route templates as endpoints; *keywords*: the same,
called by keyword as people write it; *raw*: raw paths of which half hold a fresh id, and a source address.

| partners | endpoints | observe() | floor | ratio | allowed | barest | ratio to it |
|---|---|---|---|---|---|---|---|
"""

CHECK = """
## check()

| partners | check() | floor | ratio | allowed | barest | ratio to it |
|---|---|---|---|---|---|---|
"""

BATCH = """
## observe_batch(), one core

*lean*: the same events in the same run, in a loop in C that keeps five numbers of a partner in one cache line and nothing else:
how fast the machine is in that hour.

| partners | million events a second | wanted | ns an event | lean | ratio |
|---|---|---|---|---|---|
"""

MEMORY = """
## Memory

| partners | all tables together | a partner |
|---|---|---|
"""

REPLAY = """
## Replay of access logs

Whole processes, start included, median of {runs}: `ztmon replay` of a combined log beside a Python `re` loop that only
parses the same file. The log: {origin}. Allowed is a ratio of 0.77; of a
short log, starting Python with numpy takes most of the time.

| lines | ztmon replay | Python re, parse only | ratio |
|---|---|---|---|
"""

SHARED = """
## One state for several processes

Measured on {date}: single calls from Python in so many processes at once, each on a core of its own as far as the {cores}
cores go; private and shared memory take turns, in time of the processor; the bare loop is subtracted. *spread*: 200
partners, *one*: all on the same one, the worst case; *posted*: the share of calls that found another process at work on the
row and left it their event. Allowed is 30 ns more than private memory where nobody is in the way, 100 where somebody is.
*more* is the median over rounds, each against its neighbour. The load of the machine before it began was {load:.1f}: what is
above 0 is other people's work.

| processes | partners | private memory | shared | more | posted |
|---|---|---|---|---|---|
"""

UDP = """
## UDP

Measured on {date}: the datagrams lie in the socket's buffer already, one thread empties it; time of the processor, medians
of {processes} fresh processes, each of rounds in turn: where memory comes to lie moves a process's figures by a fifth. *bare*:
`recvmmsg` and nothing else; *Python*: `recv`, msgspec and `observe()` one by one. The traffic of a thousand partners as above,
after a day of it: raw paths, half of them with a fresh id, and addresses, or where it says so route templates; *sent at once*:
with one call, as our client sends them. *engine alone*: `observe_batch()` of such events that need not be read; *lean*: of
datagrams as large, in Python `recv`, `numpy.frombuffer` of 32 bytes an event in which the partner is a number already, and a
loop in C that keeps five numbers of a partner. Wanted is 60 % of the bare loop for one event a datagram, and packed 5 million
events a second where the lean loop does 15.8: so much of its speed as that is. The load of the machine before it began was
{load:.1f}. A call of the client's `record()` takes {record_ns:.0f} ns.

| one event a datagram | bytes | bare | ztmon | share | Python |
|---|---|---|---|---|---|
"""

PACKED = """
| packed | bytes | an event | engine alone | lean | of its speed | wanted | million events/s | by process | best round |
|---|---|---|---|---|---|---|---|---|---|
"""

OTHERS = """
What others do for the same purpose, on one key, by the clock:

| | 1 process | 2 processes | 4 processes |
|---|---|---|---|
"""

SLOWEST = """
The slowest call of two processes, one on each core, in ten seconds: while two others call as well; while two others are
killed at random and replaced by new ones; while one is stopped (SIGSTOP) at work on a row. Beside it the longest turn of the
same loop around nothing, which is the scheduler's doing, and the slowest call without the time in which the system gave the
process no core. Aimed at is less than 10 ms.

| others | partners | calls | slowest call | around nothing | without waiting for a core |
|---|---|---|---|---|---|
"""

HTTP = """
## HTTP

Measured on {date}: requests over 64 connections that are never idle, in seconds of the server's processor time ("on a core"),
medians of {rounds} rounds of {turns} short turns each, in which contenders take turns. *does nothing*: the same server (uvicorn
with httptools, uvloop and our protocol) reads the body and answers the same from constants, as an ASGI application. The gateway
answers posts that come whole in the protocol itself, without a task, a scope and messages; *nothing, in the protocol*: the
same from constants. The load of the machine of {cores} cores before it began was {load:.1f}: other people's work slows all of
this down, what touches more memory more.

| | the gateway | does nothing | ratio | wanted | nothing, in the protocol | ratio |
|---|---|---|---|---|---|---|
"""

ADAPTERS = """
## Adapters

Measured on {date}: an application that answers two bytes from constants is called as a server calls it, with a scope made anew
for each request, an API key and six other headers, at a route with a parameter; time of the processor that each contender
adds, medians of {processes} fresh processes: of each the median of {rounds} rounds in turn, and the least of them, which other
people's work disturbs least. *bare*: a wrapper of receive and send (start_response and body) that does nothing; *lean*: the same
with a clock, a status, a size and two means a partner in Python. *ratio*: to the bare wrapper in the same process, with the
lowest and the highest of a process. Allowed is twice the bare wrapper, and 5 us. The load of the machine of {cores} cores
before it began was {load:.1f}.

| | partners | ztmon | bare | ratio | least, ztmon | bare | ratio | lean |
|---|---|---|---|---|---|---|---|---|
"""

ADAPTED = """
Before a whole FastAPI and Flask application, beside others, in the same process and run, the least of the rounds:

| | bare | ztmon | others |
|---|---|---|---|
"""

SERVED = """
FastAPI under uvicorn (httptools, uvloop), {connections} connections of wrk that are never idle, {served_rounds} rounds of a
second each. *peak*: what one turn in ten exceeds; *less*: the median over turns, each against the application alone in the second
before or after it. Allowed is 5 % less.

| | peak, requests/s | less | peak, requests/s of processor time | less |
|---|---|---|---|---|
"""

SERVERS = """
The same application under other servers, in requests a second of processor time of all their threads: one event a request,
and batches of 1,000. *plain*: uvicorn without our protocol, so with neither its limits on slow and endless heads nor its answers;
*asyncio*: without uvloop; *h11*: without httptools.

| | does nothing, single | gateway, single | does nothing, batch | gateway, batch |
|---|---|---|---|---|
"""

NAMED = {"lock": "a counter under multiprocessing.Lock", "limits, memory": "limits, memory",
         "redis": "Redis INCR, unix socket", "limits, redis": "limits, Redis"}
HOW = {"nothing": "call", "killed": "{kills} killed", "stopped": "one stopped"}

ALLOWED = {("template", 1_000): "4", ("keywords", 1_000): "4.6", ("raw", 1_000): "10", ("template", 100_000): "10",
           ("keywords", 100_000): "10.6"}
WANTED = {1_000: "10", 100_000: "3"}


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def page(found, replay, shared, http, udp, adapters):
    """The text of docs/performance.md."""
    info = {tuple(b["group"].split()): b["extra_info"] for b in found["benchmarks"]}
    machine = found["machine_info"]
    floors = [x["empty_ns"] for key, x in info.items() if key[0] == "observe"]
    text = HEAD.format(cpu=cpu(), cores=machine["cpu"]["count"], python=machine["python_version"],
                       date=found["datetime"][:10], least=min(floors), most=max(floors))
    rows = {"observe": "", "check": "", "batch": ""}
    memory = ""
    for key, x in sorted(info.items(), key=lambda item: (item[0][0], int(item[0][-1]) if item[0][-1].isdigit() else 0)):
        n = int(key[-1]) if key[-1].isdigit() else 0
        if key[0] == "observe":
            rows["observe"] += (f"| {n:,} | {key[1]} | {x['ns']:.0f} ns | {x['empty_ns']:.0f} ns | "
                                f"{x['ratio_to_empty']:.1f} | {ALLOWED.get((key[1], n), '')} | {x['barest_ns']:.0f} ns | "
                                f"{x['ratio_to_barest']:.1f} |\n")
        elif key[0] == "check":
            rows["check"] += (f"| {n:,} | {x['ns']:.0f} ns | {x['empty_ns']:.0f} ns | {x['ratio_to_empty']:.1f} | "
                              f"{'2' if n == 1000 else ''} | {x['barest_ns']:.0f} ns | {x['ratio_to_barest']:.1f} |\n")
        elif key[0] == "batch":
            rate = x["million_a_second"]
            rows["batch"] += (f"| {n:,} | {rate:.1f} | {WANTED.get(n, '')} | {1000 / rate:.0f} ns | {x['lean_ns']:.1f} ns | "
                              f"{x['ratio_to_lean']:.1f} |\n")
        else:
            memory = f"| 1,000,000 | {x['bytes'] / 2**30:.2f} GiB | {x['bytes_a_partner']:,.0f} bytes |\n"
    text += OBSERVE + rows["observe"] + CHECK + rows["check"] + BATCH + rows["batch"] + MEMORY + memory
    if replay:
        origin = "real traffic, repeated with its dates moved on" if replay["real"] else "made-up lines"
        text += REPLAY.format(runs=replay["runs"], origin=origin)
        for size in replay["sizes"]:
            text += f"| {size['lines']:,} | {size['replay']:.2f} s | {size['regex']:.2f} s | {size['ratio']:.2f} |\n"
    if http:
        text += http_part(http)
    if udp:
        text += udp_part(udp)
    if adapters:
        text += adapters_part(adapters)
    if shared:
        text += shared_part(shared)
    return text


def http_part(http):
    """The part that is the gateway's."""
    text = HTTP.format(cores=os.cpu_count(), **http)
    for kind, what in (("single", "one event a request"), ("single_202", "the same with wait=0")):
        x = http[kind]
        text += f"| {what} | {x['gateway']:,.0f} requests/s | {x['nothing']:,.0f} requests/s | {x['ratio']:.2f} | 0.90 | "
        text += f"{x['nothing short']:,.0f} requests/s | {x['ratio_short']:.2f} |\n"
    x, events = http["batch"], http["batch_events"]
    text += (f"| batches of {events:,} | {x['gateway'] * events / 1e6:.2f} million events/s | "
             f"{x['nothing'] * events / 1e6:.2f} million events/s | {x['ratio']:.2f} | 1 million | | |\n")
    text += SERVERS if "servers" in http else ""
    for server in ("uvicorn", "plain", "asyncio", "h11", "granian"):
        names = [f"{server} nothing", f"{server} gateway"]
        cells = [f"{http[part][name]:,.0f}" for part in ("servers", "servers_batch") for name in names
                 if name in http.get(part, ())]
        text += f"| {server} | {' | '.join(cells)} |\n" if cells else ""
    return text


def udp_part(udp):
    """The part that is the UDP listener's."""
    text = UDP.format(**udp)
    single = [x for x in udp["datagrams"] if not x["name"].startswith("packed")]
    for x in single:
        python = x.get("python_msgpack_ns", x.get("python_json_ns"))
        text += (f"| {x['name'].removeprefix('one event, ')} | {x['bytes']:,.0f} | {x['floor_ns']:,.0f} ns | "
                 f"{x['ours_ns']:,.0f} ns | {x['share']:.0%} | {f'{python:,.0f} ns' if python else ''} |\n")
    text += PACKED
    for x in udp["datagrams"][len(single):]:
        ns = 1e3 / x["million_events"]
        lean = f"{x['lean_ns']:,.0f} ns | {x['lean_ns'] / ns:.0%} | {5 / 15.8:.0%}" if "lean_ns" in x else "| |"
        text += (f"| {x['name'].removeprefix('packed, ')} | {x['bytes']:,.0f} | {ns:,.0f} ns | {x['batch_ns']:,.0f} ns | "
                 f"{lean} | {x['million_events']:.1f} | {x['million_least']:.1f} to {x['million_most']:.1f} | "
                 f"{x['million_best']:.1f} |\n")
    return text


def adapters_part(adapters):
    """The part that is the adapters'."""
    text = ADAPTERS.format(cores=os.cpu_count(), **adapters)
    process = adapters["process"]
    for key, x in process.items():
        protocol, _, partners = key.partition(" ")
        if partners:
            ours, bare = x["ztmon"], x["bare"]
            lean = f"{x['lean']['least_us']:.1f} us" if "lean" in x else ""
            text += f"| {protocol.upper()} | {int(partners):,} |"
            for what in ("us", "least_us"):
                ratio, least, most = x[f"ratio_{what}"]
                text += f" {ours[what]:.1f} us | {bare[what]:.1f} us | {ratio:.2f} ({least:.2f} to {most:.2f}) |"
            text += f" {lean} |\n"
    text += ADAPTED
    for key, name in (("fastapi", "FastAPI"), ("flask", "Flask")):
        x = process[key]
        others = ", ".join(f"{peer} {x[peer]['least_us']:.0f} us" for peer in x if peer not in ("none", "bare", "ztmon"))
        text += f"| {name} | {x['bare']['least_us']:.0f} us | {x['ztmon']['least_us']:.0f} us | {others} |\n"
    text += SERVED.format(**adapters)
    for name, x in adapters["served"].items():
        text += (f"| {'alone' if name == 'none' else name} | {x['rate']:,.0f} | {x['less']:.1%} | {x['core_rate']:,.0f} | "
                 f"{x['core_less']:.1%} |\n")
    return text


def shared_part(shared):
    """The part that is one state's: what it costs, what others cost, what the slowest call is."""
    text = SHARED.format(**shared)
    for x in shared["cost"]:
        if x["what"] == "observe":
            text += (f"| {x['processes']} | {'spread' if x['spread'] else 'one'} | {x['private']:,.0f} ns | "
                     f"{x['shared']:,.0f} ns | {x['more']:+,.0f} ns | {x['share']:.0%} |\n")
    text += OTHERS
    for what, name in NAMED.items():
        ns = [f"{x['ns']:,.0f} ns" for x in shared["cost"] if x["what"] == what]
        text += f"| {name} | {' | '.join(ns)} |\n" if ns else ""
    text += SLOWEST
    for x in shared["slowest"]:
        text += (f"| {HOW[x['how']].format(**x)} | {'spread' if x['spread'] else 'one'} | {x['calls']:,} | "
                 f"{x['observe_ms']:.1f} ms | {x['nothing_ms']:.1f} ms | {x['own_ms']:.1f} ms |\n")
    return text


def read(path):
    """A file of results, None where there is none."""
    return json.loads(Path(path).read_text()) if Path(path).exists() else None


def without(text, title):
    """A page without one of its parts, and where that stood."""
    at = text.find(f"\n## {title}\n")
    if at < 0:
        return text, len(text)
    end = text.find("\n## ", at + 1)
    return text[:at] + (text[end:] if end >= 0 else ""), at


def main(bench, replay, shared, http, udp, adapters):
    """Without the figures of `bench` only the other parts are written anew, where there are figures."""
    found, of_shared, of_http, of_udp, of_adapters = read(bench), read(shared), read(http), read(udp), read(adapters)
    if found is not None:
        PAGE.write_text(page(found, read(replay), of_shared, of_http, of_udp, of_adapters))
    else:
        text = PAGE.read_text()
        for title, part in (("HTTP", of_http and http_part(of_http)), ("UDP", of_udp and udp_part(of_udp)),
                            ("Adapters", of_adapters and adapters_part(of_adapters)),
                            ("One state for several processes", of_shared and shared_part(of_shared))):
            if part:
                text, at = without(text, title)
                text = text[:at] + part + text[at:]
        PAGE.write_text(text)
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
