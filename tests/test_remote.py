"""A guard with a gateway in place of a monitor: telemetry there, decisions back, and what happens while it is away."""

import json
import logging
import re
import threading

import pytest

from ztmon import ConfigError
from ztmon.guard import remote
from ztmon.guard.held import Held
from ztmon.guard.remote import filled

from . import webapps
from .frameworks import fastapi, flask
from .gateways import EVENT, Gateway, attack, now_ms, ztmon
from .servers import free_port, until
from .webapps import call, problem

ENFORCED = {"SHADOW_MODE": "false"}


def pin(gateway, partner, level="block", ttl=600):
    status, _ = gateway.do("POST", f"/partners/{partner}/pin", {"level": level, "ttl": ttl, "reason": "a test"})
    assert status == 200


@pytest.fixture(scope="module")
def gateway():
    with Gateway("--udp", "-", env=ENFORCED) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def ended():
    """No copy of decisions outlives its test."""
    yield
    for one in list(remote._alive):
        one.close()


def url(gateway):
    return f"http://127.0.0.1:{gateway.port}"


@pytest.mark.parametrize(("factory", "serve"), [(fastapi, webapps.asgi), (flask, webapps.wsgi)], ids=["fastapi", "flask"])
def test_calls_reach_the_gateway_and_its_decisions_come_back(gateway, factory, serve):
    """Events with templates arrive; who is blocked there is refused here, and let in again when it is lifted."""
    name = factory.__name__
    app = factory(gateway_url=url(gateway), partner=name, refresh_seconds=0.05)
    with serve(app) as port:
        for i in range(5):
            assert call(port, f"/orders/{1000 + i}?page=1")[0] == 200
        until(lambda: gateway.get(f"/partners/{name}")[1].get("events") == 5)
        assert gateway.get(f"/partners/{name}")[1]["endpoints"] == [{"endpoint": "GET /orders/{id}", "calls": 5}]
        for level, status in (("quarantine", 401), ("block", 403)):
            pin(gateway, name, level)
            until(lambda status=status: call(port, "/orders/1")[0] == status)
            assert int(call(port, "/orders/1")[1]["Retry-After"]) > 500
        pin(gateway, name, "throttle")
        until(lambda: call(port, "/orders/1")[0] in (200, 429))
        found = {call(port, "/orders/1")[0] for _ in range(12)}
        assert 429 in found
        assert gateway.do("DELETE", f"/partners/{name}/pin?reason=over")[0] == 200
        until(lambda: call(port, "/orders/1")[0] == 200)


def test_a_gateway_that_is_away_changes_nothing_until_decisions_end(tmp_path, caplog):
    """It is killed and started again on the same port: requests are served, a decision stands until its end and not beyond,
    that is said at once, and so is its return."""
    port = free_port()

    def start():
        return Gateway("--udp", "-", "--port", str(port), env=ENFORCED)

    gateway = start()
    app = fastapi(gateway_url=f"http://127.0.0.1:{port}", refresh_seconds=0.05,
                  partner=lambda request: request.headers.get("x-who"))
    with webapps.asgi(app) as here:
        def ask(who):
            return call(here, "/orders/1", **{"X-Who": who})[0]

        assert [ask("long"), ask("short")] == [200, 200]
        until(lambda: gateway.get("/partners/short")[0] == 200 and gateway.get("/partners/long")[0] == 200)
        pin(gateway, "long", ttl=600)
        pin(gateway, "short", ttl=3)
        until(lambda: ask("long") == 403 and ask("short") == 403)
        gateway.process.kill()
        gateway.stop()
        until(lambda: any("cannot be reached" in record.getMessage() for record in caplog.records))
        assert ask("long") == 403
        assert ask("new") == 200
        until(lambda: ask("short") == 200)
        assert ask("long") == 403
        again = start()
        try:
            until(lambda: any("is back" in record.getMessage() for record in caplog.records))
            until(lambda: ask("long") == 200)      # the new one knows of no pin
            said = [record for record in caplog.records if "cannot be reached" in record.getMessage()]
            assert [record.levelno for record in said] == [logging.ERROR]
            assert "decisions stand until they end" in said[0].getMessage()
        finally:
            again.stop()


def test_a_token_names_callers_and_bounds_what_is_told(tmp_path):
    """With a token of one application keys are hashed with it, and decisions about other applications stay at the gateway."""
    store = tmp_path / "z.db"
    control = ztmon("token", "add", "boss", "--role", "control", "--store", str(store)).split()[-1]
    token = ztmon("token", "add", "shop", "--role", "telemetry", "--app", "shop", "--store", str(store)).split()[-1]
    with Gateway("--udp", "-", store=store, token=control, env=ENFORCED) as gateway:
        app = flask(gateway_url=url(gateway), token=token, app="shop", refresh_seconds=0.05)
        with webapps.wsgi(app) as port:
            assert call(port, "/orders/1", key="secret")[0] == 200
            until(lambda: len(gateway.get("/partners")[1]["partners"]) == 1)
            (known,) = gateway.get("/partners")[1]["partners"]
            assert known["app"] == "shop"
            assert known["partner"].startswith("key-")
            for name in ("shop", "other"):
                body = {"level": "block", "ttl": 600, "reason": "a test"}
                assert gateway.do("POST", f"/partners/{known['partner']}/pin?app={name}", body)[0] in (200, 404)
            until(lambda: call(port, "/orders/1", key="secret")[0] == 403)
            status, told = gateway.get("/decisions", token=token)
            assert (status, [one["app"] for one in told["decisions"]]) == (200, ["shop"])


