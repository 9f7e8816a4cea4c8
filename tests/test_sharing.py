"""Hosts that share through a real Redis: totals, levels, what a new one knows, who is right, what is forgotten."""

import shutil
import subprocess
import sys
import threading

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ztcore.standing import STANDING
from ztmon import Action, Config, ConfigError, Monitor
from ztmon.audit import export
from ztmon.store import packing, sharing
from ztmon.store.keys import Keys, partner_id
from ztmon.store.link import Link
from ztmon.store.standing import Standing, digits, prefers, unpack

from .fleet import Fleet, prefix, send
from .servers import Cluster, Sentinel, Server, free_port, programs, until
from .test_monitor import steady, stuff


@pytest.fixture(params=["single", "cluster"])
def url(request):
    """Of a Redis as it may be set up."""
    return request.getfixturevalue("redis_server" if request.param == "single" else "redis_cluster").url


@pytest.fixture
def fleet(url):
    """Three hosts."""
    with Fleet(url) as found:
        yield found


# -- contributions ---------------------------------------------------------------------------------


def test_totals_agree_event_by_event(fleet):
    """Calls spread over three hosts and several partners: each host counts all of them, and sees their rate."""
    partners = ("acme", "globex", "initech")
    for partner, n in send(fleet, 3000, partners).items():
        fleet.agree(partner, n)
    key = fleet.hosts[0].partner_key("acme")
    wanted = sum(float(m._sharing.ledger.current([key])[0]["sums"]["whole"][0][2]) for m in fleet.hosts)
    for monitor in fleet.hosts:
        row = monitor.row("acme")
        seen = float(row["trials"][2]) / 2.0 ** ((int(row["last_seen"]) - int(row["reference"])) * 1e-9 / 5400)
        assert seen == pytest.approx(wanted, rel=0.01)
    assert sum(fleet.stat("share_refused")) == 0


def test_what_a_fresh_host_knows(url):
    """It takes over what the fleet knows of a partner it meets: the usual, and that learning is over."""
    with Fleet(url, 1, clock="events") as fleet:
        end = steady(fleet.hosts[0])
        fleet.hosts[0].flush()
        old, new = fleet.hosts[0].profile("acme"), fleet.join("new")
        new.observe("acme", "/api/users", timestamp=end + 1, source="192.0.2.1")
        until(lambda: not new.profile("acme").learning, "the fleet's knowledge at a new host")
        fleet.agree("acme", old.events + 1)
        found = new.profile("acme")
        assert found.requests_per_hour == pytest.approx(old.requests_per_hour, rel=0.2)
        assert found.familiar_sources == old.familiar_sources
        assert found.first_seen == old.first_seen


def test_with_redis_empty_a_host_starts_from_its_own_snapshot(tmp_path):
    """Redis lost everything: what the host's store has is there, and is counted again by all."""
    server, store = Server(tmp_path / "redis"), str(tmp_path / "store.db")
    with Fleet(server.url, 1, store=store) as fleet:
        send(fleet, 50)
        fleet.agree("acme", 50)
    server.client().flushall()
    with Fleet(server.url, 1, store=store, redis_prefix=fleet.settings["redis_prefix"]) as again:
        assert again.hosts[0].profile("acme").events == 50
        again.settings.pop("store")
        other = again.join("other")
        other.observe("acme", "/a")
        again.agree("acme", 51)
    server.stop()


# -- levels ----------------------------------------------------------------------------------------


def level(wanted):
    return lambda monitor: (found := monitor.profile("acme")) is not None and found.level == wanted


def test_what_a_person_does_reaches_every_host(fleet):
    """Pin, restore, allow, cap: obeyed by all, also by a host that never saw the partner and one that comes later."""
    fleet.hosts[0].pin("acme", Action.BLOCK, ttl=3600, reason="leaked")
    fleet.all(level(Action.BLOCK), "a pin")
    late = fleet.join("late")
    until(lambda: level(Action.BLOCK)(late), "a pin at a host that came later")
    fleet.hosts[1].restore("acme", reason="changed")
    fleet.all(level(Action.MONITOR), "a restore")
    fleet.hosts[2].allow("acme")
    fleet.all(lambda m: m.profile("acme").allowed, "the allow list")
    fleet.hosts[2].cap("acme", Action.ALERT)
    fleet.all(lambda m: m.profile("acme").max_action == Action.ALERT, "a cap")
    fleet.hosts[0].allow("acme", False)
    fleet.all(lambda m: not m.profile("acme").allowed, "off the list")


