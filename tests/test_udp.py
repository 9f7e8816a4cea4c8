"""The UDP listener: real sockets, a thread, and what the system had no room for."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import ztmon
from ztcore.datagrams import Receiver
from ztmon.adapters.udp import UdpListener
from ztmon.client.transport import UDP_SEGMENT
from ztmon.errors import ConfigError

from .gateways import Gateway
from .servers import until
from .test_datagrams import SECRET, signed


def event(partner="acme", **more):
    return json.dumps({"appId": "shop", "partnerId": partner, "timestamp": time.time() * 1000, "endpoint": "/api/orders/42",
                       "method": "GET", "statusCode": 200, "responseTime": 45.2} | more).encode()  # fmt: skip


def later():
    """A time for a signature: what was signed in the millisecond of the start may be a repetition."""
    return time.time() + 0.01


def sender(listener):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(listener.address)
    return made


@pytest.fixture
def monitor():
    with ztmon.Monitor() as made:
        yield made


def test_events_arrive(monitor):
    """What several threads send is taken in, and stop() ends with the last of it."""
    with UdpListener(monitor, port=0) as listener, sender(listener) as out:
        def send(name):
            for _ in range(250):
                out.send(event(name))

        threads = [threading.Thread(target=send, args=(f"p{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [monitor.profile(f"p{i}", "shop").events for i in range(4)] == [250] * 4
    assert listener.stats()["taken"] == listener.stats()["observed"] == 1000


def test_what_was_sent_together_is_taken_apart(monitor):
    """Datagrams that one call sent are each taken for itself, the last one being shorter; so are single and empty ones."""
    many, alone = [event(f"p{i:02}").ljust(300) for i in range(40)] + [event("last")], event("alone")
    with UdpListener(monitor, port=0) as listener, sender(listener) as out:
        for _ in range(20):
            out.sendmsg(many, [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 300))])
            out.send(alone)
            out.send(b"")
    stats = listener.stats()
    assert (stats["datagrams"], stats["taken"], stats["refused_empty"]) == (20 * 43, 20 * 42, 20)
    assert stats["bytes"] == 20 * (40 * 300 + len(many[-1]) + len(alone))
    assert {monitor.profile(name, "shop").events for name in ("p00", "p39", "last", "alone")} == {20}


def test_a_fork_leaves_the_parents_listener_alone(monitor):
    """A child has no listener and cannot end its parent's: neither by stop() nor by its end. It may make one of its own, on
    the same port once the parent has left it."""
    listener = UdpListener(monitor, port=0).start()
    ready, told = os.pipe()
    go, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            listener.stop()
            with contextlib.suppress(RuntimeError):
                listener.start()
                os._exit(2)
            os.write(told, b".")
            os.read(go, 1)
            with ztmon.Monitor() as own, UdpListener(own, port=listener.address[1]) as another, sender(another) as out:
                out.send(event())
                until(lambda: another.stats()["taken"] == 1)
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(told)
    os.close(go)
    assert os.read(ready, 1) == b"."
    with sender(listener) as out:
        out.send(event())
        until(lambda: listener.stats()["taken"] == 1, "a datagram that the parent took")
    listener.stop()
    os.write(tell, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(ready)
    os.close(tell)


def test_the_listener_does_not_need_the_gil(monitor):
    """Datagrams are taken in while another thread computes and never lets go of the GIL."""
    listener = UdpListener(monitor, port=0).start()
    taken = []

    def compute():
        with sender(listener) as out:
            before = sys.getswitchinterval()
            sys.setswitchinterval(1000.0)       # nobody else gets the GIL from here on
            try:
                for _ in range(200):
                    out.send(event())
                end = time.monotonic() + 30.0
                while listener._receiver.stats()["taken"] < 200 and time.monotonic() < end:
                    pass
                taken.append(listener._receiver.stats()["taken"])
            finally:
                sys.setswitchinterval(before)

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    listener.stop()
    assert taken == [200]


def test_drops_of_the_system_are_seen(monitor):
    """Datagrams that came while nobody read and no room was left are counted, and the others are taken in."""
    listener = UdpListener(monitor, port=0)
    listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with sender(listener) as out:
        for _ in range(200):
            out.send(event())
    assert listener.stats()["kernel_drops"] > 0
    assert listener.stats()["waiting_bytes"] > 0
    listener.start()
    listener.stop()
    stats = listener.stats()
    assert stats["taken"] > 0
    assert stats["taken"] + stats["kernel_drops"] == 200


def test_what_is_refused_is_counted_by_reason(monitor):
    """The listener's counts say why datagrams were refused, and by which field."""
    with UdpListener(monitor, port=0) as listener, sender(listener) as out:
        for raw in (b"x", b"{}", event(statusCode=0)):
            out.send(raw)
    stats = listener.stats()
    assert stats["refused"] == 3
    assert stats["refused_unknown_kind"] == stats["refused_missing_field"] == stats["refused_wrong_field"] == 1
    assert stats["wrong_statusCode"] == stats["missing_appId"] == 1