def test_without_a_key_to_hash_with_nobody_is_named(caplog):
    """Neither keys nor addresses go out as they are: such calls pass, are counted, and the log says what to set."""
    app = flask(gateway_url=f"http://127.0.0.1:{free_port()}")
    with webapps.wsgi(app) as port:
        assert call(port, "/orders/1")[0] == 200
    assert app.extensions["ztmon"].stats()["unnamed"] == 1
    assert any("needs hash_key=" in record.getMessage() for record in caplog.records)


def test_a_quarantine_ends_by_the_applications_word(gateway):
    """reauthenticated() tells the gateway, and the copy here at once."""
    app = flask(gateway_url=url(gateway), partner="anew", refresh_seconds=0.05)
    monitor = app.extensions["ztmon"].monitor
    with webapps.wsgi(app) as port:
        call(port, "/orders/1")
        until(lambda: gateway.get("/partners/anew")[0] == 200)
        pin(gateway, "anew", "quarantine")
        until(lambda: call(port, "/orders/1")[0] == 401)
        assert monitor.reauthenticated("anew")
        assert call(port, "/orders/1")[0] == 200
        assert not monitor.reauthenticated("anew")


def test_tokens_of_a_throttle_are_taken_one_by_one():
    """Six seconds' worth at once, then one an interval; a highest level of the route bounds what is done."""
    held = Held({"level": "throttle", "score": 70.0, "interval": 2.0, "ends_seconds": None}, 0.0)
    assert [held.decide(4, 100.0).enforced for _ in range(5)] == [False, False, False, True, True]
    assert held.decide(4, 100.0).retry_after == pytest.approx(2.0)
    passing = held.decide(4, 104.0)
    assert (passing.enforced, passing.remaining, passing.interval) == (False, 1, 2.0)
    assert not held.decide(4, 104.0).enforced
    block = Held({"level": "block", "score": 99.0, "interval": 0.0, "ends_seconds": 60.0}, 0.0)
    assert (block.decide(4, 10.0).retry_after, block.decide(1, 10.0).enforced) == (50.0, False)
    assert block.decide(2, 10.0).level == 2


@pytest.mark.parametrize(("template", "path", "expected"), [
    ("/orders/{id}", "/orders/42", "/orders/42"), ("/orders/{id}", "/orders/42?page=2", "/orders/42?page=2"),
    ("/users/<name>", "/users/ann", "/users/<name>?ann"), ("/users/{name}", "/users/a'--?x=1", "/users/{name}?a'--&x=1"),
    ("/x/{id}", "/x/0b5e8a52-6c7e-4b5f-9d1c-1f2a3b4c5d6e", "/x/0b5e8a52-6c7e-4b5f-9d1c-1f2a3b4c5d6e"),
    ("/f/{p:path}", "/f/a/b", "/f/{p:path}?/f/a/b"), ("/plain", "/plain?q=1", "/plain?q=1"),
])
def test_a_template_and_its_path_become_one_text(template, path, expected):
    """Ids stay in place, so that sequences are seen; names go where only patterns are looked for."""
    assert filled(template, path) == expected


@pytest.mark.parametrize(("settings", "said"), [
    ({"gateway_url": "udp://127.0.0.1:9001"}, "gateway_url is"), ({"refresh_seconds": 0}, "refresh_seconds is 0"),
    ({"hash_key": "xyz"}, "hash_key is"),
    ({"routes": {f"/r{i}": {"sensitivity": 2.0 + i / 10} for i in range(17)}}, "17 different sensitivities"),
    ({"monitor": object()}, "monitor and gateway_url are both given"),
])
def test_settings_that_do_not_go_together_are_refused(settings, said):
    """At the start, with what is allowed."""
    with pytest.raises(ConfigError, match=said):
        flask(**{"gateway_url": "http://127.0.0.1:1", **settings})
    assert [thread.name for thread in threading.enumerate() if thread.name == "ztmon-decisions"] == []