def test_what_is_heard_while_a_partner_is_worked_on_counts_afterwards(redis_server, monkeypatch):
    """A restore that comes from elsewhere while a call of the partner is being taken in is not lost."""
    monkeypatch.setitem(sys.modules, "numba", None)
    armed, inside, go_on = threading.Event(), threading.Event(), threading.Event()

    def waits(event):
        if armed.is_set() and event.status == 418:
            inside.set()
            go_on.wait(30)
        return False

    with Fleet(redis_server.url, 2, signals=[waits]) as fleet:
        here, there = fleet.hosts
        there.pin("acme", Action.BLOCK, ttl=3600, reason="leaked")
        fleet.all(level(Action.BLOCK), "a pin")
        armed.set()
        call = threading.Thread(target=here.observe, args=("acme", "/a"), kwargs={"status": 418})
        call.start()
        assert inside.wait(30)
        heard = here._sharing.levels.heard
        there.restore("acme", reason="changed")
        until(lambda: here._sharing.levels.heard > heard, "the restore")
        go_on.set()
        call.join(30)
        fleet.all(level(Action.MONITOR), "a restore")


def test_a_level_reaches_every_host_with_its_reasons(url):
    """Reached at one host, in force at all, with the same reasons and the same end; told once in the history."""
    with Fleet(url, 3, clock="events") as fleet:
        stuff(fleet.hosts[0], steady(fleet.hosts[0]))
        assert fleet.hosts[0].profile("acme").level == Action.BLOCK
        fleet.all(level(Action.BLOCK), "a level")
        fleet.hosts[0].flush()
        first, *rest = [monitor.profile("acme") for monitor in fleet.hosts]
        for found in rest:
            assert [r.signal for r in found.reasons] == [r.signal for r in first.reasons]
            assert found.since == pytest.approx(first.since, abs=1e-3)
        for monitor in fleet.hosts:
            monitor.flush()
        key = fleet.hosts[0].partner_key("acme")
        rises = [e for e in fleet.hosts[0]._keepers[-1].store.history(key) if e.kind == "level" and e.data["to"] == "block"]
        assert len(rises) == 1


def test_a_message_that_was_missed_is_caught_up_with(redis_server):
    """A host whose channel brings nothing looks at the log; one that looks too late, at all that stands."""
    with Fleet(redis_server.url, 2) as fleet:
        deaf = fleet.hosts[1]._sharing.levels
        deaf.hear, heard = (lambda identity, raw: None), deaf.hear
        fleet.hosts[0].pin("acme", Action.BLOCK)
        until(lambda: deaf._last not in (None, "0-0"), "a look at the log")
        assert fleet.hosts[1].profile("acme") is None
        deaf.hear = heard
        fleet.hosts[0].pin("globex", Action.BLOCK)
        until(lambda: fleet.hosts[1].profile("globex") is not None, "the next message")
        redis_server.client().delete(fleet.hosts[0]._sharing.keys.levels("log"))
        fleet.hosts[0].pin("initech", Action.BLOCK)
        until(lambda: fleet.hosts[1].profile("initech") is not None, "a message")
        with fleet.hosts[1]._sharing._turn:
            deaf._last = "1-0"
        until(lambda: fleet.hosts[1].profile("acme") is not None, "what was missed")


def test_forgetting_reaches_every_host_and_redis(fleet):
    """Rows, keys and names are gone everywhere; the audit log in Redis still verifies."""
    send(fleet, 300, ("acme", "globex"))
    fleet.hosts[0].pin("acme", Action.BLOCK, reason="acme leaked its key")
    fleet.all(level(Action.BLOCK), "a pin")
    for monitor in fleet.hosts:
        monitor.flush()
    key = fleet.hosts[0].partner_key("acme")
    assert fleet.hosts[1].forget("acme", reason="asked")
    fleet.all(lambda m: m.profile("acme") is None, "nobody of that name")
    store = fleet.hosts[0]._keepers[-1].store
    until(lambda: not list(store.link.scan(store.keys.partner(partner_id(key), "*"))), "no key of the partner's")
    assert store._call("HGET", store.keys.levels("now"), partner_id(key)) is None
    assert ("default", "acme") not in store.names().values()
    assert "acme" not in str([one["line"] for one in export(store)])
    assert fleet.hosts[2].profile("globex") is not None


# -- who is right ----------------------------------------------------------------------------------


def standing(version, level, fresh):
    """fresh: seconds."""
    record = np.zeros(1, STANDING)[0]
    record["key"], record["level"], record["fresh_at"] = 5, level, fresh * 10**9
    record["pin_level"], record["max_action"] = 255, 4
    return Standing(record, "default", version, "h")


HOUR = 3600 * 10**9


