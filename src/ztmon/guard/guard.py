"""A guard before one application: settings, the monitor, and errors of its own, which never become the application's."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ztcore.decision import Decision
from ztcore.exchange import Watch
from ztcore.levels import Action
from ztmon.errors import ConfigError
from ztmon.guard.callers import CLAIMS, Callers
from ztmon.guard.rules import HEALTH, PARAMETER, Rule, Rules

log = logging.getLogger("ztmon")

LOG_EVERY = 60.0
WORDS = 1000
"""Of an application's routes that are taken for known."""
LEFT = 499
"""The status by which a call is known whose caller left before the answer."""

Named = str | tuple[str, str] | None
"""What an application's callable says: a partner, application and partner, or that it does not know."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as `on_call` gets it. endpoint: the route's template; the raw path where there is none. Times ms, sizes bytes."""

    partner: str
    app: str
    method: str
    endpoint: str
    status: int
    first_byte_ms: float
    last_byte_ms: float
    request_bytes: int
    response_bytes: int
    decision: Decision


class Failures:
    """Errors inside ztmon: counted, and logged once a minute."""

    def __init__(self) -> None:
        self.count = 0
        self._logged = 0.0
        self._lock = threading.Lock()

    def add(self, what: str, error: BaseException) -> None:
        """One more."""
        with self._lock:
            self.count += 1
            now = time.monotonic()
            due = self._logged == 0.0 or now - self._logged >= LOG_EVERY
            if due:
                self._logged = now
        if due:
            log.error("%s failed; the request went on (%d failures so far, said once a minute)", what, self.count, exc_info=error)