def test_a_route_is_as_sensitive_as_with_a_monitor():
    """Who is at alert is stopped where scores count tenfold, and who is to be blocked passes where they count a tenth; each at
    most as far as the route goes; pins hold everywhere."""
    routes = {"POST /orders": {"sensitivity": 10.0}, "/unchanged": {"sensitivity": 0.1},
              "/stream": {"sensitivity": 10.0, "max_action": "alert"}}
    with Gateway("--udp", "-", env=ENFORCED | {"ANOMALY_THRESHOLD_ALERT": "5"}) as gateway:
        gateway.post([EVENT | {"partnerId": who, "timestamp": now_ms()} for who in ("mild", "bad", "calm")])
        gateway.post([*attack("bad", 40), *attack("mild", 1)])
        assert [gateway.get(f"/partners/{who}")[1]["level"] for who in ("mild", "bad", "calm")] == ["alert", "block", "monitor"]
        pin(gateway, "pinned")
        app = flask(gateway_url=url(gateway), refresh_seconds=0.05, routes=routes,
                    partner=lambda request: request.headers.get("x-who"))
        with webapps.wsgi(app) as port:
            def ask(who, path, method="GET"):
                return call(port, path, method, **{"X-Who": who})[0]

            until(lambda: ask("bad", "/orders/1") == 403 and ask("pinned", "/orders/1") == 403)
            assert ask("mild", "/orders", "POST") == 403
            assert ask("mild", "/orders/1") == 200
            assert ask("mild", "/stream") == 200
            assert ask("bad", "/unchanged") == 304
            assert ask("bad", "/stream") == 200
            assert ask("calm", "/orders", "POST") == 200
            assert ask("pinned", "/unchanged") == 403
            assert ask("pinned", "/stream") == 200


def test_what_an_adapter_asks_is_what_the_document_allows(gateway):
    """Sensitivities as they are written down match the pattern in the OpenAPI."""
    document = gateway.get("/openapi.json")[1]
    (parameter,) = document["paths"]["/decisions"]["get"]["parameters"]
    asking = remote.Remote(url(gateway), hash_key=b"k" * 16, sensitivities=(0.1, 0.25, 1 / 3, 10.0, 7))
    text = asking._question.partition("sensitivity=")[2]
    assert re.fullmatch(parameter["schema"]["pattern"], text)
    assert gateway.get(f"/decisions?sensitivity={text}")[0] == 200


def test_a_blocked_partner_may_be_throttled_on_one_route(gateway):
    """By its own token bucket, as with a monitor."""
    for i in range(40):
        gateway.post([EVENT | {"partnerId": "steady", "timestamp": now_ms() - 800_000 + i * 20_000, "count": 100}])
    pin(gateway, "steady")
    asking = remote.Remote(url(gateway), hash_key=b"k" * 16, refresh_seconds=0.05)
    until(lambda: asking.check("steady").enforced)
    found = asking.check_route("steady", most=2)
    assert (found.level, found.enforced) == (2, False)
    assert 0.05 < found.interval < 1.0
    assert found.remaining > 5


def test_a_gateway_that_answers_something_else_was_reached(tmp_path, caplog):
    """The log says what it answered, where, and what to do."""
    store = tmp_path / "z.db"
    control = ztmon("token", "add", "boss", "--role", "control", "--store", str(store)).split()[-1]
    token = ztmon("token", "add", "shop", "--role", "telemetry", "--app", "shop", "--store", str(store)).split()[-1]
    with Gateway("--udp", "-", store=store, token=control) as gateway:
        for path, given, said in (("/wrong", token, "answered 404: gateway_url= should be its address"),
                                  ("", None, "answered 401: give token= of `ztmon token add` with the role telemetry")):
            asking = remote.Remote(url(gateway) + path, token=given, hash_key=b"k" * 16)
            until(lambda asking=asking: asking.away)
            (line,) = [record.getMessage() for record in caplog.records if said in record.getMessage()]
            assert line.startswith(f"the gateway at 127.0.0.1:{gateway.port} answered")
        asking = remote.Remote(url(gateway), token=token, hash_key=b"k" * 16)
        with pytest.raises(ConnectionError, match="answered 403: give token= of `ztmon token add` with the role control"):
            asking.reauthenticated("acme")
        asking.observe("acme", "/orders/1")
        asking.flush()
        assert asking.stats()["dropped"] == 1
        assert any("can use none of 1 events: appId is none that this token may send telemetry for" in record.getMessage()
                   for record in caplog.records)


@pytest.mark.parametrize("asked", ["x", "nan", "0", "11", "1,,x", ",".join(f"0.{i + 10}" for i in range(17))])
def test_sensitivities_that_make_no_sense_are_refused(gateway, asked):
    """By the gateway, with what is allowed."""
    status, said = gateway.get(f"/decisions?sensitivity={asked}")
    assert status == 400
    assert "16 numbers from 0.1 to 10" in said["detail"]


def test_refused_calls_say_why(gateway):
    """The same problem+json as with a monitor."""
    app = flask(gateway_url=url(gateway), partner="said", refresh_seconds=0.05)
    with webapps.wsgi(app) as port:
        call(port, "/orders/1")
        until(lambda: gateway.get("/partners/said")[0] == 200)
        pin(gateway, "said")
        until(lambda: call(port, "/orders/1")[0] == 403)
        found = problem(call(port, "/orders/1"))
        assert json.loads(json.dumps(found))["violated-policies"] == ["block"]
