"""`ztmon replay` on whole logs: real ones, every format, everything that can be wrong with a file."""

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from .logs import PROGRAM, combined, event, lines, replay, run

IPV4 = re.compile(rb"\b\d{1,3}(\.\d{1,3}){3}\b")


@pytest.fixture(scope="module")
def apache(traffic):
    """The real combined log."""
    return traffic("elastic-apache/apache_logs.gz")


@pytest.fixture(scope="module")
def nasa(traffic, tmp_path_factory):
    """The real NASA log as JSON lines of the wire format, and how many there are; the host is the partner."""
    path = tmp_path_factory.mktemp("nasa") / "nasa.jsonl"
    n = 0
    with gzip.open(traffic("nasa-http-day/nasa_19950801.tsv.gz"), "rt", encoding="latin-1", newline="") as rows, \
            path.open("w") as out:
        for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            n += 1
            out.write(json.dumps({
                "appId": "www", "partnerId": row["host"], "timestamp": int(row["time"]) * 1000, "endpoint": row["url"],
                "method": row["method"], "statusCode": int(row["response"]), "responseTime": 0,
                "responseSize": int(row["bytes"] or 0),
            }) + "\n")
    return path, n


def test_a_real_combined_log(apache, tmp_path):
    """Every line of it is an event, every client a partner; text and JSON tell the same; changes come in order."""
    text = gzip.decompress(apache.read_bytes()).decode().splitlines()
    out = tmp_path / "transitions.jsonl"
    options = ("--learning-hours", "12", "--learning-events", "30")
    facts = replay(apache, *options, "--transitions", out)
    assert (facts["lines"], facts["events"], facts["broken"]) == (len(text), len(text), 0)
    assert facts["partners"]["seen"] == len({line.split()[0] for line in text})
    changes = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(changes) == facts["changes"] > 0
    assert [c["timestamp"] for c in changes] == sorted(c["timestamp"] for c in changes)
    said = run("replay", apache, *options).stdout
    assert f"{len(text):,} lines".encode() in said
    assert sum(said.count(level.encode() + b"\n") for level in ("block", "quarantine", "throttle")) == len(facts["stopped"])
    assert not IPV4.search(said + out.read_bytes())


def test_the_same_log_gives_the_same_verdicts(apache):
    """Pseudonyms are drawn anew, everything else agrees."""
    first, second = (replay(apache, "--learning-hours", "6", "--learning-events", "20") for _ in range(2))
    names = [[story.pop("partner") for story in facts["stopped"] + facts["alerted"]] for facts in (first, second)]
    for facts in (first, second):
        del facts["seconds"], facts["lines_per_second"]
    assert first == second
    assert names[0]
    assert not set(names[0]) & set(names[1])


def test_a_real_log_as_json_lines(nasa):
    """No row of it is lost."""
    path, n = nasa
    facts = replay(path)
    assert (facts["lines"], facts["events"], facts["broken"], facts["interrupted"]) == (n, n, 0, False)
    assert facts["partners"]["seen"] > 1000


def common(log):
    return re.sub(rb' "-" "curl/8.5.0"', b"", log)


@pytest.mark.parametrize("change", [
    lambda log: log,
    common,
    lambda log: log.replace(b"\n", b"\r\n"),
    lambda log: log.rstrip(b"\n"),
    lambda log: b"\xef\xbb\xbf" + log,
    gzip.compress,
    lambda log: gzip.compress(log[:5000]) + gzip.compress(log[5000:]),
])
def test_shapes_of_an_access_log(change, tmp_path):
    """Common and combined, CR LF, no last newline, a byte order mark, gzip in one or more parts; from file and pipe."""
    log = change(combined(300))
    path = tmp_path / "access.log"
    path.write_bytes(log)
    for facts in (replay(path), replay("-", stdin=log)):
        assert (facts["lines"], facts["events"], facts["partners"]["seen"]) == (300, 300, 5)
        assert facts["sources"][0]["format"] == "access log"


@pytest.mark.parametrize("change", [
    lambda log: log,
    lambda log: log.replace(b"\n", b"\r\n"),
    lambda log: log.rstrip(b"\n"),
    lambda log: b"\xef\xbb\xbf" + log,
    lambda log: b"\n" + log.replace(b"\n", b"\n\n", 3),
    gzip.compress,
])
def test_shapes_of_json_lines(change, tmp_path):
    """The same for JSON lines; empty lines are nothing."""
    log = change(lines(event(i) for i in range(200)))
    path = tmp_path / "events"
    path.write_bytes(log)
    for facts in (replay(path), replay("-", stdin=log)):
        assert (facts["events"], facts["broken"], facts["partners"]["seen"]) == (200, 0, 4)
        assert facts["sources"][0]["format"] == "JSON lines"


