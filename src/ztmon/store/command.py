"""What `ztmon store` and `ztmon audit` do; their options are in ztmon.commands_store."""

import json
import sys
from collections import deque
from typing import Any

import msgpack

from ztmon import audit
from ztmon.errors import DamagedError, InputError
from ztmon.store.base import Entry, Line, Score, Store, copy
from ztmon.store.desk import open_store
from ztmon.store.packing import pack_row, seal, unpack_row, unseal


def inspect(store: Store, as_json: bool) -> None:
    """Print what is in a store."""
    info = store.info()
    print(json.dumps(info, indent=2) if as_json else "\n".join(f"{name:<16} {_shown(value)}" for name, value in info.items()))


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def export(store: Store, path: str) -> dict[str, int]:
    """All of a store into a file: sealed values, one after the other. How many of each."""
    counts = {"partners": 0, "history": 0, "scores": 0, "audit": 0}
    before, last = store.audit_ends()
    try:
        with open(path, "xb") as file:

            def put(kind: str, body: Any) -> None:
                file.write(msgpack.packb(seal(kind, body)))
                if kind in counts:
                    counts[kind] += 1

            put("begin", {"audit_before": before, "names": [[p, *who] for p, who in store.names().items()]})
            keys = set()
            for saved in store.partners():
                keys.add(saved.key)
                put("partners", [saved.key, pack_row(saved.row, saved.app, saved.at)])
            for entry in store.history():
                keys.add(entry.key)
                put("history", [entry.at, entry.key, entry.kind, entry.data])
            for key in sorted(keys):
                for s in store.scores(key):
                    put("scores", [s.minute, s.key, s.score, s.level])
            for line in store.audit():
                put("audit", [line.number, line.data, line.hash])
            put("end", {**counts, "audit_last": last})
    except FileExistsError:
        raise InputError(f"{path}: is there already; nothing was written") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    return counts


def take_in(store: Store, path: str) -> dict[str, int]:
    """An export into a store that has nothing yet. Raises InputError, DamagedError, VersionError."""
    info = store.info()
    if info["partners"] or info["history"] or info["audit"]:
        raise InputError("the store has something in it already; an export is read into an empty one")
    begin: dict[str, Any] = {}
    end: dict[str, Any] | None = None
    lines: list[Line] = []
    counts = {"partners": 0, "history": 0, "scores": 0, "audit": 0}
    try:
        with open(path, "rb") as file:
            for raw in msgpack.Unpacker(file):
                kind = msgpack.unpackb(raw)[1]
                body = unseal(kind, raw)
                if kind == "begin":
                    begin = body
                elif kind == "partners":
                    unpack_row(body[1])
                    store.save([(body[0], body[1])])
                elif kind == "history":
                    store.write([Entry(*body)])
                elif kind == "scores":
                    store.write_scores([Score(*body)])
                elif kind == "audit":
                    lines.append(Line(*body))
                elif kind == "end":
                    end = body
                if kind in counts:
                    counts[kind] += 1
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, TypeError, KeyError, IndexError):
        raise DamagedError(f"{path}: is no export of a store, or is damaged") from None
    if end is None or {name: end[name] for name in counts} != counts:
        raise DamagedError(f"{path}: is cut short; what was in it is in the store, which is not whole")
    number, hashed = begin["audit_before"]
    store.audit_restore((number, hashed), lines, {p: (app, partner) for p, app, partner in begin["names"]})
    return counts


def migrate(source: Store, target: str) -> dict[str, int]:
    """All of a store into another: a path, or a URL of Redis."""
    from ztmon.store.sqlite import SQLiteStore

    other = open_store(None, target) if "://" in target else SQLiteStore(target)
    try:
        mark = source.get("hash_key")
        if mark is not None:
            other.put("hash_key", mark)
        return copy(source, other)
    finally:
        other.close()


def say(counts: dict[str, int], done: str) -> None:
    """How many of each."""
    print(f"{done}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))


# -- the audit log -------------------------------------------------------------------------------


def show_audit(store: Store, last: int, named: bool, as_json: bool) -> None:
    """Print the newest lines."""
    for found in deque(audit.export(store, named), maxlen=last):
        print(json.dumps(found) if as_json else audit.text(found))


def export_audit(store: Store, named: bool) -> None:
    """Print all lines, a JSON object each, and the end."""
    _, (number, _) = store.audit_ends()
    for found in audit.export(store, named):
        number = max(number, found["number"])
        print(json.dumps(found, ensure_ascii=False))
    print(json.dumps({"end": number}))


def verify_audit(verdict: audit.Verdict, as_json: bool) -> int:
    """Print what verifying came to; the exit code."""
    if as_json:
        print(json.dumps({"lines": verdict.lines, "problems": list(verdict.problems), "head": verdict.head}))
    elif verdict.problems:
        for problem in verdict.problems:
            print(f"ztmon audit: {problem}", file=sys.stderr)
    else:
        print(f"{verdict.lines:,} lines, all as they were written, none missing; head {verdict.head}")
    return 1 if verdict.problems else 0
