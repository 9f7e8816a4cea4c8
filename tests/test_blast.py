"""Too many partners acted on at once: newcomers are not, people are told, and it ends when somebody has looked."""

import time

import pytest

from ztmon import Action, Config, GatewayConfig, Monitor
from ztmon.gateway.blast import BlastRadius

from .fleet import prefix
from .gateways import EVENT, Gateway, attack, now_ms

SETTINGS = {"shadow": False, "capacity": 1024}


def make(partners=20, **settings):
    """A monitor with so many ordinary partners, and its blast radius with what it told."""
    monitor = Monitor(Config(**SETTINGS))
    for i in range(partners):
        monitor.observe(f"p{i}", "/api/orders")
    told = []
    return monitor, BlastRadius(monitor, GatewayConfig(**settings), lambda kind, what: told.append((kind, what))), told


def turn_bad(monitor, *names):
    """Injection patterns act from the first event. Several do it before anybody is told of any."""
    for name in names:
        for i in range(30):
            monitor.observe(name, f"/api/x?q={i}' OR 1=1--", timestamp=time.time() + i * 0.001)
        assert monitor.profile(name).level >= Action.THROTTLE
    monitor.flush()


def test_a_few_are_acted_on():
    """Three bad partners of twenty are no outage: all are acted on."""
    monitor, blast, told = make()
    for i in range(3):
        turn_bad(monitor, f"p{i}")
    assert not blast.tripped
    assert all(monitor.check(f"p{i}").enforced for i in range(3))
    assert told == []
    monitor.close()


def test_newcomers_are_held_those_before_are_not():
    """With the fourth of twenty it trips: the fifth is not acted on, the first still is, and one critical alert is raised."""
    monitor, blast, told = make()
    alerts = []
    monitor.on_alert(lambda alert: alerts.append(alert) if alert.partner == "" else None)
    for i in range(4):
        turn_bad(monitor, f"p{i}")
    assert blast.tripped
    turn_bad(monitor, "p4")
    assert monitor.check("p0").enforced
    late = monitor.check("p4")
    assert (late.level >= Action.THROTTLE, late.enforced, late.retry_after) == (True, False, 0.0)
    assert [alert.severity for alert in alerts] == ["critical"]
    assert "4 of 20 partners" in alerts[0].title
    assert [kind for kind, _ in told] == ["blast-radius"]
    monitor.close()


def test_a_burst_is_held_as_well():
    """Where all turn bad within a moment, before it could trip, no more stay acted on than if they had come one by one."""
    monitor, blast, told = make()
    names = [f"p{i}" for i in range(12)]
    turn_bad(monitor, *names)
    assert blast.tripped
    assert [monitor.check(name).enforced for name in names] == [True] * 3 + [False] * 9
    assert all(monitor.check(name).level >= Action.THROTTLE for name in names)
    assert len(told) == 1
    blast.reset("anna", "they are real")
    assert all(monitor.check(name).enforced for name in names)
    monitor.close()


def test_only_who_is_acted_on_can_be_held():
    """A partner that is calm, or is not there, stays as it is; a pin is acted on whoever is held."""
    monitor, _, _ = make()
    monitor.hold_newcomers(True)
    assert monitor.hold(monitor.partner_key("p0")) is False
    assert monitor.hold(monitor.partner_key("nobody")) is False
    assert monitor.hold(0) is False
    assert monitor.profile("nobody") is None
    monitor.pin("p1", Action.BLOCK)
    assert monitor.hold(monitor.partner_key("p1")) is True
    assert monitor.check("p1").enforced
    monitor.close()


def test_people_beat_it():
    """A pin is acted on while newcomers are held, and a reset lets all be acted on."""
    monitor, blast, _ = make()
    for i in range(5):
        turn_bad(monitor, f"p{i}")
    monitor.pin("p10", Action.BLOCK)
    assert monitor.check("p10").enforced
    turn_bad(monitor, "p11")
    assert not monitor.check("p11").enforced
    blast.reset("anna", "they are real")
    assert monitor.check("p11").enforced
    assert blast.shown() == {"tripped": False, "risen": 0, "minutes": 10.0}
    turn_bad(monitor, "p12")
    assert monitor.check("p12").enforced
    monitor.close()