@pytest.mark.parametrize(("theirs", "mine", "right"), [
    ((1, 0, 10), (0, 4, 99), True),        # a person acted, which mine does not know
    ((0, 4, 99), (1, 0, 10), False),
    ((0, 3, 10), (0, 2, 99), True),        # the higher level
    ((0, 3, 10), (0, 2, 9), True),
    ((0, 3, 50), (0, 3, 49), True),        # the same, longer
    ((0, 3, 49), (0, 3, 50), False),
    ((0, 2, 50), (0, 3, 50), True),        # a fall, by who knows all that I know
    ((0, 2, 49), (0, 3, 50), False),       # by who does not
    ((0, 0, 99), (0, 4, 50), True),
])
def test_who_is_right(theirs, mine, right):
    """The rule, case by case: version, higher level, fresher evidence."""
    assert prefers(standing(*theirs), standing(*mine), 100 * 10**9, HOUR) == right


def test_a_level_whose_time_is_over_raises_nobody():
    """A message that comes after the hold does not bring a level back."""
    assert not prefers(standing(0, 4, 10), standing(0, 0, 0), 10 * 10**9 + HOUR + 1, HOUR)


@pytest.fixture(scope="module")
def stands(redis_server):
    return Link(redis_server.url), Keys(prefix())


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(1, 6), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_redis_decides_by_the_same_rule(stands, told):
    """Whatever is told in whatever order: what stands is what the rule in Python prefers."""
    link, keys = stands
    link.call("DEL", keys.levels("now"))
    now = None
    for version, level, fresh, acted in told:
        mine = standing(version, level, fresh)
        packed = mine.pack()
        stood, raw = link.run("stand", [keys.levels("now"), keys.levels("log")],
                              [partner_id(5), packed, int(acted), keys.levels("news"), "PUBLISH", digits(5, packed)])
        if acted:
            now = standing((now.version if now else 0) + 1, level, fresh)
        elif now is None or prefers(mine, now, 0, HOUR) or (version, level, fresh * 10**9) == (now.version, now.level, now.fresh):
            now = mine
        found = unpack(5, bytes(raw))
        assert (found.version, found.level, found.fresh) == (now.version, now.level, now.fresh)
        assert bool(stood) == (acted or (version, level, fresh * 10**9) == (now.version, now.level, now.fresh))


def test_standings_come_back_as_they_were(redis_server):
    """Packed, through Redis and unpacked: every field."""
    record = np.zeros(1, STANDING)[0]
    for name, value in (("key", 5), ("since", 10**18), ("fresh_at", 2 * 10**18), ("below", 10**18 + 5000), ("score", 97.5),
                        ("pin_until", (1 << 63) - 1), ("evident", 77), ("level", 4), ("pin_level", 3), ("max_action", 2),
                        ("flags", 9), ("cause", 18), ("whys", 1), ("name_length", 4), ("name", b"acme")):
        record[name] = value
    record["why"][0] = (18, 1, 640, 5.0, 7.0, 0.25)
    sent = Standing(record, "shop", 3, "host")
    packed, link, keys = sent.pack(), Link(redis_server.url), Keys(prefix())
    _, raw = link.run("stand", [keys.levels("now"), keys.levels("log")], [
        partner_id(5), packed, 0, keys.levels("news"), "PUBLISH", digits(5, packed)])
    found = unpack(5, bytes(raw))
    assert (found.app, found.version, found.host) == ("shop", 3, "host")
    for name in STANDING.names:
        assert found.record[name].tolist() == record[name].tolist(), name


# -- how it is set up ------------------------------------------------------------------------------


def test_hosts_need_the_same_hash_key(redis_server):
    """None is refused at the start; another is refused by the fleet, said, and harms nobody."""
    with pytest.raises(ConfigError, match="hash_key is unset; with redis every host needs the same one"):
        Monitor(Config(redis=redis_server.url))
    with Fleet(redis_server.url, 1) as fleet:
        send(fleet, 3)
        fleet.agree("acme", 3)
        stranger = Monitor(Config(redis=redis_server.url, hash_key=b"\x09" * 16, redis_prefix=fleet.settings["redis_prefix"]))
        until(lambda: stranger.stats()["share_failures"] > 0, "a refusal")
        stranger.observe("acme", "/a")
        assert stranger.profile("acme").events == 1
        stranger.close()


def test_a_sentinel_says_who_is_master(tmp_path):
    """Through a Sentinel; when the master is killed the replica is promoted, and totals agree again."""
    if not programs():
        pytest.fail("no redis-server")
    with Sentinel(tmp_path) as sentinel, Fleet(sentinel.url, 2) as fleet:
        send(fleet, 100)
        fleet.agree("acme", 100)
        sentinel.master.kill()
        send(fleet, 100)
        fleet.agree("acme", 200)
        fleet.hosts[0].pin("acme", Action.BLOCK)
        fleet.all(level(Action.BLOCK), "a pin through the new master")


