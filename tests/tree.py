"""The project's own files, as the tests on source text see them."""

import re
import subprocess
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
GENERATED = re.compile(
    r"\.(c|so|o|pyd|pyc)$|\.egg-info/|__pycache__/|^(build|dist|\.venv|\.git)/|^\.[a-z]+_cache/|^\.hypothesis/"
)
"""Matches relative paths of what tools make from the sources."""


def git(*arguments):
    """What git prints, or None where this is no checkout or there is no git."""
    if not (REPO / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(REPO), *arguments], capture_output=True, text=True, check=True
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


@cache
def own_files():
    """Relative paths of all files that are, or are about to be, in version control."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is not None:
        found = [REPO / name for name in listed.split("\0") if name]
    else:
        found = [
            path for path in REPO.rglob("*") if not GENERATED.search(path.relative_to(REPO).as_posix())
        ]
    return tuple(sorted(path.relative_to(REPO) for path in found if path.is_file()))


def own_text(*suffixes):
    """(relative path, text) of the own files with one of these suffixes."""
    return [
        (path, (REPO / path).read_text(encoding="utf-8"))
        for path in own_files()
        if path.suffix in suffixes and "adapters" not in path.parts[1:-1]
    ]
