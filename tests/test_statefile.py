"""The state file: who makes it, who attaches, what is refused or set aside, what outlives what."""

import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys

import pytest

from ztcore import statefile
from ztcore.engine import Engine
from ztcore.inspect import describe
from ztcore.layout import ROW
from ztcore.statefile import HEAD, StateError
from ztmon import Action, Config, ConfigError, Monitor
from ztmon.state import read

from .logs import run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a state file needs Linux")

BOOT = HEAD.size - 48
"""Where the boot id stands in the header; clean and checksum follow."""


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
