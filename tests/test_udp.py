"""The UDP listener: real sockets, a thread, and what the system had no room for."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

import ztmon
from ztmon.adapters.udp import UdpListener
from ztmon.client.transport import UDP_SEGMENT
from ztmon.errors import ConfigError

from .servers import until


def event(partner="acme", **more):
    return json.dumps({"appId": "shop", "partnerId": partner, "timestamp": time.time() * 1000, "endpoint": "/api/orders/42",
                       "method": "GET", "statusCode": 200, "responseTime": 45.2} | more).encode()  # fmt: skip


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
