"""A real HAProxy whose access log teaches the engine, and a real Caddy that asks it: the configurations of docs/proxies.md."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest

from .conftest import missing
from .gateways import Gateway
from .proxied import LEVELS, TRUSTED, application, call, configuration, gateway_by_udp, pin, profile, serving
from .servers import free_port, until


def program(name):
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if found is None:
        missing(f"no {name}: install Debian's package of that name")
    return found


def test_haproxys_access_log_teaches_the_engine(tmp_path):
    """What HAProxy logs by syslog is taken, whatever is in a path: partner, calls, statuses; who has no key is not logged."""
    with application() as behind, gateway_by_udp() as (gateway, udp):
        text, port = configuration("haproxy.cfg", udp=udp, application=behind)
        (tmp_path / "haproxy.cfg").write_text(text)
        with serving(port, [program("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")], tmp_path):
            for _ in range(20):
                assert call(port, "acme")[0] == 200
            for _ in range(3):
                assert call(port, "acme", "/api/login?status=401", "POST")[0] == 401
            assert call(port, "acme", "/api/odd%22%5C,%7B%7D?q='*%25")[0] == 200
            assert call(port, "globex")[0] == 200
            assert call(port)[0] == 200
            until(lambda: profile(gateway, "acme") and profile(gateway, "acme")["events"] == 24)
            until(lambda: profile(gateway, "globex") and profile(gateway, "globex")["events"] == 1)
        found = json.loads(gateway.ask("GET", "/stats")[2])
        assert (found["udp_taken"], found["udp_refused"], found["udp_clamped"]) == (25, 0, 0)
        assert {p["partner"] for p in gateway.get("/partners")[1]["partners"]} == {"acme", "globex"}
        assert "secret" not in json.dumps(profile(gateway, "acme"))


@contextmanager
def caddy(folder, **ports):
    """Caddy with the page's configuration. The port it listens on."""
    text, port = configuration("Caddyfile", **ports)
    (folder / "Caddyfile").write_text("{\n    admin off\n}\n" + text)
    words = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with serving(port, words, folder, env={**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}):
        yield port


@pytest.fixture(scope="module")
def behind_caddy(tmp_path_factory):
    """(gateway, port of Caddy)"""
    with application() as behind, Gateway(env=TRUSTED) as gateway, caddy(
            tmp_path_factory.mktemp("caddy"), gateway=gateway.port, application=behind) as port:
        yield gateway, port


@pytest.mark.parametrize(("level", "expected"), LEVELS)
def test_caddy_at_every_level(behind_caddy, level, expected):
    """Caddy passes each answer on as it is, 429 with Retry-After too, and lets nobody say who they are."""
    gateway, port = behind_caddy
    pin(gateway, "acme", level)
    found = [call(port, "acme", **{"X-Partner-ID": "globex"}) for _ in range(20)]
    assert found[-1][0] == expected
    assert {status for status, _, _ in found} <= {200, expected}
    assert ("Retry-After" in found[-1][1]) == (expected >= 400)
    assert call(port, "globex", **{"X-Partner-ID": "acme"})[0] == 200
    assert call(port, None, **{"X-Partner-ID": "acme"})[0] == 200
    assert gateway.ask("POST", "/partners/acme/restore?app=shop", b'{"reason": "a test"}')[0] == 200


def test_caddy_without_a_gateway_fails_closed(tmp_path):
    """As the page says, nobody passes where the gateway is away."""
    with application() as behind, caddy(tmp_path, gateway=free_port(), application=behind) as port:
        assert call(port, "acme")[0] == 502
