"""How a value is written: msgpack with a version, a kind and a checksum around it.

    [format, kind, body, checksum]      body is msgpack of its own, checksum 8 bytes of BLAKE2b over kind and body

What another version wrote is refused by its number, or brought over by a function here; it is never read as if
it were this one's.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgpack
import numpy as np

from ztcore.layout import ROW
from ztcore.snapshot import LAYOUT
from ztmon.errors import DamagedError, VersionError

FORMAT = 1
"""Of the envelope and of every body in it."""

MIGRATIONS: dict[str, Callable[[bytes], bytes]] = {}
"""From a row's bytes in an older layout to those in LAYOUT."""

KEPT = ("key", "name", "name_length", "level", "pin_level", "pin_until", "max_action", "flags", "since", "fresh_at", "score")
"""What of a partner is written beside its row, so that any version can read it: who it is, and what people and the
score decided."""

LASTING = 1 | 2 | 4 | 8
"""The flags among them: allowed, name hashed, kept, absolute."""


def seal(kind: str, body: Any) -> bytes:
    """The envelope around a body."""
    inner = msgpack.packb(body)
    return bytes(msgpack.packb([FORMAT, kind, inner, _checksum(kind, inner)]))


def unseal(kind: str, raw: bytes) -> Any:
    """The body. Raises VersionError for another version's, DamagedError for what was not written like this."""
    try:
        version, found, inner, checksum = msgpack.unpackb(raw)
    except Exception as error:
        raise DamagedError(f"a stored {kind} is damaged: it is no envelope") from error
    if version != FORMAT:
        raise VersionError(f"a stored {kind} has format {version!r}; this version of ztmon reads {FORMAT}: "
                           "let the newer version run, or export with it and import here")
    if found != kind or checksum != _checksum(kind, inner):
        raise DamagedError(f"a stored {kind} is damaged: its checksum does not hold")
    return msgpack.unpackb(inner, strict_map_key=False)


def _checksum(kind: str, inner: bytes) -> bytes:
    return blake2b(inner, digest_size=8, person=kind.encode()[:16]).digest()


@dataclass(frozen=True)
class Saved:
    """A partner as it was at a time (seconds). row: a record of ztcore.layout.ROW; learned: False where only what
    people and the score decided could be read, for the row is of another layout."""

    key: int
    app: str
    at: float
    row: Any
    learned: bool = True

    @property
    def name(self) -> str:
        """The partner's name, empty where it is not known as text."""
        return bytes(self.row["name"])[: int(self.row["name_length"])].decode("utf-8", "replace")


def pack_row(row: Any, app: str, at: float) -> bytes:
    """A partner's row for a store; about half its size."""
    kept = {name: row[name].item() for name in KEPT}
    kept["name"] = bytes(row["name"])
    return seal("row", {"layout": LAYOUT, "app": app, "at": at, "kept": kept, "row": zlib.compress(row.tobytes(), 1)})


def unpack_row(raw: bytes) -> Saved:
    """The partner again. Raises VersionError, DamagedError."""
    body = unseal("row", raw)
    kept = body["kept"]
    layout, data = body["layout"], zlib.decompress(body["row"])
    if layout in MIGRATIONS:
        data, layout = MIGRATIONS[layout](data), LAYOUT
    if layout == LAYOUT and len(data) == ROW.itemsize:
        return Saved(kept["key"], body["app"], body["at"], np.frombuffer(bytearray(data), ROW)[0])
    return Saved(kept["key"], body["app"], body["at"], _decided(kept), False)


def _decided(kept: Mapping[str, Any]) -> Any:
    """A row of which only who it is and what was decided is known; the rest is learned anew."""
    row = np.zeros(1, ROW)[0]
    for name in KEPT:
        row[name] = kept[name]
    row["flags"] = kept["flags"] & LASTING
    return row