@pytest.mark.parametrize("where", list(programs()))
def test_every_server_there_is(where, tmp_path):
    """The system's Redis and the one of the wheel: a cluster of each, by sharded channels where it has them."""
    with Cluster(tmp_path, programs()[where]) as cluster, Fleet(cluster.url, 2) as fleet:
        assert Link(cluster.url).sharded() == cluster.sharded()
        send(fleet, 100)
        fleet.agree("acme", 100)
        fleet.hosts[0].pin("acme", Action.BLOCK)
        fleet.all(level(Action.BLOCK), "a pin")


def test_a_password_a_user_and_a_socket(tmp_path):
    """ACL users, passwords in the URL, a unix socket."""
    rights = "~shared:* resetchannels &shared:* +@all -@dangerous +info"
    with Server(tmp_path / "redis", unixsocket=tmp_path / "s") as server:
        admin = server.client()
        admin.execute_command("ACL", "SETUSER", "ztmon", "on", ">p@ss/word", *rights.split())
        admin.config_set("requirepass", "other")
        login = "ztmon:p%40ss%2Fword@"
        for partner, url in (("acme", f"redis://{login}127.0.0.1:{server.port}/0"),
                             ("globex", f"unix://{login}{tmp_path / 's'}?db=0")):
            with Fleet(url, 2, redis_prefix="shared:x") as fleet:
                send(fleet, 20, (partner,))
                fleet.agree(partner, 20)
                assert sum(fleet.stat("share_failures")) == 0


def certificates(folder):
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                          capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.skipif("system" not in programs() or not shutil.which("openssl"), reason="needs a server with TLS, and openssl")
def test_through_tls_and_to_nobody_else(tmp_path):
    """rediss:// with the server's authority; without it, the certificate is not believed and nothing is shared."""
    cert, key = certificates(tmp_path)
    port = free_port()
    with Server(tmp_path / "redis", programs()["system"], tls_port=port, tls_cert_file=cert, tls_key_file=key,
                tls_ca_cert_file=cert, tls_auth_clients="no"):
        url = f"rediss://127.0.0.1:{port}/0"
        with Fleet(f"{url}?ssl_ca_certs={cert}", 2) as fleet:
            send(fleet, 20)
            fleet.agree("acme", 20)
            assert sum(fleet.stat("share_failures")) == 0
        with Fleet(url, 1) as fleet:
            send(fleet, 1)
            until(lambda: fleet.stat("share_failures") > [0], "a refusal")
            assert fleet.stat("shared") == [0]


# -- versions --------------------------------------------------------------------------------------


def test_hosts_of_two_row_layouts_share_while_they_are_upgraded(redis_server, monkeypatch):
    """Contributions and levels have no layout: they are shared. What an older host learned is not read as if it were
    this one's, and nobody alarms."""
    with Fleet(redis_server.url, 1, clock="events") as fleet:
        monkeypatch.setattr(packing, "LAYOUT", "4-older")
        end = steady(fleet.hosts[0])
        fleet.hosts[0].flush()
        events = fleet.hosts[0].profile("acme").events
        key = fleet.hosts[0].partner_key("acme")
        until(lambda: fleet.hosts[0]._keepers[0].store.partner(key) is not None, "what the older host knows")
        monkeypatch.undo()
        new = fleet.join("newer")
        new.observe("acme", "/api/users", timestamp=end + 1)
        fleet.agree("acme", events + 1)
        assert new.profile("acme").learning
        fleet.hosts[0].pin("acme", Action.BLOCK)
        fleet.all(level(Action.BLOCK), "a pin of the older host")


def test_a_format_of_another_version_is_refused(redis_server, monkeypatch):
    """A host that writes contributions or standings in a newer format is not misread: this one counts, says so, and
    goes on alone; what the newer one stored is not overwritten."""
    with Fleet(redis_server.url, 1) as fleet:
        send(fleet, 10)
        fleet.agree("acme", 10)
        host, link = fleet.hosts[0], Link(redis_server.url)
        key = host._sharing.keys.partner(partner_id(host.partner_key("acme")), "parts")
        link.call("HSET", key, "sum", msgpack.packb([2, "something newer"]))
        host.observe("acme", "/a")
        until(lambda: host.stats()["share_refused"] > 0, "a refusal")
        assert host.profile("acme").events == 11
        assert msgpack.unpackb(link.call("HGET", key, "sum")) == [2, "something newer"]
        monkeypatch.setattr(sharing, "FORMAT", 2)
        host.observe("globex", "/a")
        other = host._sharing.keys.partner(partner_id(host.partner_key("globex")), "parts")
        refused = host.stats()["share_refused"]
        until(lambda: host.stats()["share_refused"] > refused, "another refusal")
        assert link.call("EXISTS", other) == 0


