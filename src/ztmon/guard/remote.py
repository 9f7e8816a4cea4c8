"""A gateway in place of a Monitor: what happened goes there by the telemetry client, and a copy of its decisions is kept here,
refreshed in the background. No request waits for the gateway.

    observe() -> TelemetryClient -> gateway          check() <- copy <- GET /decisions

While the gateway is away decisions stand until they end; nobody new is acted on. That is said in the log at once, and every
minute again.
"""

import hashlib
import http.client
import logging
import os
import re
import ssl
import threading
import time
import weakref
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import msgspec

from ztcore.engine import Engine
from ztmon.client import TelemetryClient
from ztmon.errors import ConfigError
from ztmon.gateway.decisions import SENSITIVITIES
from ztmon.guard.held import CALM, Held, RemoteDecision

log = logging.getLogger("ztmon")

LOG_EVERY = 60.0
TIMEOUT = 5.0
_ID = re.compile(r"[0-9]+|(?=(?:[^0-9]*[0-9]){3})[^.]+|[0-9a-fA-F-]*[0-9][0-9a-fA-F-]{7,}")
_alive: "weakref.WeakSet[Remote]" = weakref.WeakSet()


class Remote:
    """What a guard needs of a Monitor, from the gateway at `url` (http or https).

    token: of `ztmon token add` with the role telemetry (and control where reauthenticated() is called). hash_key: the gateway's
    16 bytes, or 32 hexadecimal digits, for pseudonyms of keys and addresses; None: they are hashed with the token, and
    without one they name nobody. refresh_seconds: how old the copy may be. sensitivities: that routes have; of others and where
    the gateway is older than they are, decisions are those of 1. Raises ConfigError.
    """

    def __init__(self, url: str, app: str = "default", token: str | None = None, hash_key: bytes | str | None = None,
                 refresh_seconds: float = 1.0, sensitivities: Iterable[float] = ()) -> None:
        found = urlsplit(url)
        if found.scheme not in ("http", "https") or not found.hostname:
            raise ConfigError(f"gateway_url is {url!r}; allowed are http://HOST:PORT and https://HOST:PORT")
        if not 0.05 <= refresh_seconds <= 3600.0:
            raise ConfigError(f"refresh_seconds is {refresh_seconds!r}; allowed is a number from 0.05 to 3,600")
        asked = sorted({value for value in sensitivities if value != 1.0})
        if len(asked) > SENSITIVITIES:
            raise ConfigError(f"routes have {len(asked)} different sensitivities; with gateway_url {SENSITIVITIES} are allowed")
        self._question = "/decisions" + (f"?sensitivity={','.join(map(repr, asked))}" if asked else "")
        self._url, self._found, self._token = url, found, token
        self._where = f"{found.hostname}:{found.port or 9000}"
        self._refresh_seconds = refresh_seconds
        self._engine = _hasher(hash_key, token)
        self.hashes = self._engine is not None
        self._clients: dict[str, TelemetryClient] = {}
        self._lock = threading.Lock()
        self._client(app)
        self._held: dict[tuple[str, str], Held] = {}
        self.away = False
        """Whether the last attempt to reach the gateway failed."""
        self.failures = 0
        self._logged = 0.0
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ztmon-decisions", daemon=True)
        self._thread.start()

    # -- what a guard calls --------------------------------------------------------------------

    def check(self, partner: str, app: str = "default", timestamp: float | None = None) -> RemoteDecision:
        """The decision in force, as far as it is known here."""
        return self.check_route(partner, app)

    def check_route(self, partner: str, app: str = "default", sensitivity: float = 1.0, most: int = 4,
                    timestamp: float | None = None) -> RemoteDecision:
        """The same on a route with settings of its own."""
        held = self._held.get((app, partner))
        if held is None:
            return CALM
        now = time.monotonic()
        return held.decide(most, now, sensitivity) if now < held.ends else CALM

    def observe(self, partner: str, endpoint: str, method: str = "GET", status: int = 200, latency_ms: float = 0.0,
                request_bytes: float = 0, response_bytes: float = 0, source: str | None = None, app: str = "default",
                timestamp: float | None = None, count: int = 1, path: str | None = None) -> RemoteDecision:
        """Send it, soon. Returns what is known here."""
        client = self._clients.get(app) or self._client(app)
        client.record(partner, endpoint if path is None else filled(endpoint, path), method, status, latency_ms, request_bytes,
                      response_bytes, source, timestamp, count)
        held = self._held.get((app, partner))
        return CALM if held is None else RemoteDecision(held.level, held.score)

    def source_key(self, source: str) -> int:
        """Keyed hash of a text."""
        assert self._engine is not None
        return self._engine.source_key(source)

    def reauthenticated(self, partner: str, app: str = "default") -> bool:
        """Tell the gateway that the application authenticated a partner anew; waits for its answer. False where there is no
        quarantine. Raises OSError where it cannot be asked."""
        connection = self._connect()
        try:
            connection.request("POST", self._path(f"/partners/{quote(partner, safe='')}/reauthenticated?app={quote(app)}"), b"",
                               self._headers())
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise ConnectionError(f"the gateway at {self._where} cannot be asked: {error}") from error
        finally:
            connection.close()
        if status not in (200, 404, 409):
            raise ConnectionError(f"the gateway at {self._where} {answered(status, 'control')}")
        if status == 200:
            self._held.pop((app, partner), None)
        return status == 200

    def stats(self) -> dict[str, int]:
        """away: 1 while the gateway cannot be reached; failures: attempts that failed; held: decisions kept here; sent, dropped:
        events."""
        clients = [client.stats() for client in list(self._clients.values())]
        return {"away": int(self.away), "failures": self.failures, "held": len(self._held),
                "sent": sum(client["sent"] for client in clients), "dropped": sum(client["dropped"] for client in clients)}

    def flush(self) -> None:
        """Send what waits."""
        for client in list(self._clients.values()):
            client.flush()

    def close(self) -> None:
        """Send what waits, and end. May be called twice."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(TIMEOUT)
        for client in list(self._clients.values()):
            client.close()

    # -- in the background ----------------------------------------------------------------------

    def _client(self, app: str) -> TelemetryClient:
        with self._lock:
            if app not in self._clients:
                self._clients[app] = TelemetryClient(self._url, app, token=self._token)
            return self._clients[app]

    def _run(self) -> None:
        while True:
            try:
                self._refresh()
            except Exception as error:
                self._failed(error)
            if self._stop.wait(self._refresh_seconds):
                break
        if self._connection is not None:
            self._connection.close()

    def _refresh(self) -> None:
        """Raises OSError, HTTPException, ValueError."""
        told, now = msgspec.json.decode(self._ask())["decisions"], time.monotonic()
        known, self._held = self._held, {(one["app"], one["partner"]): Held(one, now) for one in told}
        for key, held in self._held.items():        # tokens that were taken are gone
            if key in known:
                held.arrival = known[key].arrival
        if self.away:
            self.away, self._logged = False, 0.0
            log.warning("the gateway at %s is back: decisions are its own again", self._where)

    def _ask(self) -> bytes:
        """The gateway's decisions. One that closed a connection that was kept is asked once more."""
        kept = self._connection is not None
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request("GET", self._path(self._question), headers=self._headers())
            answer = connection.getresponse()
            body = answer.read()
        except Exception as error:
            connection.close()
            self._connection = None
            if kept and isinstance(error, ConnectionError):
                return self._ask()
            raise
        if answer.status != 200:
            raise _Answered(answered(answer.status, "telemetry"))
        return body

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.away = True
        now = time.monotonic()
        self._held = {key: held for key, held in self._held.items() if held.ends > now}
        if self._logged == 0.0 or now - self._logged >= LOG_EVERY:
            self._logged = now
            what = str(error) if isinstance(error, _Answered) else f"cannot be reached ({type(error).__name__}: {error})"
            log.error("the gateway at %s %s: decisions stand until they end (%d now), nobody new is acted on", self._where, what,
                      len(self._held))

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._found.hostname, self._found.port or 9000
        assert host is not None
        if self._found.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)

    def _path(self, path: str) -> str:
        return self._found.path.rstrip("/") + path

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _forked(self) -> None:
        """In a child: the thread is not there, and the connection is the parent's."""
        self._lock = threading.Lock()
        if not self._stop.is_set():
            self._begin()


