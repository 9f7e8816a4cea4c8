"""The adapters before the oldest and the newest frameworks they promise to serve, and those around FastAPI 0.137, which changed
how routers are included. Each set is installed into a folder of its own, ahead of everything else."""

import os
import subprocess
import sys

import pytest

from .tree import REPO

pytestmark = pytest.mark.frameworks

SETS = {
    "oldest": ["fastapi==0.110.0", "starlette==0.36.3", "flask==3.0.0", "werkzeug==3.0.0", "django==4.2", "litestar==2.9.0"],
    "fastapi 0.136": ["fastapi>=0.136,<0.137"],
    "fastapi 0.137": ["fastapi>=0.137,<0.138"],
    "newest": ["fastapi", "starlette", "flask", "werkzeug", "django", "litestar"],
}
FILES = ("test_adapters.py", "test_streams.py", "test_served.py", "test_guard.py")


def run(*words, **env):
    done = subprocess.run([sys.executable, *words], cwd=REPO, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", SETS)
def test_adapters_with_other_versions(name, tmp_path):
    """The same tests pass as with the versions installed here; what those versions deprecate themselves is not looked at."""
    folder = str(tmp_path / "site")
    run("-m", "pip", "install", "--quiet", "--upgrade", "--target", folder, *SETS[name])
    said = run("-c", "import importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in "
                     "('fastapi', 'starlette', 'flask', 'werkzeug', 'django', 'litestar')), sep=', ')", PYTHONPATH=folder)
    print(said.strip())
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *(f"tests/{file}" for file in FILES), PYTHONPATH=folder)
