"""Builds the floors, and warms up one engine for the benchmarks of a group."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import traffic

from ztcore.engine import Engine

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "benchmarks"


def floor_module():
    """The compiled floor.pyx, made anew where it changed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    built = sorted(BUILD.glob("floor.*.so"))
    sources = Path(__file__), HERE / "floor.pyx", HERE.parent / "src/ztcore/datagrams.h"
    if not built or built[0].stat().st_mtime < max(source.stat().st_mtime for source in sources):
        code = ("import sys; from setuptools import setup; from setuptools.extension import Extension; "
                "from Cython.Build import cythonize; "
                f"setup(name='floor', ext_modules=cythonize([Extension('floor', [{str(HERE / 'floor.pyx')!r}], "
                "extra_compile_args=['-O3'], "
                f"include_dirs=[{str(HERE.parent / 'src/ztcore')!r}])], build_dir={str(BUILD)!r}, "
                "compiler_directives={'language_level': 3, 'boundscheck': False, 'wraparound': False}), "
                f"script_args=['-q', 'build_ext', '--force', '--build-lib', {str(BUILD)!r}, '--build-temp', {str(BUILD)!r}])")
        subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE)
        built = sorted(BUILD.glob("floor.*.so"))
    spec = importlib.util.spec_from_file_location("floor", built[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def floor():
    return floor_module()


@pytest.fixture(scope="module")
def engines():
    """Warmed-up engines by (partners, raw): the engine and the time it has come to."""
    made = {}

    def engine(partners, raw):
        if (partners, raw) not in made:
            made.clear()        # a million partners are two gigabytes
            e = Engine(max(partners, 65536))
            made[partners, raw] = [e, traffic.warm_up(e, partners, raw)]
        return made[partners, raw]

    return engine