class _Answered(Exception):
    """The gateway was reached, and does not say what it was asked."""


def answered(status: int, role: str) -> str:
    """What to do about an answer that is none."""
    if status in (401, 403):
        return f"answered {status}: give token= of `ztmon token add` with the role {role}"
    return f"answered {status}" + (": gateway_url= should be its address, with nothing behind it" if status == 404 else "")


def _hasher(hash_key: bytes | str | None, token: str | None) -> Engine | None:
    """What hashes keys and addresses as the gateway with the same key does. Raises ConfigError."""
    if isinstance(hash_key, str):
        try:
            hash_key = bytes.fromhex(hash_key)
        except ValueError:
            hash_key = b""
    if hash_key is not None and len(hash_key) != 16:
        raise ConfigError("hash_key is (hidden); allowed is 16 bytes, or 32 hexadecimal digits")
    if hash_key is None and token:
        hash_key = hashlib.blake2b(token.encode(), digest_size=16, person=b"ztmon adapters").digest()
    if hash_key is None:
        log.warning("callers cannot be told apart by API key or address: a gateway without a token needs hash_key=")
        return None
    return Engine(1, hash_key)


def filled(template: str, path: str) -> str:
    """A template and a raw path as the one text that telemetry has for both: ids stay where parameters are, everything else
    that a parameter holds goes behind a question mark, where only patterns are looked for."""
    raw, _, query = path.partition("?")
    parts, given = template.split("/"), raw.split("/")
    if len(parts) != len(given):
        return f"{template}?{path}"
    rest = []
    for at, part in enumerate(parts):
        if "{" in part or "<" in part:
            if _ID.fullmatch(given[at]):
                parts[at] = given[at]
            else:
                rest.append(given[at])
    behind = "&".join((*rest, query) if query else rest)
    return "/".join(parts) + (f"?{behind}" if behind else "")


def _forked() -> None:
    for remote in list(_alive):
        remote._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
