"""Builds the native core. Everything that is not about compiling is in pyproject.toml.

Switches, read from the environment:
    ZTMON_QUICK=1     not optimised: the C is compiled in a quarter of the time
    ZTMON_DEBUG=1     -O1 -g, line tracing, an annotated .html beside each generated C file
    ZTMON_SANITIZE=K  -O1 -g with sanitizers: K is address (and undefined behaviour) or thread
    ZTMON_STRICT=1    a Cython performance hint (a hidden GIL or exception check) fails the build
"""

import hashlib
import multiprocessing
import os
import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from setuptools import Distribution, Extension, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

try:
    import fcntl
except ImportError:
    fcntl = None

CORE = Path("src/ztcore")
ADAPTERS = Path("src/ztmon/adapters")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "show_performance_hints": True,
}
# Results must not differ between machines: no fused multiply-add, nothing of -march=native.
RELEASE = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
QUICK = ["-O0", "-g0"]
DEBUG = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-math-errno", "-ffp-contract=off"]
FLAGS = {"release": RELEASE, "quick": QUICK, "debug": DEBUG}
HINTED = ", with performance hints"
SANITIZERS = {
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    # It does not know fences; the one reader that relies on them is left out in tests/races.supp.
    "thread": ["-fsanitize=thread", "-Wno-tsan"],
}


def switched(name):
    return os.environ.get(name, "0").lower() not in ("", "0", "false", "no")


def extensions():
    """One extension module for each .pyx file of the core."""
    headers = sorted(str(path) for path in CORE.glob("*.h"))
    return [
        Extension(f"ztcore.{path.stem}", [str(path)], depends=headers)
        for path in sorted(CORE.glob("*.pyx"))
    ]


def layout():
    """Packages and where they lie. A checkout without symbolic links has a text file for ADAPTERS."""
    found = {"package_dir": {"": "src"}, "packages": find_packages("src")}
    if not ADAPTERS.is_dir() and Path("adapters").is_dir():
        inner = ["ztmon.adapters." + name for name in find_packages("adapters")]
        found["packages"] += ["ztmon.adapters", *inner]
        found["package_dir"]["ztmon.adapters"] = "adapters"
    return found


@contextmanager
def one_at_a_time():
    """Builds of the same tree wait for each other, where the system has file locks."""
    Path("build").mkdir(exist_ok=True)
    with open("build/.lock", "w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Hints:
    """Watches what Cython prints, also in its child processes, and refuses performance hints."""

    def __enter__(self):
        sys.stderr.flush()
        self._stderr = os.dup(2)
        self._printed = tempfile.TemporaryFile()
        os.dup2(self._printed.fileno(), 2)
        return self

    def __exit__(self, *failure):
        sys.stderr.flush()
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        self._printed.seek(0)
        printed = self._printed.read().decode(errors="replace")
        self._printed.close()
        sys.stderr.write(printed)
        self.found = printed.count("performance hint:")


class BuildCore(build_ext):
    """build_ext that cythonizes in parallel, out of the source tree, and knows the switches above."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1
        if self.editable_mode:
            # An editable install is given new folders each time: use the ones of build_ext --inplace.
            usual = build(Distribution())
            usual.ensure_finalized()
            self.build_lib, self.build_temp = usual.build_platlib, usual.build_temp

    def build_extensions(self):
        with one_at_a_time():
            mode = os.environ.get("ZTMON_SANITIZE") or next(
                (name for name in ("debug", "quick") if switched(f"ZTMON_{name.upper()}")), "release")
            if mode not in (*FLAGS, *SANITIZERS):
                sys.exit(f"error: ZTMON_SANITIZE={mode!r}; known are {', '.join(SANITIZERS)}")
            note = Path(self.build_temp) / ".built"
            note.parent.mkdir(parents=True, exist_ok=True)
            now = self._what_time_stamps_do_not_show(mode)
            before = note.read_text() if note.exists() else ""
            strict = switched("ZTMON_STRICT")
            if before != now and (strict or before != now + HINTED):
                self.force = True
                note.write_text("")
            hints = self._cythonize(mode)
            if hints and strict:
                note.write_text("")
                sys.exit(f"error: {hints} Cython performance hints, see above (ZTMON_STRICT=1)")
            if hints or (before.endswith(HINTED) and not self.force):
                now += HINTED
            self._set_flags(mode)
            super().build_extensions()
            note.write_text(now)

    def _what_time_stamps_do_not_show(self, mode):
        """Another mode, another Cython or another version of this file."""
        this = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()
        return f"{mode} {version('Cython')} {this}"

    def _cythonize(self, mode):
        """From .pyx to C, where something changed. How many performance hints there were."""
        from Cython.Build import cythonize

        forks = multiprocessing.get_start_method() == "fork"
        with Hints() as hints:
            modules = cythonize(
                self.extensions,
                build_dir=f"build/cython-{mode}",
                include_path=["src"],
                nthreads=self.parallel if forks else 0,
                annotate=mode == "debug",
                compiler_directives={**DIRECTIVES, "linetrace": mode == "debug"},
                force=self.force,
            )
        made = {module.name: module for module in modules}
        for extension in self.extensions:
            extension.sources = made[extension.name].sources
            extension.depends = made[extension.name].depends
        return hints.found

    def _set_flags(self, mode):
        for extension in self.extensions:
            if self.compiler.compiler_type == "msvc":
                extension.include_dirs.append(str(CORE))
                extension.extra_compile_args += ["/O2", "/fp:precise", "/std:c11"]
                continue
            # -iquote, not -I: a header of ours must never stand in for a system header.
            # Cython counts over an enumeration in an int, whatever the variable is.
            extension.extra_compile_args += ["-iquote", str(CORE), "-Wno-sign-compare"]
            extension.extra_compile_args += FLAGS.get(mode, DEBUG)
            if mode in SANITIZERS:
                extension.extra_compile_args += SANITIZERS[mode]
                extension.extra_link_args += SANITIZERS[mode]
            elif mode == "debug":
                extension.define_macros.append(("CYTHON_TRACE_NOGIL", "1"))


setup(
    **layout(),
    package_data={
        "": ["py.typed", "*.pyi", "*.lua"],
        "ztmon.adapters": ["dashboard/**/*"],
    },
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildCore},
)
