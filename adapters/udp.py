"""Telemetry by UDP: a socket, and a thread that empties it into a monitor outside the GIL.

    with UdpListener(monitor, port=9001) as listener:
        ...

A datagram is one event (a JSON object, a msgpack map, JSON within syslog) or a packed batch of our client; nothing is
answered. docs/udp.md says what is in them.
"""

import ipaddress
import logging
import os
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

from ztcore.datagrams import Receiver
from ztmon.errors import ConfigError
from ztmon.monitor import Monitor

log = logging.getLogger("ztmon.udp")

BUFFER = 16 * 1024 * 1024
"""Bytes that the system is asked to keep for datagrams not yet read; it may give less (net.core.rmem_max)."""

SO_RCVBUFFORCE = 33
UDP_GRO = 104
SO_MEMINFO = 55
MEMINFO = struct.Struct("=9I")
DROPS = 8
"""Where the system's count of datagrams it had no room for is in SO_MEMINFO."""


class UdpListener:
    """Receives from start() to stop(). After a fork the parent's goes on; the child has none of it, and may make one of
    its own.

    host, port: the address to listen on, port 0 any free one. keys: secrets (1 to 64 bytes) by number (0 to 255); with
    any, only what is signed by one of them is taken. back_seconds, ahead_seconds: time stamps beyond this far from now are
    taken for it. Raises ConfigError for an address that cannot be had, and without keys for one that others can reach.
    """

    def __init__(self, monitor: Monitor, host: str = "127.0.0.1", port: int = 9001, keys: Mapping[int, bytes] | None = None,
                 back_seconds: float = 900.0, ahead_seconds: float = 10.0, window_seconds: float = 30.0) -> None:
        self.monitor = monitor
        try:
            self._receiver = Receiver(monitor, back_seconds, ahead_seconds, dict(keys or {}), window_seconds)
        except ValueError as error:
            raise ConfigError(f"udp_keys: {error}") from None
        self._socket: socket.socket | None = listen(host, port, signed=bool(keys))
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        """Where it listens."""
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        """Held by who starts, stops or changes it."""
        self._drops = self._waiting = self._buffer = 0
        _open.add(self)

    def start(self) -> Self:
        """Begin to receive. Raises RuntimeError for one that was stopped, or made before a fork."""
        with self._lock:
            if self._socket is None:
                raise RuntimeError("the listener was stopped, or was made by the process that this one was forked from; "
                                   "make another")
            self._begin(self._socket)
        return self

    def use(self, keys: Mapping[int, bytes] | None, back_seconds: float = 900.0, ahead_seconds: float = 10.0) -> None:
        """Go on with other keys, and other times that time stamps may be off. What comes meanwhile waits in the socket; what of
        each sender came already is still known. One that was stopped stays so. Raises ConfigError, and then nothing changes."""
        with self._lock:
            if self._socket is None:
                return
            signed_or_near(self.address[0], bool(keys))
            running = self._thread is not None
            self._end(self._receiver.pause)
            try:
                self._receiver.use(back_seconds, ahead_seconds, dict(keys or {}))
            except ValueError as error:
                raise ConfigError(f"udp_keys: {error}") from None
            finally:
                if running:
                    self._begin(self._socket)

    def stop(self) -> None:
        """End; what had come by then is taken in. May be called twice."""
        with self._lock:
            self._end(self._receiver.stop)
            if self._socket is not None:
                self._look()
                self._socket.close()
                self._socket = None

    def _begin(self, socket: socket.socket) -> None:
        self._thread = threading.Thread(target=self._run, args=(socket.fileno(),), name="ztmon-udp", daemon=True)
        self._thread.start()

    def _end(self, leave: Callable[[], None]) -> None:
        if self._thread is not None:
            leave()
            self._thread.join()
            self._receiver.settle()
            self._thread = None

    def _run(self, descriptor: int) -> None:
        try:
            self._receiver.run(descriptor)
        except OSError:
            log.exception("receiving telemetry by UDP ended")

    def _forked(self) -> None:
        """In a child there is no thread, and what is left of the parent's is let go without telling the parent's thread."""
        self._lock = threading.Lock()
        self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _look(self) -> None:
        """What the system says of the socket. Its count of drops has 32 bits and comes round."""
        assert self._socket is not None
        found = MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))
        self._drops += (found[DROPS] - self._drops) % (1 << 32)
        self._waiting, self._buffer = found[0], found[1]

    def stats(self) -> dict[str, int]:
        """Counts since the start, by name: datagrams, taken, events, observed, clamped, refused and refused_REASON;
        kernel_drops: datagrams that came while there was no room; buffer_bytes, waiting_bytes: that room, and what is in it."""
        if self._socket is not None:
            self._look()
        found = self._receiver.stats()
        refused = found.pop("refused")
        by_field = {f"{kind}_{field}": n for kind in ("missing", "wrong") for field, n in found.pop(kind).items()}
        return {**found, "refused": sum(refused.values()), **{f"refused_{why}": n for why, n in refused.items()}, **by_field,
                "kernel_drops": self._drops, "buffer_bytes": self._buffer, "waiting_bytes": self._waiting}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def signed_or_near(host: str, signed: bool) -> str:
    """The address to listen on. Raises ConfigError where that is none, or others can reach it and nothing would be signed."""
    name = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        raise ConfigError(f"the address for UDP is {host!r}; allowed is an address of this machine") from None
    if not loopback and not signed:
        raise ConfigError(f"the address for UDP is {host!r}, which others can reach, and there is no key: anybody could "
                          "make up calls of any partner; set gateway.udp_keys, or listen on a loopback address")
    return name


def listen(host: str, port: int, signed: bool = False) -> socket.socket:
    """A UDP socket with as much room as the system gives. signed: others may reach it. Raises ConfigError."""
    name = signed_or_near(host, signed)
    made = socket.socket(socket.AF_INET6 if ":" in name else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        with suppress(PermissionError):         # only with CAP_NET_ADMIN; else net.core.rmem_max is the bound
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        with suppress(OSError):                 # Linux 5.0: datagrams that were sent together are received together
            made.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        made.bind((name, port))
    except OSError as error:
        made.close()
        raise ConfigError(f"UDP port {port} on {host} cannot be had: {os.strerror(error.errno or 0)}") from None
    return made


_open: weakref.WeakSet[UdpListener] = weakref.WeakSet()


def _forked() -> None:
    for listener in _open:
        listener._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
