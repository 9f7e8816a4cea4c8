"""The protocol of a row's word, checked by spin: every interleaving of small worlds."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import missing

MODEL = Path(__file__).with_name("model") / "row_word.pml"
SMALL = [
    ["-DWORKERS=2", "-DEVENTS=2", "-DKILLS=2"],
    ["-DWORKERS=2", "-DEVENTS=1", "-DKILLS=2", "-DJANITORS=2"],
    ["-DWORKERS=2", "-DEVENTS=2", "-DKILLS=1", "-DLEAVES=2"],
]
LARGE = [["-DWORKERS=3", "-DEVENTS=1", "-DKILLS=1"], ["-DWORKERS=2", "-DEVENTS=3", "-DKILLS=1"]]


def check(world, folder):
    """What spin says of a world: (errors, states)."""
    if shutil.which("spin") is None:
        missing("no spin: install Debian's package of that name")
    subprocess.run(["spin", *world, "-a", MODEL], cwd=folder, check=True, capture_output=True)
    options = ["-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048"]
    subprocess.run(["gcc", *options, "-o", "pan", "pan.c"], cwd=folder, check=True)
    said = subprocess.run(["./pan", "-m1000000", "-n"], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert "max search depth too small" not in said
    return int(re.search(r"errors: (\d+)", said)[1]), int(float(re.search(r"([\d.e+]+) states, stored", said)[1]))


@pytest.mark.parametrize("world", SMALL + (LARGE if os.environ.get("ZTMON_TEST_MODELS") == "all" else []))
def test_no_event_twice_none_lost_no_row_left(world, tmp_path):
    """With kills before every store: each event once, one writer at a time, nothing stranded when all is still."""
    errors, states = check(world, tmp_path)
    assert errors == 0
    assert states > 100_000


@pytest.mark.parametrize("mistake", ["FORGETFUL", "HASTY"])
def test_the_model_would_notice(mistake, tmp_path):
    """A janitor that forgets a busy row, or takes for lost what is in its list: spin finds what comes of it."""
    errors, _ = check([f"-D{mistake}"], tmp_path)
    assert errors > 0