def test_broken_lines_are_counted_and_shown(tmp_path):
    """Lines that cannot be read are told by number and reason; those around them count."""
    bad = [b"what is this", b"\0\0\0", b"\xff\xfe\xfd", b'1.2.3.4 - - [99/Foo/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1',
           b"x" * 1_200_000]
    log = combined(20) + b"\n".join(bad) + b"\n" + combined(20, first=20)
    path = tmp_path / "access.log"
    path.write_bytes(log)
    facts = replay(path, "--format", "combined")
    assert (facts["lines"], facts["events"], facts["broken"]) == (45, 40, 5)
    assert [example["line"] for example in facts["sources"][0]["broken_examples"]] == [21, 22, 23, 24, 25]
    assert all(example["reason"] for example in facts["sources"][0]["broken_examples"])
    said = run("replay", path).stdout.decode()
    assert "5 of 45 lines" in " ".join(said.split())
    assert "line 21: " in said


def test_broken_json_lines_name_the_field(tmp_path):
    """What is wrong with a field is said in words; a line of two megabytes ends nothing."""
    log = (lines([event(0), event(1, statusCode=42)]) + b"[1, 2]\n{nonsense\n" + lines([event(2, partnerId=None)])
           + b'{"a": "' + b"x" * 2_500_000 + b'"}\n' + lines([event(3)]))
    facts = replay("-", "--format", "jsonl", stdin=log)
    assert (facts["lines"], facts["events"], facts["broken"]) == (7, 2, 5)
    reasons = {example["line"]: example["reason"] for example in facts["sources"][0]["broken_examples"]}
    assert reasons[2] == "statusCode is 42; allowed is a whole number from 100 to 599"
    assert "no object" in reasons[3]
    assert "not JSON" in reasons[4]
    assert reasons[5] == "partnerId is missing"
    assert "longer" in reasons[6]


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda packed: packed[: len(packed) * 2 // 3], "ends in the middle"),
    (lambda packed: packed[: len(packed) * 2 // 3] + b"\xff" * 400 + packed[len(packed) * 2 // 3 + 400 :], "damaged"),
])
def test_a_spoilt_archive_counts_up_to_where_it_ends(spoil, said, tmp_path):
    """Truncated or damaged: the report says so, and what came before is in it."""
    path = tmp_path / "access.log.gz"
    log = combined(20_000, clients=200)
    path.write_bytes(spoil(gzip.compress(log)))
    facts = replay(path)
    assert 1000 < facts["events"] < 20_000
    assert said in facts["sources"][0]["cut"]
    assert said in " ".join(run("replay", path).stdout.decode().split())


def test_files_are_read_in_the_order_of_time(tmp_path):
    """Rotated logs in any order and logs of two hosts side by side give what the one sorted log gives."""
    whole = combined(6000, step=30)
    rows = whole.splitlines(keepends=True)
    (tmp_path / "whole").write_bytes(whole)
    for i in range(3):
        (tmp_path / f"part{i}").write_bytes(b"".join(rows[i * 2000 : (i + 1) * 2000]))
    for i in range(2):
        (tmp_path / f"host{i}").write_bytes(b"".join(rows[i::2]))
    one = replay(tmp_path / "whole", "--show-clients")
    for names in (["part2", "part0", "part1"], ["host0", "host1"]):
        several = replay(*(tmp_path / name for name in names), "--show-clients")
        assert several["late"] == 0
        for fact in ("events", "from", "to", "partners", "stopped", "alerted", "changes"):
            assert several[fact] == one[fact], fact


def test_an_empty_file_is_no_error(tmp_path):
    """Nothing to read: the report says so, exit code 0."""
    (tmp_path / "empty").touch()
    done = run("replay", tmp_path / "empty")
    assert done.returncode == 0
    assert b"There was not one line" in done.stdout


def test_fields_by_other_names():
    """--map reaches into nested objects; times as ISO 8601, seconds and milliseconds; numbers as texts and ids."""
    log = lines([
        {"who": {"id": 7}, "t": "2026-03-01T00:00:00Z", "req": {"path": "/a"}, "ms": "12.5", "code": "200"},
        {"who": {"id": 7}, "t": 1772323201, "req": {"path": "/a"}, "ms": 3, "code": 200},
        {"who": {"id": "8"}, "t": 1772323202000, "req": {"path": "/a"}, "ms": 3, "code": 404},
    ])
    words = ("--map", "partnerId=who.id", "--map", "timestamp=t", "--map", "endpoint=req.path", "--map", "responseTime=ms",
             "--map", "statusCode=code")
    facts = replay("-", *words, stdin=log)
    assert (facts["events"], facts["broken"], facts["partners"]["seen"]) == (3, 0, 2)
    assert facts["to"] - facts["from"] == 2000


@pytest.mark.parametrize("log", [
    combined(2000, step=60),
    lines(event(i, timestamp=1_767_225_600_000 + i * 60_000, partnerId="x", clientIp=f"203.0.113.{i % 5}") for i in range(2000)),
])
def test_clients_have_pseudonyms(log, tmp_path):
    """No address is in anything that comes out, unless --show-clients asks for it."""
    attack = log + (log.splitlines(keepends=True)[-1].replace(b'"GET', b'"POST').replace(b" 200 ", b" 401 ")
                    .replace(b'"statusCode": 200', b'"statusCode": 401')) * 300
    out = tmp_path / "transitions.jsonl"
    done = run("replay", "-", "--partner", "client", "--transitions", out, stdin=attack)
    assert done.returncode == 0
    assert re.search(rb"client-[0-9a-f]{8}( \(shop\))? +block", done.stdout)
    assert out.stat().st_size > 0
    assert not IPV4.search(done.stdout + out.read_bytes())
    assert IPV4.search(run("replay", "-", "--partner", "client", "--show-clients", stdin=attack).stdout)


def test_simulated_attacks_are_found_and_nobody_else(tmp_path):
    """A day of learning, then eight attacks on eight of twenty partners: those are stopped within five minutes, no other."""
    events, truth = tmp_path / "events.jsonl", tmp_path / "truth.jsonl"
    kinds = "burst,credential_stuffing,enumeration,exfiltration,stolen_key,probing,injection,deletes"
    assert run("simulate", "--partners", 20, "--hours", 60, "--seed", 3, "--attacks", kinds, "--out", events, "--truth",
               truth).returncode == 0
    attacked = {entry["partner"]: entry for entry in map(json.loads, truth.read_text().splitlines())}
    stopped = {story["partner"]: story for story in replay(events)["stopped"]}
    assert stopped.keys() == attacked.keys()
    for partner, story in stopped.items():
        assert attacked[partner]["from"] <= story["stopped"] <= attacked[partner]["from"] + 300_000
        assert story["requests_refused"] > 0.5 * story["requests_while_stopped"] > 0
        assert story["reasons"]


def peak(path):
    """Most memory that a replay of the file took, bytes."""
    code = (f"import subprocess, resource; subprocess.run([{PROGRAM!r}, 'replay', {str(path)!r}], check=True, "
            "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    unit = 1 if sys.platform == "darwin" else 1024
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) * unit


@pytest.mark.memory
@pytest.mark.parametrize("kind", ["combined", "jsonl"])
def test_memory_does_not_grow_with_the_log(kind, tmp_path):
    """A log ten times as long takes at most 8 MiB more."""
    sizes = []
    for n in (30_000, 300_000):
        path = tmp_path / str(n)
        path.write_bytes(combined(n) if kind == "combined" else lines(event(i) for i in range(n)))
        sizes.append(peak(path))
    assert sizes[1] - sizes[0] < 8 << 20


@pytest.mark.parametrize(("words", "said"), [
    (["nowhere.log"], "nowhere.log: cannot be read: no such file or directory"),
    (["."], ".: cannot be read: is a directory"),
    (["-", "--transitions", "nowhere/out.jsonl"], "nowhere/out.jsonl: cannot be written: no such file or directory"),
    (["-", "--threshold-throttle", "20"], "thresholds"),
    (["-", "--threshold-block", "101"], "101"),
    (["-", "--learning-hours", "-1"], "learning_hours is -1.0; allowed is"),
    (["-", "--capacity", "0"], "capacity is 0; allowed is"),
    (["-", "--format", "jsonl", "--map", "nonsense"], "--map is nonsense; allowed is NAME=FIELD with NAME one of appId"),
    (["-", "--partner", "cookie"], "--partner is cookie; in an access log it is one of client, user, vhost"),
])
def test_what_cannot_be_done_is_one_line_and_exit_code_2(words, said, tmp_path):
    """Nothing is replayed; standard error names the thing, its value and what is allowed."""
    done = subprocess.run([PROGRAM, "replay", *words], input=combined(3), capture_output=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") <= (1 if done.stderr.startswith(b"ztmon") else 4)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path):
    """Permission denied is one line as well."""
    path = tmp_path / "secret.log"
    path.write_bytes(combined(3))
    path.chmod(0)
    done = run("replay", path)
    assert (done.returncode, done.stderr.decode().strip()) == (2, f"ztmon replay: {path}: cannot be read: permission denied")


def test_a_reader_that_leaves_early_hears_no_complaint():
    """`ztmon replay | head -1` ends without a traceback."""
    done = subprocess.run(f"{PROGRAM} replay - | head -n 1", shell=True, input=combined(50), capture_output=True, timeout=60)
    assert done.stdout.startswith(b"ztmon replay of standard input")
    assert done.stderr == b""


def test_ctrl_c_reports_what_was_read():
    """Interrupted in the middle of a pipe: exit code 130 and a report."""
    # who starts the tests in the background has its children ignore Ctrl-C
    with subprocess.Popen([PROGRAM, "replay", "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        # more than a pipe and the reader's buffers hold: once it is written, events have been taken in
        process.stdin.write(combined(60_000))
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (130, b"")
    facts = json.loads(said)
    assert facts["interrupted"] is True
    assert 0 < facts["events"] <= 60_000


def test_a_replay_leaves_the_store_alone(tmp_path):
    """Whatever store and Redis the environment names for the service, a replay of old logs writes to none of them."""
    env = {**os.environ, "ZTMON_STORE": str(tmp_path / "store.db"), "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1"}
    done = run("replay", "--json", "-", stdin=combined(500), env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["events"] == 500
    assert list(tmp_path.iterdir()) == []
