"""The rules of the house, checked as tests."""

import ast
import re
import subprocess
import sys

import pytest

from .tree import GENERATED, REPO, git, own_files, own_text

pytestmark = pytest.mark.whole_tree

LINES = 450
LEFT_OPEN = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def run(*arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff():
    """The linter has nothing to say."""
    run("-m", "ruff", "check", "--no-cache", ".")


def test_mypy(tmp_path):
    """The type checker has nothing to say about the installed packages."""
    run("-m", "mypy", "--cache-dir", str(tmp_path))


def test_stubs_agree_with_the_modules():
    """What the stubs of the compiled modules say is what the modules have."""
    modules = [f"ztcore.{path.stem}" for path in (REPO / "src/ztcore").glob("*.pyi")]
    run("-m", "mypy.stubtest", "--ignore-missing-stub", "--ignore-disjoint-bases", *modules)


def test_files_are_short():
    """No source file is too long to know at a glance."""
    long = {
        str(path): lines
        for path, text in own_text(".py", ".pyx", ".pxd", ".pyi", ".h", ".lua")
        if (lines := text.count("\n")) > LINES
    }
    assert long == {}


def test_nothing_is_left_open():
    """No source file or page says that it is to be finished later."""
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in own_text(".py", ".pyx", ".pxd", ".pyi", ".h", ".md", ".toml", ".lua")
        for number, line in enumerate(text.splitlines(), 1)
        if LEFT_OPEN.search(line)
    ]
    assert found == []


def test_nothing_generated_is_tracked():
    """Version control holds what people wrote, nothing that a build makes."""
    tracked = git("ls-files")
    if tracked is None:
        pytest.skip("not a git checkout")
    assert [name for name in tracked.splitlines() if GENERATED.search(name)] == []


def test_directives_are_central():
    """Compiler directives are set in setup.py, not file by file."""
    found = [
        str(path)
        for path, text in own_text(".pyx", ".pxd")
        if re.search(r"^\s*#\s*(cython|distutils)\s*:", text, re.MULTILINE)
    ]
    assert found == []


def test_every_test_says_what_it_shows():
    """Each test function has a sentence as its docstring."""
    silent = []
    for path in own_files():
        if path.parts[0] != "tests" or path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse((REPO / path).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            said = (ast.get_docstring(node) or "").strip()
            if node.name.startswith("test_") and not said.endswith((".", "?", "!")):
                silent.append(f"{path}:{node.lineno}: {node.name}")
    assert silent == []


def test_no_mocks_and_no_sleeping():
    """Tests use the real components and never sleep for luck."""
    forbidden = re.compile(r"\bunittest\.mock\b|\bMagicMock\b|\btime\.sleep\(")
    found = [
        f"{path}:{number}"
        for path, text in own_text(".py")
        if path.parts[0] == "tests" and path.name != "test_sourcecode.py"
        for number, line in enumerate(text.splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []
