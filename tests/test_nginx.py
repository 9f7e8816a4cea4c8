"""A real nginx in front of a real application: the configuration of docs/proxies.md at every level, its access log by syslog
being all that the engine learns from."""

import json
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from .conftest import missing
from .gateways import Gateway, ztmon
from .proxied import LEVELS, TRUSTED, application, call, configuration, gateway_by_udp, pin, profile, serving
from .servers import free_port, until

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


@contextmanager
def nginx(folder, patient=True, **ports):
    """nginx with the page's configuration, its ports replaced: gateway, udp, application. The port it listens on.
    patient: it waits for the gateway on a machine that is busy too."""
    if NGINX is None:
        missing("no nginx: install Debian's nginx-light")
    text, port = configuration("nginx.conf", **ports)
    if patient:
        text = text.replace("100ms", "20s").replace("250ms", "20s")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    modules = "".join(f"load_module {path};" for path in Path("/usr/lib/nginx/modules").glob("*auth_request*.so"))
    (folder / "nginx.conf").write_text(f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn; "
                                       f"{modules} events {{}} http {{ {paths} {text} }}")
    with serving(port, [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")], folder):
        yield port


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory):
    with application() as behind, gateway_by_udp() as (gateway, udp), nginx(
            tmp_path_factory.mktemp("nginx"), gateway=gateway.port, udp=udp, application=behind) as port:
        yield gateway, port


@pytest.fixture
def site(whole_site):
    """(gateway, port of nginx): the whole site, in which nobody has called yet."""
    for partner in whole_site[0].get("/partners")[1]["partners"]:
        assert whole_site[0].do("DELETE", f"/partners/{quote(partner['partner'])}?app=shop&reason=a+test")[0] == 200
    return whole_site


@pytest.fixture(scope="module")
def asked():
    """A gateway that is asked by tests themselves."""
    with gateway_by_udp() as (gateway, _):
        yield gateway


def test_the_access_log_teaches_the_engine(site):
    """What nginx logs by syslog is what the engine knows: partner, calls, statuses, no query and no raw id."""
    gateway, port = site
    for _ in range(20):
        assert call(port, "acme")[0] == 200
    for _ in range(3):
        assert call(port, "acme", "/api/login?status=401", "POST")[0] == 401     # the application's own
    assert call(port, "globex")[0] == 200
    until(lambda: profile(gateway, "acme") and profile(gateway, "acme")["events"] == 23)
    until(lambda: profile(gateway, "globex") and profile(gateway, "globex")["events"] == 1)
    stats = json.loads(gateway.ask("GET", "/stats")[2])
    assert stats["udp_refused"] == 0
    assert "secret" not in json.dumps(profile(gateway, "acme"))


@pytest.mark.parametrize(("level", "expected"), LEVELS)
def test_every_level(site, level, expected):
    """Each level is what the caller sees: passed, 429 with Retry-After, 401, 403; the others are not touched, refused calls
    are not learned from, and a restored partner passes again."""
    gateway, port = site
    assert call(port, "acme")[0] == 200
    until(lambda: profile(gateway, "acme"))
    pin(gateway, "acme", level)
    found = [call(port, "acme") for _ in range(40)]
    statuses = {status for status, _, _ in found}
    if level == "throttle":
        assert statuses == {200, 429}
        assert all(int(headers["Retry-After"]) >= 1 for status, headers, _ in found if status == 429)
    else:
        assert statuses == {expected}
    assert call(port, "globex")[0] == 200
    passed = 1 + sum(status == 200 for status, _, _ in found)
    until(lambda: profile(gateway, "globex"))
    until(lambda: profile(gateway, "acme")["events"] == passed)
    assert gateway.ask("POST", "/partners/acme/restore?app=shop", b'{"reason": "a test"}')[0] == 200
    assert call(port, "acme")[0] == 200
    until(lambda: profile(gateway, "acme")["events"] == passed + 1)


def test_shadow_mode_lets_everybody_pass(tmp_path):
    """In shadow mode a blocked partner passes."""
    with application() as behind, gateway_by_udp({**TRUSTED, "SHADOW_MODE": "true"}) as (gateway, udp), nginx(
            tmp_path, gateway=gateway.port, udp=udp, application=behind) as port:
        call(port, "acme")
        until(lambda: profile(gateway, "acme"))
        pin(gateway, "acme", "block")
        assert call(port, "acme")[0] == 200


def test_nobody_speaks_for_another(site):
    """Headers that a caller makes up do not make it somebody else, or somebody else blocked."""
    gateway, port = site
    call(port, "acme")
    until(lambda: profile(gateway, "acme"))
    pin(gateway, "acme", "block")
    made_up = {"X-Partner-ID": "globex", "X-Forwarded-For": "192.0.2.77", "X-Ztmon-Level": "monitor", "Origin": "https://evil.example",
               "Host": "evil.example", "X-Ztmon-Token": "Bearer zt_no", "Authorization": "Bearer the caller's"}  # fmt: skip
    assert call(port, "acme", **made_up)[0] == 403
    assert call(port, None, **made_up)[0] == 200
    assert profile(gateway, "globex") is None


def test_a_gateway_that_is_away_stops_nobody(tmp_path):
    """Without a gateway, and with one that never answers, calls pass."""
    with application() as behind:
        nobody = free_port()
        (tmp_path / "a").mkdir()
        with nginx(tmp_path / "a", patient=False, gateway=nobody, udp=free_port(), application=behind) as port:
            assert call(port, "acme")[0] == 200
        import socket
        with socket.create_server(("127.0.0.1", 0)) as silent:
            (tmp_path / "b").mkdir()
            there = silent.getsockname()[1]
            with nginx(tmp_path / "b", patient=False, gateway=there, udp=free_port(), application=behind) as port:
                assert call(port, "acme")[0] == 200


def auth(gateway, path, method="GET", **headers):
    status, found, body = gateway.ask(method, path, headers=headers)
    return status, {name.lower(): value for name, value in dict(found).items()}, body


def test_any_method_and_both_forms(asked):
    """/auth answers every method; /auth/APP/... takes the application from its path and never from the caller's query."""
    pin(asked, "acme", "block")
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND"):
        assert auth(asked, "/auth?app=shop", method, **{"X-Partner-ID": "acme"})[0] == 403, method
    status, headers, _ = auth(asked, "/auth/shop/api/x?app=other&throttle=9", **{"X-Partner-ID": "acme"})
    assert (status, headers["x-ztmon-level"], headers["x-ztmon-refused"]) == (403, "block", "1")
    assert auth(asked, "/auth?app=other", **{"X-Partner-ID": "acme"})[0] == 200
    assert auth(asked, "/auth?throttle=200")[0] == 503
    assert auth(asked, "/authentic")[0] == 404


@pytest.mark.parametrize(("level", "expected"), LEVELS)
def test_forward_auth_and_ext_authz(asked, level, expected):
    """What Traefik, Caddy and Envoy send is answered with what they pass on: 429 for throttle too."""
    pin(asked, "acme", level)
    forwarded = {"X-Partner-ID": "acme", "X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/api/x?app=other",
                 "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example", "X-Forwarded-For": "192.0.2.1"}
    forms = (("/auth?app=shop&throttle=429", "GET", "127.0.0.1"), ("/auth/shop/api/x?app=other", "POST", "shop.example"))
    for path, method, host in forms:
        found = [auth(asked, path, method, Host=host, **forwarded) for _ in range(20)]
        assert found[-1][0] == expected
        assert {headers["x-ztmon-level"] for _, headers, _ in found} == {level}
        assert {headers["x-ztmon-partner"] for _, headers, _ in found} == {"acme"}
        assert ("retry-after" in found[-1][1]) == (expected >= 400)


def test_a_proxy_needs_a_token_where_there_are_some(tmp_path):
    """With tokens a proxy shows one with the role telemetry and for its application, and whatever is wrong with it is 503,
    never an answer about the caller; the caller's own Authorization stays out of it."""
    store = tmp_path / "z.db"
    token = ztmon("token", "add", "proxy", "--role", "telemetry", "--app", "shop", "--store", str(store)).split()[-1]
    gateway = Gateway("--udp", "-", store=store, token=False)
    try:
        good, wrong = {"X-Ztmon-Token": f"Bearer {token}"}, {"X-Ztmon-Token": "Bearer zt_wrong"}
        for headers, expected in (({}, 503), (wrong, 503), ({"Authorization": f"Bearer {token}"}, 200),
                                  (good | {"Authorization": "Bearer the caller's"}, 200)):
            assert auth(gateway, "/auth?app=shop", **headers)[0] == expected, headers
        assert auth(gateway, "/auth?app=other", **good)[0] == 503
    finally:
        gateway.stop()


def test_callers_are_named_by_pseudonyms(asked):
    """Without a name from the proxy a key and an address become pseudonyms, the same each time."""
    one, again, other = (auth(asked, "/auth", **{"X-Api-Key": key})[1]["x-ztmon-partner"]
                         for key in ("a key", "a key", "b"))
    assert one == again != other
    assert one.startswith("key-")
    assert "a key" not in one
    by_address = [auth(asked, "/auth", **{"X-Forwarded-For": hops})[1]["x-ztmon-partner"] for hops in
                  ("192.0.2.1", "203.0.113.9, 192.0.2.1", "192.0.2.1, 203.0.113.9")]  # fmt: skip
    assert by_address[0] == by_address[1] != by_address[2]
    assert by_address[0].startswith("client-")


def test_latency_and_size_are_in_the_units_of_the_wire(site):
    """Seconds of nginx become milliseconds: response times of the local application are far below a second."""
    gateway, port = site
    for _ in range(30):
        call(port, "acme")
    until(lambda: profile(gateway, "acme") and profile(gateway, "acme")["events"] == 30)
    now = time.time()
    found = profile(gateway, "acme")
    assert abs(found["last_seen"] - now) < 900
    threads = [threading.Thread(target=call, args=(port, "globex")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: profile(gateway, "globex") and profile(gateway, "globex")["events"] == 8)
    assert json.loads(gateway.ask("GET", "/stats")[2])["clamped"] == 0