def test_keys_are_changed_without_losing_anything(monitor):
    """While a sender goes on, the keys change again and again under it: what is signed by the key that stays is all taken, what
    came before is still a repetition, and what is signed by a key that is gone is refused."""
    def one(sequence, number=1):
        return signed(event(), number=number, key=SECRET, when=later(), sender=9, sequence=sequence)

    with UdpListener(monitor, port=0, keys={1: SECRET}) as listener, sender(listener) as out:
        done = threading.Event()

        def send():
            try:
                for i in range(1, 2001):
                    out.send(one(i))
                    if i % 100 == 0:        # the buffer is bounded, and under CI small
                        until(lambda: listener.stats()["datagrams"] == i)  # noqa: B023
            finally:
                done.set()

        thread = threading.Thread(target=send)
        thread.start()
        turns = 0
        while not done.is_set():
            turns += 1
            listener.use({1: SECRET, 2: SECRET} if turns % 2 else {1: SECRET})
        thread.join()
        until(lambda: listener.stats()["taken"] == 2000)
        assert turns > 1
        listener.use({2: SECRET})
        out.send(one(2000, 2))
        out.send(one(2001, 1))
        out.send(one(2002, 2))
        until(lambda: listener.stats()["datagrams"] == 2003)
        stats = listener.stats()
        assert (stats["taken"], stats["refused_replayed"], stats["refused_unknown_key"]) == (2001, 1, 1)
        with pytest.raises(ConfigError, match="65 bytes"):
            listener.use({2: b"k" * 65})
        out.send(one(2003, 2))
        until(lambda: listener.stats()["taken"] == 2002)
        listener.use({})
        out.send(event())
        until(lambda: listener.stats()["taken"] == 2003)
    listener.use({})
    with UdpListener(monitor, "0.0.0.0", 0, keys={1: SECRET}) as listener, pytest.raises(ConfigError, match="there is no key"):
        listener.use({})


FLOODER = """
import socket, struct, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(("127.0.0.1", int(sys.argv[1])))
one = struct.pack("<BBBBIqQQ", 0xC1, ord("s"), 1, 1, 0, int(time.time() * 1000), 7, 1) + bytes(1368)
print("sending", flush=True)
for _ in range(1_000_000):
    try:
        out.sendmsg([one] * 46, [(socket.IPPROTO_UDP, 103, struct.pack("=H", 1400))])
    except OSError:
        pass
"""
"""Forged datagrams, many with one call: to see that they are takes longer than to send them."""


def bells():
    """Counts of this process's event descriptors."""
    for name in os.listdir("/proc/self/fdinfo"):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/self/fdinfo/{name}").read_text()
            yield from map(int, re.findall(r"eventfd-count:\s*(\d+)", text))


def test_keys_are_changed_during_a_flood(monitor):
    """Who sends without end, and more than can be taken in, holds off neither other keys nor the end; no bell is left that would
    keep the next thread awake."""
    listener = UdpListener(monitor, port=0, keys={1: SECRET}).start()
    words = [sys.executable, "-c", FLOODER, str(listener.address[1])]
    flooders = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for flooder in flooders:
            assert flooder.stdout.readline() == b"sending\n"
        until(lambda: listener.stats()["kernel_drops"] > 0)
        for i in range(200):
            listener.use({1: SECRET, 2 + i: SECRET})
            assert set(bells()) <= {0}
        listener.stop()
        assert [flooder.poll() for flooder in flooders] == [None] * 3
    finally:
        for flooder in flooders:
            flooder.kill()
            flooder.wait()
            flooder.stdout.close()
    assert listener.stats()["refused_forged"] > 0


def test_a_pause_leaves_in_the_socket_what_is_there(monitor):
    """But for what one system call takes out of it; stop() leaves nothing. Neither is forgotten before settle()."""
    receiver = Receiver(monitor)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as into, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        into.bind(("127.0.0.1", 0))
        for _ in range(100):
            out.sendto(event(), into.getsockname())
        receiver.pause()
        receiver.run(into.fileno())
        assert receiver.stats()["datagrams"] == 64
        receiver.settle()
        receiver.stop()
        receiver.run(into.fileno())
        assert receiver.stats()["datagrams"] == 100


