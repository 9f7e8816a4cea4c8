"""How a partner stands, as hosts tell each other, and who is right where two of them disagree.

A standing is msgpack [format, version, level, fresh, since, below, pin level, pin until, at most, flags, cause, score,
evident, app, name, reasons, host]; times are microseconds. What a person did is always right: `version` counts such acts
in the order in which Redis got them. Between scores, which the same acts went before:

- the higher level is right, while evidence still supports it;
- about a level that is no higher, the fresher evidence is.

stand.lua decides the same about what is stored.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import numpy as np

from ztcore.standing import STANDING
from ztmon.errors import DamagedError, VersionError

FORMAT = 1
NO_PIN = 255
NEVER = (1 << 63) - 1
PROLONGED_NS = 30 * 10**9
"""A level that fresh evidence prolonged by less is not told again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A partner's standing. record: of ztcore.standing.STANDING; version: how many acts of people went before it."""

    record: Any
    app: str
    version: int = 0
    host: str = ""

    @property
    def key(self) -> int:
        return int(self.record["key"])

    @property
    def level(self) -> int:
        return int(self.record["level"])

    @property
    def fresh(self) -> int:
        return int(self.record["fresh_at"])

    @property
    def decided(self) -> tuple[int, ...]:
        """What it says, times and score aside."""
        return tuple(int(self.record[name]) for name in ("level", "pin_level", "max_action", "flags"))

    @property
    def plain(self) -> bool:
        """Whether it says nothing at all."""
        return self.decided == (0, NO_PIN, 4, 0)

    def pack(self) -> bytes:
        """For Redis."""
        r = self.record
        whys = [[why[name].item() for name in ("signal", "lane", "nats", "k", "n", "p")] for why in r["why"][: int(r["whys"])]]
        until = int(r["pin_until"])
        return bytes(msgpack.packb([
            FORMAT, self.version, self.level, _us(self.fresh), _us(r["since"]), _us(r["below"]), int(r["pin_level"]),
            -1 if until >= NEVER - 10**9 else _us(until), int(r["max_action"]), int(r["flags"]), int(r["cause"]),
            float(r["score"]), int(r["evident"]), self.app, bytes(r["name"])[: int(r["name_length"])], whys, self.host,
        ], use_bin_type=False))


def digits(key: int, packed: bytes) -> bytes:
    """What goes in front, so that a changed byte shows."""
    return hashlib.sha1(f"{key:016x}".encode() + packed).hexdigest()[:8].encode()


def unpack(key: int, raw: bytes) -> Standing:
    """A standing from Redis. Raises VersionError, DamagedError."""
    if digits(key, raw[8:]) != raw[:8]:
        raise DamagedError("a standing in Redis is damaged")
    try:
        found = msgpack.unpackb(raw[8:], raw=True)
        version = found[0]
    except Exception as error:
        raise DamagedError("a standing in Redis is damaged") from error
    if version != FORMAT:
        raise VersionError(f"a standing in Redis has format {version!r}; this version of ztmon reads {FORMAT}")
    try:
        (_, acts, level, fresh, since, below, pin, until, most, flags, cause, score, evident, app, name, whys, host) = found
        r = np.zeros(1, STANDING)[0]
        r["key"], r["level"], r["fresh_at"], r["since"], r["below"] = key, level, fresh * 1000, since * 1000, below * 1000
        r["pin_level"], r["pin_until"], r["max_action"] = pin, NEVER if until < 0 else until * 1000, most
        r["flags"], r["cause"], r["score"], r["evident"] = flags, cause, score, evident
        r["name"], r["name_length"], r["whys"] = name[:64], min(64, len(name)), len(whys)
        for i, why in enumerate(whys[:2]):
            r["why"][i] = tuple(why)
        return Standing(r, app.decode(), int(acts), host.decode())
    except Exception as error:
        raise DamagedError("a standing in Redis is damaged") from error


def _us(ns: Any) -> int:
    return int(ns) // 1000


def prefers(theirs: Standing, mine: Standing, now: int, hold: int) -> bool:
    """Whether what another host says is right and `mine` is not. now: ns; hold: how long theirs lasts without fresh
    evidence, ns."""
    if theirs.version != mine.version:
        return theirs.version > mine.version
    if theirs.level > mine.level:
        return theirs.fresh + hold > now
    if theirs.level == mine.level:
        return theirs.fresh > mine.fresh
    return theirs.fresh >= mine.fresh // 1000 * 1000


def news(mine: Standing, known: Standing | None) -> bool:
    """Whether the others are to be told how a partner stands here. known: what they know."""
    if known is None:
        return not mine.plain
    return mine.decided != known.decided or (mine.level > 0 and mine.fresh > known.fresh + PROLONGED_NS)


def at_version(standing: Standing, version: int) -> Standing:
    """The same after so many acts of people."""
    return replace(standing, version=version)
