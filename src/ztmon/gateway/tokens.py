"""Tokens: who may ask the gateway for what. They are kept in the store, hashed; the text is shown once, when one is made.

A token is zt_ and 32 letters that hold 192 bits of chance, so that one round of SHA-256 is as good as many; hashes are
compared in constant time.
"""

import hashlib
import hmac
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ztmon.errors import InputError, StoreError
from ztmon.gateway.access import ROLES, Principal
from ztmon.store.packing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ztmon.store.base import Store

KEPT = "tokens"
"""Its name in the store."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

TRIES = 20


@dataclass(frozen=True, slots=True)
class Token:
    """One of them. made: s since the epoch; apps: None: all; ends: s since the epoch, None: never."""

    name: str
    digest: bytes
    roles: tuple[str, ...]
    apps: tuple[str, ...] | None
    made: float
    ends: float | None = None

    def principal(self) -> Principal:
        """Who asks by it."""
        return Principal(self.name, frozenset(self.roles), None if self.apps is None else frozenset(self.apps),
                         self.ends is not None)


def read_tokens(store: "Store") -> dict[str, Token]:
    """All tokens of a store, by name. Raises StoreError."""
    raw = store.get(KEPT)
    if raw is None:
        return {}
    return {name: Token(name, digest, tuple(roles), None if apps is None else tuple(apps), made, ends)
            for name, (digest, roles, apps, made, ends) in unseal(KEPT, raw).items()}


def _change(store: "Store", change: "Callable[[dict[str, Any]], None]") -> None:
    """Read, change and write; again where somebody else wrote meanwhile."""
    for _ in range(TRIES):
        raw = store.get(KEPT)
        found = {} if raw is None else unseal(KEPT, raw)
        change(found)
        new = seal(KEPT, found)
        store.put(KEPT, new)
        if store.get(KEPT) == new:
            return
    raise StoreError("tokens are being changed by somebody else all the time; try again")


def add_token(store: "Store", name: str, roles: tuple[str, ...], apps: tuple[str, ...] | None = None,
              days: float | None = None) -> str:
    """Make one and return its text. Raises InputError for a name that is taken, and for what is not allowed."""
    if not NAME.fullmatch(name):
        raise InputError(f"the name is {name!r}; allowed are up to 64 letters, digits, points, dashes and underscores")
    wrong = [role for role in roles if role not in ROLES]
    if wrong or not roles:
        raise InputError(f"the role is {', '.join(wrong) or 'missing'}; allowed are {', '.join(ROLES)}")
    if days is not None and not 0 < days < 36_600:
        raise InputError(f"days is {days:g}; allowed is a number above 0 and below 36,600")
    text = f"zt_{secrets.token_urlsafe(24)}"
    made = time.time()
    ends = None if days is None else made + days * 86400.0
    line = [_digest(text.encode()), list(roles), None if apps is None else list(apps), made, ends]

    def change(found: dict[str, Any]) -> None:
        if name in found and found[name][0] != line[0]:
            raise InputError(f"there is a token {name} already; revoke it first")
        found[name] = line

    _change(store, change)
    return text


def revoke_token(store: "Store", name: str) -> bool:
    """End one; False where there is none of that name."""
    known = name in read_tokens(store)
    _change(store, lambda found: found.pop(name, None) and None)
    return known


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


class Tokens:
    """The tokens as a running gateway has them: read from the store now and then, looked up by each request."""

    def __init__(self, store: "Callable[[], dict[str, Token]]") -> None:
        self._read = store
        self._lock = threading.Lock()
        self._by_digest: dict[bytes, tuple[Token, Principal]] = {}
        self.failed = 0
        self.refresh()

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._by_digest)

    def refresh(self) -> None:
        """Read them again. Where the store cannot be read those known so far stay. Raises StoreError at the first time."""
        with self._lock:
            found = self._read()
            self._by_digest = {token.digest: (token, token.principal()) for token in found.values()}

    def find(self, header: bytes) -> Principal | None:
        """Whose Authorization header it is; None for no token of ours, and for one that has ended."""
        scheme, _, text = header.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        digest = hashlib.sha256(text.strip()).digest()
        # Where a digest lies in a table depends on itself alone, and nobody can choose one close to another: what the
        # look-up's time tells is no part of any token.
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found[0].digest, digest):
            return None
        ends = found[0].ends
        return found[1] if ends is None or time.time() < ends else None