class Guard:
    """Settings of an adapter, checked, and what follows from them.

    monitor: a ztmon.Monitor; None: one of its own, which only watches (shadow mode) and is closed with the application.
    partner: who calls, as a fixed name or a callable of the application, which returns a name, (app, name), or None where it
    does not know; app: the application that partners belong to. key_header: where an API key is; trusted_proxies: networks
    whose X-Forwarded-For and X-Partner-ID are believed. routes: settings by path (a Rule, or a map of its names); exempt: paths
    left alone; max_action, sensitivity: of all other routes. delay_ms: a throttled call that would pass within so many ms waits
    (ASGI). latency: "first" byte or "last", which of them the engine learns. on_call: called with a Call after each one.
    gateway_url, token, hash_key, refresh_seconds: a gateway in place of a monitor, as for ztmon.guard.remote.Remote. Raises
    ConfigError.
    """

    def __init__(self, monitor: Any = None, *, partner: str | Callable[[Any], Any] | None = None, app: str = "default",
                 key_header: str = "x-api-key", trusted_proxies: Iterable[str] = (), routes: Mapping[str, Any] | None = None,
                 exempt: Iterable[str] = HEALTH, max_action: Action | str = Action.BLOCK, sensitivity: float = 1.0,
                 delay_ms: float = 0.0, latency: str = "first", on_call: Callable[[Call], object] | None = None,
                 gateway_url: str | None = None, token: str | None = None, hash_key: bytes | str | None = None,
                 refresh_seconds: float = 1.0) -> None:
        if partner is not None and not callable(partner) and (not isinstance(partner, str) or not partner):
            raise ConfigError(f"partner is {partner!r}; allowed is a name, or a function that finds it")
        if not isinstance(app, str) or not app:
            raise ConfigError(f"app is {app!r}; allowed is a name")
        if isinstance(trusted_proxies, str):
            raise ConfigError(f'trusted_proxies is {trusted_proxies!r}; allowed is a list of networks, such as ["10.0.0.0/8"]')
        if gateway_url is None and (token is not None or hash_key is not None):
            raise ConfigError("token and hash_key are for gateway_url, which is not given; a Monitor has neither")
        if latency not in ("first", "last"):
            raise ConfigError(f'latency is {latency!r}; allowed are "first" and "last"')
        if not 0.0 <= delay_ms <= 250.0:
            raise ConfigError(f"delay_ms is {delay_ms!r}; allowed is a number from 0 to 250")
        if not key_header or not key_header.isascii():
            raise ConfigError(f"key_header is {key_header!r}; allowed is the name of a header")
        self.rules = Rules(routes or {}, exempt, Rule(max_action=max_action, sensitivity=sensitivity))  # type: ignore[arg-type]
        self.own = monitor is None
        self.monitor: Any
        if gateway_url is None:
            if monitor is not None and not callable(getattr(monitor, "check", None)):
                raise ConfigError(f"monitor is {monitor!r}; allowed is a ztmon.Monitor")
            self.monitor = _monitor() if monitor is None else monitor
        elif monitor is None:
            from ztmon.guard.remote import Remote
            self.monitor = Remote(gateway_url, app, token, hash_key, refresh_seconds, {rule.sensitivity for rule in self.rules})
        else:
            raise ConfigError("monitor and gateway_url are both given; one of them knows the partners")
        self.fixed = partner if isinstance(partner, str) else None
        self.ask = partner if callable(partner) else None
        self.app = app
        self.key_header = key_header.lower()
        self.callers = Callers(self.monitor if getattr(self.monitor, "hashes", True) else None, trusted_proxies)
        self.delay = delay_ms / 1000.0
        self.last = latency == "last"
        self.on_call = on_call
        self.failures = Failures()
        self.refused = 0
        """Calls that were not let through."""
        self.unnamed = 0
        """Calls that nobody could be found for; they pass, unwatched."""

    def named(self, x: Any, found: Named) -> bool:
        """Put down what the application's callable said. False where it does not know."""
        if not found:
            return False
        if isinstance(found, str):
            x.partner, x.app = found, self.app
        else:
            x.app, x.partner = found
        return True

    def check(self, x: Any, rule: Rule) -> Decision:
        """The decision in force for a call. Takes a token where a throttle is enforced."""
        if rule.plain:
            found: Decision = self.monitor.check(x.partner, x.app)
        else:
            found = self.monitor.check_route(x.partner, x.app, rule.sensitivity, int(rule.max_action))
        return found

    def watch(self, find: Callable[[Any], str | None] | None, key_name: bytes | str) -> Watch:
        """What the exchanges of this application share. find: a route's template, where there are routes."""
        callers = self.callers
        told = None if self.on_call is None else self._told
        return Watch(self.monitor.check, self.monitor.observe, find, self.failures.add, self._late, told, self.fixed, self.app,
                     key_name, callers.keys, callers.addresses, self.rules.exact, self.ask is None and not callers.any_proxies,
                     self.last)

    def _late(self, x: Any) -> None:
        """The application verified a token meanwhile."""
        x.partner = self.callers.by_claims(x.scope[CLAIMS]) or x.partner

    def _told(self, x: Any, method: str, endpoint: str, decision: Decision) -> None:
        assert self.on_call is not None
        self.on_call(Call(x.partner, x.app, method, endpoint.partition("?")[0], x.status, x.latency_ms, x.duration_ms, x.received,
                          x.sent, decision))

    def stats(self) -> dict[str, int]:
        """refused, unnamed: calls; failures: errors inside ztmon."""
        return {"refused": self.refused, "unnamed": self.unnamed, "failures": self.failures.count}

    def know(self, templates: Iterable[str], root: str) -> None:
        """At the start: the application's own routes, and what it stands under. What is written in them may be shown from their
        first use, and settings of routes that there are not are told of."""
        found = list(templates)
        if not found:
            return
        words = {part for template in found for part in template.split("/") if part and not PARAMETER.search(part)}
        if hasattr(self.monitor, "know_segments"):
            self.monitor.know_segments(sorted(words)[:WORDS])
        for key in self.rules.unmatched([*found, *(root + template for template in found if root)]):
            log.warning("ztmon: no route that could be read matches %r of routes= and exempt=", key)

    def say(self, uncovered: Iterable[tuple[str, str]]) -> None:
        """At the start: how it watches, and what it does not."""
        mode = "" if getattr(self.monitor, "settings", None) is None or not self.monitor.settings["shadow"] else \
            "; in shadow mode: nothing is refused"
        log.info("ztmon watches this application%s", mode)
        found = [f"{path} ({why})" for path, why in uncovered]
        if found:
            log.warning("ztmon does not cover: %s", "; ".join(found))

    def close(self) -> None:
        """Close the monitor where it is one's own."""
        if self.own:
            self.monitor.close()


def _monitor() -> Any:
    """One that keeps everything in memory and enforces nothing."""
    from ztmon.monitor import Monitor
    return Monitor()