def test_a_receiver_that_had_failed_is_brought_back(monitor):
    """A thread that ended with an error is replaced when the keys change."""
    with UdpListener(monitor, port=0, keys={1: SECRET}) as listener, sender(listener) as out:
        listener._receiver.pause()
        listener._thread.join()
        listener.use({2: SECRET})
        out.send(signed(event(), number=2, when=later()))
        until(lambda: listener.stats()["taken"] == 1)


def test_a_change_of_keys_and_the_end_do_not_get_in_each_others_way(monitor):
    """Whoever comes first: no thread is left, and what was stopped stays so."""
    for _ in range(200):
        listener = UdpListener(monitor, port=0, keys={1: SECRET}).start()
        thread = threading.Thread(target=listener.use, args=({2: SECRET},))
        thread.start()
        listener.stop()
        thread.join()
        assert listener._thread is None
    assert [thread.name for thread in threading.enumerate() if thread.name == "ztmon-udp"] == []
    with pytest.raises(RuntimeError, match="was stopped"):
        listener.start()


def test_ipv6_and_a_second_start(monitor):
    """It listens on IPv6 too, and stop() may be called twice."""
    with UdpListener(monitor, "::1", 0) as listener, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as out:
        out.sendto(event(), listener.address)
        until(lambda: listener.stats()["taken"] == 1)
    listener.stop()


def test_addresses_that_cannot_be_had_are_refused(monitor):
    """A port in use, no address, and an address that others can reach without a key are errors that say so."""
    with UdpListener(monitor, port=0) as listener, pytest.raises(ConfigError, match="cannot be had"):
        UdpListener(monitor, port=listener.address[1])
    with pytest.raises(ConfigError, match="allowed is an address"):
        UdpListener(monitor, "nowhere.invalid", 0)
    with pytest.raises(ConfigError, match="there is no key"):
        UdpListener(monitor, "0.0.0.0", 0)
    UdpListener(monitor, "0.0.0.0", 0, keys={1: b"k" * 32}).stop()


def test_serve_takes_telemetry_by_udp(tmp_path):
    """`ztmon serve` listens beside its port; nothing that came before SIGTERM is lost, and /stats has the counts."""
    env = os.environ | {"ZTMON_STORE": str(tmp_path / "z.db")}
    words = [sys.executable, "-c", "from ztmon.cli import main; main()", "serve", "--port", "0", "--udp", "0"]
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().split(" at ")[1].split(" ")[0]
        port = int(process.stdout.readline().split("port ")[1].split(" ")[0].rstrip(",.;"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for _ in range(50):
                out.sendto(event(), ("127.0.0.1", port))

        def taken():
            with urllib.request.urlopen(f"{url}/stats") as answer:
                return json.load(answer)["udp_taken"] == 50

        until(taken, "all fifty")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()


def test_sighup_changes_the_keys_of_a_running_gateway(tmp_path):
    """A new key is taken from the file; one without any, before an address that others can reach, changes nothing; what has to
    wait for a restart is said."""
    file = tmp_path / "ztmon.toml"
    file.write_text(f'[gateway]\nudp_listen = "0.0.0.0"\nudp_keys = ["1:{SECRET.hex()}"]\n')
    with Gateway("--config", str(file), "--udp", "0") as gateway, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        port = int(re.search(r"port (\d+)", gateway.process.stdout.readline())[1])

        def send(number, sequence):
            out.sendto(signed(event(), number=number, when=later(), sequence=sequence), ("127.0.0.1", port))

        send(1, 1)
        send(2, 2)
        gateway.until(lambda: gateway.get("/stats")[1]["udp_refused_unknown_key"] == 1)
        file.write_text(f'capacity = 1000\n[gateway]\nudp_listen = "127.0.0.1"\nudp_keys = ["2:{SECRET.hex()}"]\n'
                        'upstream = "http://127.0.0.1:1"\n')
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: any("different now: gateway.udp_keys" in line for line in gateway.errors))
        gateway.until(lambda: any("the next start: capacity, gateway.udp_listen, gateway.upstream" in line
                                  for line in gateway.errors))
        send(2, 3)
        gateway.until(lambda: gateway.get("/stats")[1]["udp_taken"] == 2)
        file.write_text('fall_minutes = 9\n[gateway]\nudp_listen = "0.0.0.0"\n')
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: any("stay as they were" in line and "there is no key" in line for line in gateway.errors))
        assert gateway.get("/config")[1]["settings"]["fall_minutes"]["value"] == 5.0
        send(2, 4)
        gateway.until(lambda: gateway.get("/stats")[1]["udp_taken"] == 3)
        assert SECRET.hex() not in "".join(gateway.errors)
