"""How events reach the gateway: packed batches by UDP, or JSON by HTTP. Used by one thread."""

import errno
import hashlib
import http.client
import os
import random
import secrets
import socket
import ssl
import struct
import sys
import threading
import time
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from ztcore.packed import pack
from ztmon.errors import ZtmonError
from ztmon.wire import Event

DATAGRAM = 1400
"""Bytes of a datagram: it fits any network in one piece."""

LOCAL = 32_000
"""On the loopback address datagrams may be larger."""

UDP_SEGMENT = 103
TOGETHER = 64
"""Datagrams that one call may send on every Linux that can."""
TOGETHER_BYTES = 65_000

NO_SEGMENTS = {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
"""What an older system, or the way to the gateway, says to sending several at once."""

SIGNED = struct.Struct("<BBBBIqQQ")
"""The head of a signed datagram (docs/udp.md)."""

MAC = 16

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds before the first and before any attempt after a failed one, at most."""

LATER = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""

Events = list[tuple[Any, ...]]


class ClientError(ZtmonError):
    """What the client was given cannot be used; the message says what and why."""


class Transport(Protocol):
    """One way to the gateway."""

    most: int
    """Events to send at once."""
    retries: int
    failures: int

    def send(self, events: Events) -> int:
        """Send them; how many were. Raises OSError, or ClientError, where none was."""

    def give_up(self) -> None:
        """From another thread: wait for nothing any more."""

    def close(self) -> None:
        """Let go of the socket."""


def transport(url: str, app: str, token: str | None, key: str | None, retries: int, timeout: float) -> Transport:
    """The one for a URL. Raises ClientError."""
    try:
        found = urlsplit(url)
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
        found = urlsplit("")
    if found.scheme == "udp" and host:
        return Udp(host, port or 9001, app, key)
    if found.scheme in ("http", "https") and host:
        return Http(found.scheme == "https", host, port or 9000, found.path.rstrip("/"), app, token, retries, timeout)
    raise ClientError(f"url is {url!r}; allowed are udp://HOST:PORT, http://HOST:PORT and https://HOST:PORT")


class Udp:
    """Packed batches, signed where there is a key."""

    most = 512      # packing so many holds the GIL for less than a millisecond

    def __init__(self, host: str, port: int, app: str, key: str | None) -> None:
        self.retries = self.failures = 0
        self.app = app
        self._key = _key(key)
        self._sender = secrets.randbits(63) | 1
        self._sequence = 0
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise ClientError(f"the gateway's name {host!r} cannot be found: {error.strerror}") from None
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.connect(address)
        local = address[0] == "::1" or str(address[0]).startswith("127.")
        self._size = LOCAL if local else DATAGRAM
        if self._key:
            self._size -= SIGNED.size + MAC
        self._together = sys.platform == "linux"

    def send(self, events: Events) -> int:
        made, bad = pack(events, self.app, self._size, self._together)
        failed = None
        lost = 0
        while made:
            n = min(TOGETHER, TOGETHER_BYTES // len(made[0])) if self._together else 1
            group, made = made[:n], made[n:]
            signed = [self._signed(datagram) for datagram in group] if self._key else group
            try:
                if self._together:
                    self._socket.sendmsg(signed, [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(signed[0])))])
                else:
                    self._socket.send(signed[0])
            except OSError as error:
                if self._together and error.errno in NO_SEGMENTS:
                    self._together, made = False, group + made
                    continue
                failed = error              # nobody listens there, or not yet
                lost += sum(int.from_bytes(datagram[4:6], "little") for datagram in group)
        self.failures += failed is not None
        if failed is not None and lost == len(events) - bad:
            raise failed
        return len(events) - bad - lost

    def _signed(self, datagram: bytes) -> bytes:
        assert self._key is not None
        number, secret = self._key
        self._sequence += 1
        whole = SIGNED.pack(0xC1, ord("s"), 1, number, 0, time.time_ns() // 1_000_000, self._sender, self._sequence) + datagram
        return whole + hashlib.blake2b(whole, key=secret, digest_size=MAC).digest()

    def give_up(self) -> None:
        pass

    def close(self) -> None:
        self._socket.close()


def _key(text: str | None) -> tuple[int, bytes] | None:
    """Number and secret. Raises ClientError."""
    if text is None:
        return None
    number, _, secret = text.partition(":")
    try:
        found = int(number), bytes.fromhex(secret)
    except ValueError:
        found = -1, b""
    if not 0 <= found[0] <= 255 or not 16 <= len(found[1]) <= 64:
        raise ClientError("key is (hidden); allowed is NUMBER:HEXADECIMAL, a number from 0 to 255 and 16 to 64 bytes")
    return found


class Http:
    """JSON over a connection that is kept."""

    most = 1000

    def __init__(self, tls: bool, host: str, port: int, path: str, app: str, token: str | None, retries: int,
                 timeout: float) -> None:
        self.retries = self.failures = 0
        self.app = app
        self._most_retries = retries
        self._path = f"{path}/telemetry?wait=0"
        self._headers = {"Content-Type": "application/json", "User-Agent": "ztmon-client"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context()) \
            if tls else http.client.HTTPConnection(host, port, timeout=timeout)
        self._given_up = threading.Event()
        self._random = random.Random(os.urandom(16))

    def send(self, events: Events) -> int:
        body, usable = _json(events, self.app)
        if not usable:
            return 0
        attempt = 0
        while True:
            try:
                return self._once(body, usable)
            except (OSError, http.client.HTTPException, _Later) as error:
                self._connection.close()
                if attempt >= self._most_retries or self._given_up.is_set():
                    self.failures += 1
                    raise ClientError(str(error) or type(error).__name__) from error
                wait = max(error.seconds if isinstance(error, _Later) else 0.0,
                           self._random.uniform(0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)))
                attempt += 1
                self.retries += 1
                self._given_up.wait(min(wait, LONGEST_PAUSE))

    def _once(self, body: bytes, usable: int) -> int:
        """One attempt; how many events were accepted. Raises what says that another may succeed, or ClientError."""
        self._connection.request("POST", self._path, body, self._headers)
        with self._connection.getresponse() as answer:
            said = answer.read()
            if answer.status in LATER:
                raise _Later(f"the gateway answered {answer.status}", answer.getheader("Retry-After", ""))
            if answer.status == 422:
                raise ClientError(f"the gateway can use none of {usable} events: {_why(said)}")
            if answer.status >= 300:
                self.failures += 1
                raise ClientError(f"the gateway answered {answer.status}: {said[:300].decode('utf-8', 'replace')}")
            try:
                return int(msgspec.json.decode(said)["accepted"])
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
                return usable

    def give_up(self) -> None:
        self._given_up.set()

    def close(self) -> None:
        self._connection.close()


def _why(said: bytes) -> str:
    """What a gateway says of the first event that it cannot use."""
    try:
        first = msgspec.json.decode(said)["problems"][0]
        return f"{first['field']} {first['detail']}".strip()
    except (msgspec.MsgspecError, LookupError, TypeError):
        return "its answer does not say why"


class _Later(Exception):
    """The gateway cannot take it now. seconds: how long it asked to wait."""

    def __init__(self, said: str, retry_after: str) -> None:
        super().__init__(said)
        self.seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0


def _json(events: Events, app: str) -> tuple[bytes, int]:
    """A JSON array of the events that can be written down, and how many these are."""
    lines = []
    for event in events:
        try:
            partner, endpoint, method, status, latency, request, response, source, timestamp, count = event
            lines.append(_encode(Event(
                app=app, partner=partner, endpoint=endpoint, method=method, status=status, latency_ms=latency,
                request_bytes=request, response_bytes=response, source=source, timestamp=timestamp * 1000.0, count=count)))
        except Exception:
            continue
    return b"[" + b",".join(lines) + b"]", len(lines)


_encode = msgspec.json.Encoder().encode
