"""The state file: who makes it, who attaches, what is refused or set aside, what outlives what."""

import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time

import pytest

from ztcore import statefile
from ztcore.engine import Engine
from ztcore.inspect import describe
from ztcore.layout import ROW
from ztcore.statefile import BOOT, StateError
from ztmon import Action, Config, ConfigError, Monitor
from ztmon.state import read

from .conftest import missing
from .logs import run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a state file needs Linux")



@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state")


def made(path, **settings):
    """A state with one partner that was closed properly."""
    engine = Engine(100, state=path, **settings)
    for _ in range(5):
        engine.observe("acme", "/a")
    engine.detach()


def events(path):
    """Of the partner, when attached to anew; 0 in a new file."""
    engine = Engine(100, state=path)
    row = engine.row("acme")
    engine.detach()
    return 0 if row is None else int(row["events"])


def patch(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_monitor_makes_it_and_others_attach(path):
    """From the configuration: one set of partners for all monitors; only its owner may read it."""
    first, second = (Monitor(Config(state=path, capacity=100, shadow=False)) for _ in range(2))
    first.observe("acme", "/a")
    second.pin("acme", Action.BLOCK)
    assert first.check("acme").enforced
    assert second.profile("acme").events == 1
    for name in (path, path + ".lock"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600
    first.close()
    second.close()


def test_many_at_once_make_one(tmp_path):
    """Whoever comes first makes it, the others attach; nobody is refused."""
    for i in range(10):
        path = str(tmp_path / str(i))
        waiting, go = os.pipe()
        children = []
        for _ in range(8):
            children.append(os.fork())
            if children[-1] == 0:
                try:
                    os.close(go)
                    os.read(waiting, 1)
                    Engine(100, state=path).observe("acme", "/a")
                    os._exit(0)
                except BaseException as error:
                    (tmp_path / "said").write_text(str(error))
                    os._exit(1)
        os.close(waiting)
        os.close(go)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        assert codes == [0] * 8, (tmp_path / "said").read_text()
        engine = Engine(100, state=path)
        deadline = time.monotonic() + 60
        while sum(engine.stats()[name] for name in ("events", "turned_away")) < 8 and time.monotonic() < deadline:
            os.sched_yield()        # its janitor takes in what was left posted
        stats = engine.stats()
        assert stats["events"] + stats["turned_away"] == 8      # who admits the partner is not waited for for long
        engine.detach()


def test_what_was_learned_outlives_its_processes(path):
    """Closed properly or killed: the next one goes on where the last one was."""
    made(path)
    assert events(path) == 5
    code = ("import sys, os, signal; from ztcore.engine import Engine; e = Engine(100, state=sys.argv[1]); "
            "e.observe('acme', '/a'); os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    assert not read(path)["clean"]
    assert events(path) == 6


def test_another_configuration_is_refused(path):
    """Capacity and hash key fix what a row means; the message names both values and what to do."""
    made(path, hash_key=bytes(range(16)))
    with pytest.raises(ConfigError, match=r"has capacity 100, the configuration says 200; set capacity to 100"):
        Monitor(Config(state=path, capacity=200))
    with pytest.raises(StateError, match="made with another hash_key"):
        Engine(100, bytes(16), state=path)
    assert Engine(100, bytes(range(16)), state=path).hash_key == bytes(range(16))
    assert Engine(100, state=path).hash_key == bytes(range(16))


@pytest.mark.parametrize("spoil", [
    lambda path: patch(path, 0, b"nonsense"),
    lambda path: os.truncate(path, 10),
    lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, os.stat(path).st_size - 4096),
    lambda path: patch(path, 8, struct.pack("<I", 99)),
    lambda path: patch(path, BOOT, b"x" * 16 + bytes(16)),                                  # not closed before a restart
    lambda path: (patch(path, BOOT, b"x" * 16), patch(path, describe_rows(path) + 70, b"torn")),    # closed, and torn
])
def test_what_is_damaged_is_set_aside(path, spoil, caplog):
    """A header that is none, a file cut short, another layout, a restart of the machine in the middle, a torn write:
    the file is kept as .damaged and a new one begun, with a warning that says why."""
    made(path)
    spoil(path)
    assert events(path) == 0
    assert os.path.exists(path + ".damaged")
    assert "it was set aside as" in caplog.text


def describe_rows(path):
    with open(path, "rb") as file:
        return describe(file.read())["rows_at"]


def test_a_closed_state_outlives_a_restart_of_the_machine(path):
    """With another boot id: taken up because its checksum holds."""
    made(path)
    patch(path, BOOT, b"x" * 16)
    assert read(path)["restarted_since"]
    assert events(path) == 5


def test_a_damaged_file_in_use_is_not_touched(path):
    """While somebody is attached it is refused."""
    engine = Engine(100, state=path)
    patch(path, 0, b"nonsense")
    with pytest.raises(StateError, match="other processes are attached to it; end them first"):
        Engine(100, state=path)
    engine.detach()


def test_what_cannot_be_opened(tmp_path):
    """A folder that does not exist, a folder in place of a file: one line."""
    for bad in (tmp_path / "nowhere" / "state", tmp_path):
        with pytest.raises(ConfigError, match=r"^state: .* cannot be|^state: .* is no state"):
            Monitor(Config(state=str(bad), capacity=100))


def test_so_many_and_no_more(path):
    """The sixty-fifth is refused; a slot that was left is used again."""
    engines = [Engine(1, state=path) for _ in range(statefile.SLOTS)]
    assert sorted(engine.slot for engine in engines) == list(range(statefile.SLOTS))
    with pytest.raises(StateError, match="64 processes are attached already"):
        Engine(1, state=path)
    engines.pop(17).detach()
    engines.append(Engine(1, state=path))
    for engine in engines:
        engine.detach()


def test_the_command_says_what_is_in_it(path):
    """Workers, partners, counts; as text and as JSON; sound."""
    engine = Engine(100, state=path)
    engine.observe("acme", "/a")
    text = run("state", path, "--verify").stdout.decode()
    assert "partners   1 of 100" in text
    assert f"pid {os.getpid()}" in text
    assert "waiting    0 events" in text
    assert "rows: all sound" in text
    found = json.loads(run("state", path, "--json").stdout)
    assert (found["occupied"], found["workers"][0]["alive"], found["clean"]) == (1, True, False)
    engine.detach()
    assert "closed by the last process" in run("state", path).stdout.decode()


@pytest.mark.parametrize(("field", "value", "why"), [
    ("level", b"\x09", "its level does not exist"),
    ("trials", struct.pack("<f", float("nan")), "a number in it is not finite"),
    ("key", b"\x01" * 8, "its key is not the one in the table"),
    ("name_length", b"\xff", "its name is too long"),
])
def test_verify_finds_a_broken_row(path, field, value, why):
    """Exit code 1, which row, and what is wrong with it."""
    made(path)
    with open(path, "rb") as file:
        block = file.read()
    rows_at = describe(block)["rows_at"]
    keys = [int.from_bytes(block[rows_at + i * ROW.itemsize + 8 :][:8], "little") for i in range(read(path)["rows"])]
    place = next(i for i, key in enumerate(keys) if key)
    patch(path, rows_at + place * ROW.itemsize + ROW.fields[field][1], value)
    done = run("state", path, "--verify")
    assert done.returncode == 1
    assert f"row {place}: {why}" in done.stdout.decode()


def test_the_command_on_what_is_no_state(tmp_path):
    """One line and exit code 2."""
    (tmp_path / "text").write_text("hello")
    for name, said in (("text", "is no state of ztmon's"), ("nowhere", "cannot be read: no such file")):
        done = run("state", tmp_path / name)
        assert done.returncode == 2
        assert said in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1


FULL = """
import resource, sys
from ztcore.engine import Engine
from ztcore.statefile import StateError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Engine(1000, state=sys.argv[1])
except StateError as error:
    print(error)
"""


def test_no_room_for_a_new_state(tmp_path):
    """Told at once, as an error that says how much was wanted; nothing is left behind."""
    state = tmp_path / "state"
    said = subprocess.run([sys.executable, "-c", FULL, state], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(rf"{state} cannot be made \([\d,]+ bytes\): file too large\n", said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.lock"]


@pytest.fixture
def tiny():
    """A filesystem of its own with a mebibyte of room."""
    if os.geteuid() != 0:
        missing("only root may mount a filesystem that is full soon")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "ztmon-test", folder], capture_output=True, text=True)
        if done.returncode:
            missing(f"no tmpfs can be mounted: {done.stderr.strip()}")
        yield folder
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(tiny):
    """Told when the state is made, not by a signal when the space is used; what had been begun is gone again."""
    path = os.path.join(tiny, "state")
    with pytest.raises(ConfigError, match=rf"^state: {path} cannot be made \([\d,]+ bytes\): no space left on device"):
        Monitor(Config(state=path, capacity=1000))
    assert os.listdir(tiny) == ["state.lock"]


def test_what_never_was_a_state_is_left_alone(tmp_path):
    """Somebody else's file, a pipe, a device: refused and not moved."""
    (tmp_path / "text").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("text", "is no state of ztmon's; remove it, or name another file"), ("pipe", "is no ordinary file")):
        with pytest.raises(StateError, match=why):
            Engine(100, state=str(tmp_path / name))
    assert (tmp_path / "text").read_text() == "hello"
    assert not list(tmp_path.glob("*.damaged"))


def test_a_link_in_place_of_the_new_file_is_not_followed(tmp_path):
    """In a folder that others may write to: what it points at stays as it is."""
    (tmp_path / "precious").write_text("hello")
    (tmp_path / "state.new").symlink_to(tmp_path / "precious")
    made(str(tmp_path / "state"))
    assert (tmp_path / "precious").read_text() == "hello"
    assert events(str(tmp_path / "state")) == 5


def test_a_lock_file_that_was_removed(path):
    """Slots cannot be told apart without it: refused while somebody is attached, made anew otherwise."""
    engine = Engine(100, state=path)
    os.unlink(path + ".lock")
    with pytest.raises(StateError, match=rf"{path}.lock was removed while process {os.getpid()} was attached"):
        Engine(100, state=path)
    engine.observe("acme", "/a")
    engine.detach()
    os.unlink(path + ".lock")
    assert events(path) == 1


def test_a_state_that_was_removed_in_use(path, caplog):
    """A new one is made, and it is said that there are two now."""
    engine = Engine(100, state=path)
    os.unlink(path)
    other = Engine(100, state=path)
    assert "was removed while processes are attached to it" in caplog.text
    engine.observe("acme", "/a")
    assert other.row("acme") is None
    engine.detach()
    other.detach()


def test_who_is_attached_is_told_by_the_locks(path):
    """A process that was killed is no longer there, even where its number is somebody else's by now."""
    code = "import sys, os, signal; from ztcore.engine import Engine; e = Engine(100, state=sys.argv[1]); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, path], check=False)
    with open(path, "rb") as file:
        at = file.read().find(struct.pack("<Q", read(path)["workers"][0]["pid"]))
    patch(path, at, struct.pack("<Q", os.getpid()))
    assert [(worker["pid"], worker["alive"]) for worker in read(path)["workers"]] == [(os.getpid(), False)]
    assert "no longer there" in run("state", path).stdout.decode()


def test_verify_finds_a_partner_with_two_rows(path):
    """Which a second look must not forget."""
    engine = Engine(100, state=path)
    for i in range(2):
        engine.observe(f"partner-{i}", "/a")
    keys = [engine.partner_key(f"partner-{i}") for i in range(2)]
    engine.detach()
    with open(path, "rb") as file:
        block = file.read()
    found = describe(block)
    for start, step in ((found["keys_at"], 8), (found["rows_at"] + 8, ROW.itemsize)):
        for i in range(read(path)["rows"]):
            if block[start + i * step :][:8] == struct.pack("<Q", keys[1]):
                patch(path, start + i * step, struct.pack("<Q", keys[0]))
    done = run("state", path, "--verify")
    assert done.returncode == 1
    assert "its partner has two rows" in done.stdout.decode()
