"""Redis gone, hanging, refusing, slow, moved, garbled: calls go on, and afterwards every host counts the same ones."""

import os
import signal
import threading
from abc import ABC, abstractmethod

import pytest

from ztmon import Action

from .fleet import Fleet, send
from .logs import run
from .proxy import Proxy
from .servers import Server, until


class Fault(ABC):
    """Something that is done to a server, or on the way to it, and undone."""

    felt = True
    """Whether something fails meanwhile."""

    def __init__(self, server, proxy, tmp_path):
        self.server, self.proxy, self.tmp_path = server, proxy, tmp_path

    @abstractmethod
    def begin(self):
        """Do it."""

    @abstractmethod
    def end(self):
        """Undo it."""


class Hangs(Fault):
    """SIGSTOP: it is there, and says nothing."""

    def begin(self):
        self.server.signal(signal.SIGSTOP)

    def end(self):
        self.server.signal(signal.SIGCONT)


class Dies(Fault):
    """Killed, and started again with nothing: no keys, no scripts."""

    def begin(self):
        self.server.kill()

    def end(self):
        self.server.start()


class IsFull(Fault):
    """OOM: no command that writes is allowed."""

    def begin(self):
        self.server.client().config_set("maxmemory", 1)

    def end(self):
        self.server.client().config_set("maxmemory", 0)


class IsReadOnly(Fault):
    """It became a replica of another, as in a failover that the client did not notice."""

    def begin(self):
        self.other = Server(self.tmp_path / "other")
        self.server.client().replicaof("127.0.0.1", self.other.port)
        until(lambda: self.server.client().info("replication")["master_link_status"] == "up", "a replica")

    def end(self):
        self.server.client().replicaof("NO", "ONE")
        self.other.stop()


class ForgetsScripts(Fault):
    """SCRIPT FLUSH: NOSCRIPT from then on."""

    felt = False

    def begin(self):
        self.server.client().script_flush()

    def end(self):
        pass


class IsSlow(Fault):
    """200 ms more in each direction."""

    felt = False

    def begin(self):
        self.proxy.delay = 0.2

    def end(self):
        self.proxy.delay = 0.0


class IsCutOff(Fault):
    """Connections end in the middle of what they are at."""

    def begin(self):
        self.proxy.cut()

    def end(self):
        self.proxy.mend()


class IsGarbled(Fault):
    """One byte in a third of all pieces is another."""

    def begin(self):
        self.proxy.corrupt = 0.33

    def end(self):
        self.proxy.corrupt = 0.0


@pytest.mark.parametrize("fault", Fault.__subclasses__(), ids=lambda fault: fault.__name__)
def test_calls_go_on_and_totals_agree_afterwards(fault, tmp_path):
    """Before, during and after: every call gets its decision, a pin of the host's own is obeyed, and in the end all
    hosts count exactly the calls that were made."""
    partners = ("acme", "globex", "initech")
    with Server(tmp_path / "redis") as server:
        proxy = Proxy(server.port)
        wrong = fault(server, proxy, tmp_path)
        with Fleet(proxy.url, 3) as fleet:
            made = send(fleet, 90, partners)
            for partner, n in made.items():
                fleet.agree(partner, n)
            wrong.begin()
            for turn in range(10):
                for partner, n in send(fleet, 90, partners, first=90 * (turn + 1)).items():
                    made[partner] += n
                threading.Event().wait(0.1)
            fleet.hosts[0].pin("acme", Action.BLOCK, ttl=3600)
            assert fleet.hosts[0].check("acme").action == Action.BLOCK
            if fault.felt:
                until(lambda: sum(fleet.stat("share_failures")) + sum(fleet.stat("share_refused")), "the fault")
            wrong.end()
            for partner, n in send(fleet, 90, partners, first=990).items():
                made[partner] += n
            for partner, n in made.items():
                fleet.agree(partner, n)
            fleet.all(lambda m: m.profile("acme").level == Action.BLOCK, "a pin from the time without Redis")
            assert sum(made.values()) == 90 * 12
            assert all(monitor.row(p)["events"] <= n for monitor in fleet.hosts for p, n in made.items())
        proxy.stop()