def test_who_is_on_the_allow_list_does_not_count():
    """Nobody is acted on there, so it is no outage either."""
    monitor, blast, _ = make()
    for i in range(6):
        monitor.allow(f"p{i}")
        turn_bad(monitor, f"p{i}")
    assert not blast.tripped
    monitor.close()


@pytest.mark.parametrize(("partners", "bad", "trips"), [(200, 19, False), (200, 21, True), (8, 3, False), (8, 4, True)])
def test_the_share_of_partners(partners, bad, trips):
    """More than three and more than a tenth."""
    monitor, blast, _ = make(partners, blast_traffic_share=1.0)
    for i in range(bad):
        turn_bad(monitor, f"p{i}")
    assert blast.tripped is trips
    monitor.close()


def test_the_share_of_traffic():
    """Four of a thousand who bring more than a twentieth of all calls are too many as well."""
    monitor = Monitor(Config(shadow=False, capacity=2048, clock="events"))
    blast = BlastRadius(monitor, GatewayConfig(), lambda *_: None)
    start = time.time() - 7200
    for minute in range(0, 120, 5):
        for i in range(300):
            monitor.observe(f"p{i}", "/a", timestamp=start + minute * 60, count=200 if i < 4 else 1)
    for i in range(4):
        turn_bad(monitor, f"p{i}")
    assert blast.tripped
    monitor.close()


def test_it_is_told_and_ended_over_http(tmp_path):
    """The gateway shows it, has it in the audit log, and ends it with a reason."""
    with Gateway(store=tmp_path / "ztmon.db", env={"SHADOW_MODE": "false"}) as gateway:
        gateway.post([EVENT | {"partnerId": f"p{i}", "timestamp": now_ms()} for i in range(20)])
        for i in range(6):
            gateway.post([EVENT | {"partnerId": f"p{i}", "endpoint": f"/x?q={n}' OR 1=1--", "timestamp": now_ms() + n}
                          for n in range(30)])
        gateway.until(lambda: gateway.get("/stats")[1]["newcomers_held"])
        assert "ztmon_newcomers_held 1.0" in gateway.ask("GET", "/metrics")[2].decode()
        assert gateway.do("DELETE", "/blast-radius")[0] == 422
        assert gateway.do("DELETE", "/blast-radius?reason=seen")[1]["tripped"] is False

        def lines():
            return [(line["line"]["what"], line["line"]["why"]) for line in gateway.get("/audit")[1]["lines"] if line["line"]]

        gateway.until(lambda: ("blast radius", "seen") in lines())
        assert any(what == "blast radius" and "reached throttle" in why for what, why in lines())
        said = "the first 3 are acted on, who reached it after them is not until somebody has looked"
        assert any(said in line for line in gateway.errors)


def test_what_two_hosts_act_on_is_counted_together(redis_server):
    """Each of two gateways sees two of twenty turn bad, too few to trip alone; what the other says through Redis counts, both
    trip, and who turns bad at one of them afterwards is held at both."""
    env = {"SHADOW_MODE": "false", "ZTMON_REDIS_PREFIX": prefix(), "ZTMON_HASH_KEY": "00" * 16,
           "ZTMON_GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
    with Gateway("--redis", redis_server.url, env=env) as one, Gateway("--redis", redis_server.url, env=env) as other:
        for gateway in (one, other):
            gateway.post([EVENT | {"partnerId": f"p{i}", "timestamp": now_ms()} for i in range(20)])
        one.post(attack("p0"))
        one.post(attack("p1"))
        for gateway in (one, other):
            gateway.until(lambda gateway=gateway: gateway.get("/partners/p1")[1]["level"] != "monitor")
            assert gateway.get("/stats")[1]["newcomers_held"] is False
        other.post(attack("p2"))
        other.post(attack("p3"))
        for gateway in (one, other):
            gateway.until(lambda gateway=gateway: gateway.get("/stats")[1]["newcomers_held"])
        one.post(attack("p4"))
        for gateway in (one, other):
            gateway.until(lambda gateway=gateway: gateway.get("/partners/p4")[1]["level"] != "monitor")
            asked = {name: gateway.ask("GET", "/auth", headers={"x-partner-id": name})[0] for name in ("p0", "p4")}
            assert asked == {"p0": 403, "p4": 200}
