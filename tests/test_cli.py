"""The program's own words: help, version, and the two ways in which a replay's options are read."""

import os
import subprocess
import sys
from dataclasses import asdict, fields

import pytest

import ztmon
from ztmon.replay.options import Options, quick

from .logs import combined, run


def test_version():
    """One line on standard output."""
    assert run("--version").stdout.decode() == f"ztmon {ztmon.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_lists_the_commands(words):
    """With --help and without a word: what there is, and where to start."""
    done = run(*words)
    said = (done.stdout + done.stderr).decode()
    for command in ("replay", "serve", "simulate"):
        assert command in said
    assert "ztmon replay access.log" in said


def test_an_unknown_command_is_refused():
    """Exit code 2, no traceback."""
    done = run("reply")
    assert done.returncode == 2
    assert b"reply" in done.stderr
    assert b"Traceback" not in done.stderr


def test_every_option_of_a_replay_is_in_its_help():
    """The options that can be read are those that are explained."""
    said = run("replay", "--help").stdout.decode()
    for option in fields(Options):
        assert option.name == "files" or "--" + option.name.replace("_", "-") in said


@pytest.mark.parametrize("words", [
    ["a.log"],
    ["a.log", "b.log", "--json", "--show-clients"],
    ["--format=jsonl", "--map", "partnerId=who", "--map=endpoint=path", "-"],
    ["a", "--partner", "user", "--app", "shop", "--transitions", "out", "--learning-hours", "1.5", "--learning-events", "7"],
    ["a", *(f"--threshold-{level}={n}" for n, level in enumerate(("alert", "throttle", "quarantine", "block"), 30)),
     "--capacity", "99"],
])
def test_both_ways_of_reading_options_agree(words, monkeypatch):
    """Plain command lines are read without the command line library, to the same options."""
    import typer.testing

    from ztmon import commands
    from ztmon.replay import command

    seen = []
    monkeypatch.setattr(command, "replay", lambda options: seen.append(options) or 0)
    done = typer.testing.CliRunner().invoke(commands.app, ["replay", *words])
    assert done.exit_code == 0, done.output
    assert asdict(quick(words)) == asdict(seen[0])


@pytest.mark.parametrize("words", [
    [], ["--json"], ["a", "--help"], ["a", "--unknown"], ["a", "--partner"], ["a", "--partner", "--json"],
    ["a", "--json=yes"], ["a", "--capacity", "many"], ["a", "--format", "xml"], ["-x"],
])
def test_the_quick_way_leaves_the_rest_to_the_full_one(words):
    """Whatever needs an explanation is not guessed at."""
    assert quick(words) is None


def test_a_plain_replay_loads_nothing_it_does_not_need(tmp_path):
    """Neither the command line library nor the reader of the environment, nor colours for a pipe."""
    path = tmp_path / "access.log"
    path.write_bytes(combined(10))
    code = ("import sys; from ztmon.cli import main; sys.argv = ['ztmon', 'replay', sys.argv[1]]\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print([m for m in ('typer', 'click', 'pydantic', 'rich', 'uvicorn', 'asyncio', 'numba') if m in sys.modules])")
    env = {name: value for name, value in os.environ.items() if not name.startswith("ZTMON_")}
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[-1] == "[]"


def test_formats_and_what_they_may_be():
    """An unknown format is refused with those there are."""
    done = run("replay", "x.log", "--format", "xml")
    assert done.returncode == 2
    assert b"auto, combined, common, jsonl" in done.stderr