def test_slots_that_move_while_they_are_written(redis_cluster):
    """A partner's slot goes to another master, key by key, while three hosts write it: no call is lost or counted twice."""
    with Fleet(redis_cluster.url, 3) as fleet:
        send(fleet, 30)
        fleet.agree("acme", 30)
        key = f"{fleet.settings['redis_prefix']}:{{{fleet.hosts[0].partner_key('acme'):016x}}}:parts"
        source = redis_cluster.of(key)
        target = next(server for server in redis_cluster.servers if server is not source)
        a, b = source.client(), target.client()
        slot = a.execute_command("CLUSTER KEYSLOT", key)
        ids = {client: client.execute_command("CLUSTER MYID").decode() for client in (a, b)}
        b.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[a])
        a.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[b])
        n = 30
        for _ in range(5):
            send(fleet, 30, first=n)
            n += 30
            threading.Event().wait(0.2)
            for name in a.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
                a.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        while found := a.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            for name in found:
                a.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        for server in redis_cluster.servers:
            server.client().execute_command("CLUSTER SETSLOT", slot, "NODE", ids[b])
        send(fleet, 30, first=n)
        fleet.agree("acme", n + 30)
        assert redis_cluster.of(key) is target


def test_a_host_starts_without_redis_and_finds_it_later(tmp_path):
    """Redis is not there at the start: the monitor is made, works, and shares as soon as it can."""
    with Server(tmp_path / "redis") as server:
        server.kill()
        with Fleet(server.url, 2) as fleet:
            send(fleet, 40)
            assert fleet.hosts[0].profile("acme").events == 20
            until(lambda: all(fleet.stat("share_failures")), "a failure to be counted")
            server.start()
            fleet.agree("acme", 40)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_a_host_of_its_own(redis_server):
    """With memory of its own it shares under another name; nothing of the parent's is counted twice."""
    with Fleet(redis_server.url, 2) as fleet:
        send(fleet, 20)
        fleet.agree("acme", 20)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(5):
                    fleet.hosts[0].observe("globex", "/a")
                for _ in range(3):
                    fleet.hosts[0].observe("acme", "/a")
                until(lambda: fleet.hosts[0].stats()["shared"] and fleet.hosts[0]._sharing.turn(), "the child's part")
                until(lambda: fleet.hosts[0].profile("acme").events == 23, "the parent's part")
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for monitor in fleet.hosts:
            monitor.observe("globex", "/a")
        fleet.agree("globex", 7)
        fleet.agree("acme", 23)


def test_processes_of_one_state_are_one_host(tmp_path, redis_server):
    """Two monitors on one state: one of them shares; when it ends the other goes on, and no call is counted twice."""
    state = str(tmp_path / "state")
    with Fleet(redis_server.url, 1) as fleet:
        first, second = (fleet.join("workers", listed=False, state=state) for _ in range(2))
        for monitor in (first, second, fleet.hosts[0]):
            for _ in range(10):
                monitor.observe("acme", "/a")
        fleet.agree("acme", 30)
        assert [first._sharing.ledger is not None, second._sharing.ledger is not None] == [True, False]
        first.close()
        for _ in range(10):
            second.observe("acme", "/a")
        fleet.hosts.append(second)
        fleet.agree("acme", 40)


def test_the_program_acts_on_all_hosts(redis_server):
    """ztmon pin, restore and forget through Redis alone."""
    with Fleet(redis_server.url, 2) as fleet:
        send(fleet, 40)
        fleet.agree("acme", 40)
        env = {**os.environ, "ZTMON_HASH_KEY": bytes(range(16)).hex(), "ZTMON_REDIS_PREFIX": fleet.settings["redis_prefix"]}
        for words, condition in (
                (("pin", "acme", "block", "--reason", "leaked"), lambda m: m.profile("acme").level == Action.BLOCK),
                (("restore", "acme"), lambda m: m.profile("acme").level == Action.MONITOR),
                (("forget", "acme"), lambda m: m.profile("acme") is None)):
            done = run(*words, "--by", "anna", "--redis", redis_server.url, env=env)
            assert done.returncode == 0, done.stderr.decode()
            fleet.all(condition, words[0])
        said = run("audit", "--redis", redis_server.url, env=env).stdout.decode()
        assert "anna pin partner-" in said
        assert "acme" not in said
