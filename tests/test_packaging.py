"""What is shipped: built offline from the sources, taken apart, and imported on its own."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from .tree import REPO, own_files

pytestmark = pytest.mark.whole_tree

# What `import ztmon` costs must stay near nothing over numpy: these are imported when used.
LATE = {
    "asyncio", "fastapi", "flask", "gzip", "http.client", "http.server", "multiprocessing", "numba",
    "platformdirs", "pydantic", "pydantic_settings", "redis", "rich", "sqlite3", "ssl", "tomllib",
    "typer", "urllib.request", "uvicorn",
}  # fmt: skip


def run(*arguments, cwd):
    """Run this Python on arguments; what it printed. Offline: no index may be asked. What it builds is not optimised, which
    takes half the time and changes nothing that is looked at here."""
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "ZTMON_QUICK": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source, out):
    run(
        "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
        "--no-build-isolation", "--wheel-dir", str(out), str(source), cwd=out,
    )  # fmt: skip
    (wheel,) = out.glob("ztmon-*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution of a fresh checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    for path in own_files():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / path, checkout / path)
    link = checkout / "src/ztmon/adapters"
    if not link.exists():
        link.symlink_to("../../adapters")
    out = tmp_path_factory.mktemp("sdist")
    run("-c", f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})", cwd=checkout)
    (archive,) = out.glob("ztmon-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel built from the source distribution alone."""
    return build_wheel(sdist, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python_from(folder, code):
    """Run code with the packages of folder in front of the ones installed for development."""
    return run("-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}", cwd=folder)


def test_sdist_has_sources_and_nothing_generated(sdist):
    """The source distribution holds every source file and no output of a build."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {str(path) for path in own_files() if path.parts[0] in ("src", "adapters", "tests", "docs")}
    assert wanted - names == set()
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE", "CHANGELOG.md", "Makefile"} <= names
    assert [name for name in names if name.endswith((".c", ".so", ".pyc"))] == []


def test_wheel_has_no_sources_of_the_core(wheel):
    """The wheel ships compiled modules, not what they were made from."""
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith((".c", ".h", ".pyx", ".pxd"))] == []
    modules = {name.partition(".")[0] for name in names if name.endswith((".so", ".pyd"))}
    assert modules == {f"ztcore/{path.stem}" for path in (REPO / "src/ztcore").glob("*.pyx")}


def test_wheel_has_everything_else(wheel):
    """Everything in the packages but the core's sources is in the wheel: modules, pages, type markers."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to("src")) if path.parts[0] == "src" else f"ztmon/{path}"
        for path in own_files()
        if path.parts[0] in ("src", "adapters") and path.suffix not in (".pyx", ".pxd", ".h")
    }
    assert wanted - names == set()
    assert {"ztcore/py.typed", "ztmon/py.typed", "ztmon/adapters/__init__.py"} <= names


def test_wheel_shadows_nobody(wheel):
    """At the top of site-packages the wheel puts its two packages and its metadata, nothing else."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ztcore", "ztmon"}


def test_metadata_names_what_is_needed(wheel):
    """The wheel's metadata state licence, Python versions, extras and the command."""
    with zipfile.ZipFile(wheel) as archive:
        info = next(name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = archive.read(f"{info}/METADATA").decode()
        commands = archive.read(f"{info}/entry_points.txt").decode()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
    extras = {line.split()[1] for line in metadata.splitlines() if line.startswith("Provides-Extra:")}
    assert extras >= {"all", "alerts", "copilot", "fastapi", "flask", "gateway", "numba", "redis", "test"}
    assert "ztmon = ztmon.cli:main" in commands


def test_wheel_works_alone(unpacked):
    """What the wheel installs observes an event without the source tree."""
    said = python_from(
        unpacked,
        "import ztcore.engine, ztmon, ztmon.adapters\n"
        "d = ztmon.Monitor().observe('acme', '/api/users', status=200, latency_ms=45.0)\n"
        "print(ztmon.__file__, ztcore.engine.__file__, ztmon.adapters.__file__, d.action.name)",
    )
    *files, action = said.split()
    assert all(name.startswith(str(unpacked)) for name in files)
    assert action == "MONITOR"


@pytest.mark.parametrize("use", ["import ztmon", "import ztmon; ztmon.Monitor().observe('acme', '/')"])
def test_import_is_light(use):
    """Importing ztmon, and a bare Monitor, import nothing that only other features need."""
    code = f"import json, sys, numpy; before = set(sys.modules)\n{use}\n" + (
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    new = json.loads(run("-I", "-c", code, cwd=REPO))
    assert LATE.intersection(new) == set()


def test_checkout_without_symbolic_links(tmp_path):
    """Where the link to the adapters was checked out as a text file, they are found all the same."""
    for path in own_files():
        if path.parts[0] in ("src", "adapters") and path.suffix == ".py":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / path, tmp_path / path)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(REPO / name, tmp_path / name)
    (tmp_path / "src/ztmon/adapters").write_text("../../adapters")
    run("setup.py", "-q", "build_py", "--build-lib", "out", cwd=tmp_path)
    shipped = {path.name for path in (tmp_path / "out/ztmon/adapters").glob("*.py")}
    assert shipped == {path.name for path in (REPO / "adapters").glob("*.py")}
