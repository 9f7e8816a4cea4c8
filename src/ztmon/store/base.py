"""What a store can do. The same tests run over every implementation."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ztmon.errors import StoreError
from ztmon.store.packing import Saved, pack_row

KINDS = ("level", "alert", "anomaly", "decision")
"""Of entries in the history: a change of level, a rise of which people are told, a score that crossed a threshold, something
people did."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to a partner. at: seconds; key: the partner's; data: what, ready for msgpack."""

    at: float
    key: int
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """A partner's score in a minute (since the epoch)."""

    minute: int
    key: int
    score: float
    level: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the audit log as it is kept: its number from 1, its bytes, and the hash that chains it."""

    number: int
    data: bytes
    hash: str


class Store(ABC):
    """Partners, history, scores, audit lines and the names behind their pseudonyms. Every method may take as long as
    the disk or the network does and raises StoreError; nothing on the request path calls one."""

    # -- partners ------------------------------------------------------------------------------

    @abstractmethod
    def save(self, partners: Sequence[tuple[int, bytes]]) -> None:
        """Write partners: key and what packing.pack_row() made."""

    @abstractmethod
    def partners(self) -> Iterator[Saved]:
        """All partners; what cannot be read is left out and counted in `unreadable`."""

    @abstractmethod
    def partner(self, key: int) -> Saved | None:
        """One partner."""

    unreadable: int = 0

    @abstractmethod
    def put(self, name: str, value: bytes) -> None:
        """A value that belongs to no partner."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """It again, None where there is none."""

    # -- history -------------------------------------------------------------------------------

    @abstractmethod
    def write(self, entries: Sequence[Entry]) -> None:
        """Add to the history."""

    @abstractmethod
    def history(self, key: int | None = None, since: float = 0.0, until: float = 1e12) -> list[Entry]:
        """What happened, in the order of time; of one partner or of all."""

    @abstractmethod
    def write_scores(self, scores: Sequence[Score]) -> None:
        """Add a minute's scores; the same minute written twice is one."""

    @abstractmethod
    def scores(self, key: int, since: float = 0.0, until: float = 1e12) -> list[Score]:
        """One partner's scores, in the order of time. A minute without one had score 0."""

    # -- audit ---------------------------------------------------------------------------------

    @abstractmethod
    def audit_add(self, data: bytes) -> Line:
        """Append a line; it is chained to the last one even where others append at the same time."""

    @abstractmethod
    def audit(self) -> Iterator[Line]:
        """All lines that are kept, in their order."""

    @abstractmethod
    def audit_ends(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """Number and hash of the last line before the first that is kept, and of the last one written."""

    @abstractmethod
    def audit_restore(self, before: tuple[int, str], lines: Iterable[Line], names: dict[str, tuple[str, str]]) -> int:
        """Take over another store's log as it is, after what stood before its first line; how many lines."""

    @abstractmethod
    def pseudonym(self, app: str, partner: str) -> str:
        """The random name that stands for a partner in the audit log; made at the first use."""

    @abstractmethod
    def names(self) -> dict[str, tuple[str, str]]:
        """Application and partner by pseudonym."""

    # -- end of life ---------------------------------------------------------------------------

    @abstractmethod
    def forget(self, key: int, app: str, partner: str) -> bool:
        """Erase a partner: row, history, scores, the name behind its pseudonym. False where nothing was."""

    @abstractmethod
    def expire(self, history_before: float, audit_before: float) -> None:
        """Erase what is older than these times (seconds)."""

    def lead(self) -> bool:
        """Become the process that writes the partners of a table; False where another is."""
        return True

    def may_expire(self) -> bool:
        """Whether it is this process that erases what is past its time."""
        return True

    def abandon(self) -> None:  # noqa: B027  most have nothing to let go of
        """In a forked child: let go of what is the parent's without ending it."""

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """Counts and sizes, ready for JSON."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left; may be called twice."""


def copy(source: Store, target: Store) -> dict[str, int]:
    """Everything of one store into another that has no audit log yet; how many of each."""
    counts = {"partners": 0, "history": 0, "scores": 0, "audit": 0}
    keys: list[int] = []
    for saved in source.partners():
        target.save([(saved.key, pack_row(saved.row, saved.app, saved.at))])
        keys.append(saved.key)
        counts["partners"] += 1
    entries = source.history()
    target.write(entries)
    counts["history"] = len(entries)
    for key in {*keys, *(entry.key for entry in entries)}:
        scores = source.scores(key)
        target.write_scores(scores)
        counts["scores"] += len(scores)
    counts["audit"] = copy_audit(source, target)
    return counts


def copy_audit(source: Store, target: Store) -> int:
    """The audit log and its names, line by line, so that the same hashes come out; nothing where the target has one."""
    (before, _), (last, _) = target.audit_ends()
    if last != 0 or before != 0:
        raise StoreError("the target has an audit log of its own; a log is not mixed with another: take an empty target")
    return target.audit_restore(source.audit_ends()[0], source.audit(), source.names())
