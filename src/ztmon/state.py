"""`ztmon state`: what is in a state file, and whether it is sound. It only looks; nobody is disturbed."""

import json
import mmap
import os
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore import statefile
from ztcore.inspect import VERSION, describe, waiting
from ztcore.layout import ROW
from ztmon.errors import InputError

LEVELS = 5
NAME_MOST = 64
TRIES = 3
"""How often a row is looked at anew that somebody may just have been changing."""


def show(path: str, verify: bool = False, as_json: bool = False) -> int:
    """Print it; the exit code: 0, 1 where rows are broken, 2 where the file cannot be read."""
    try:
        found = read(path, verify)
    except InputError as error:
        print(f"ztmon state: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))
    return 1 if found.get("broken") else 0


def read(path: str, verify: bool = False) -> dict[str, Any]:
    """Everything there is to say of a state. Raises InputError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        head = os.pread(fd, statefile.HEAD.size, 0)
        size = os.fstat(fd).st_size
        if len(head) < statefile.HEAD.size or not head.startswith(statefile.MAGIC):
            raise InputError(f"{path}: is no state of ztmon's, or its header is damaged")
        _, version, row_size, whole, *_ = statefile.HEAD.unpack(head)
        if (version, row_size) != (VERSION, ROW.itemsize):
            raise InputError(f"{path}: has layout {version}; this version of ztmon reads {VERSION}")
        if size < whole:
            raise InputError(f"{path}: is cut short: {size:,} of {whole:,} bytes")
        with mmap.mmap(fd, whole, access=mmap.ACCESS_READ) as block:
            found = describe(block)
            places = found.pop("keys_at"), found.pop("rows_at")
            found["path"] = path
            found["occupied"] = int(np.count_nonzero(np.frombuffer(block, "u8", found["rows"], places[0])))
            found["restarted_since"] = found.pop("boot") != statefile.boot_id()
            found["waiting"] = waiting(block)
            held = statefile.held(path)
            for worker in found["workers"]:
                worker["alive"] = held is not None and worker["slot"] in held
            if verify:
                found |= _verify(block, found["rows"], *places)
    finally:
        os.close(fd)
    return found


def _verify(block: mmap.mmap, n: int, keys_at: int, rows_at: int) -> dict[str, Any]:
    """Look at every row. A copy is judged; broken is what looks wrong each time."""
    broken: dict[int, str] = {}
    for i in range(TRIES):
        keys = np.frombuffer(block, "u8", n, keys_at).copy()
        found = _wrong(keys, np.frombuffer(block, ROW, n, rows_at).copy())
        broken = {row: why for row, why in found.items() if i == 0 or row in broken}
        if not broken:
            break
        time.sleep(0.02)
    return {"checked": n, "broken": [{"row": i, "why": why} for i, why in broken.items()]}


def _wrong(keys: npt.NDArray[np.uint64], rows: npt.NDArray[Any]) -> dict[int, str]:
    """Which of the rows are broken, and why."""
    found: dict[int, str] = {}

    def mark(bad: Any, why: str) -> None:
        for i in np.flatnonzero(bad):
            found.setdefault(int(i), why)

    mark(keys != rows["key"], "its key is not the one in the table")
    mark(rows["level"] >= LEVELS, "its level does not exist")
    mark(rows["name_length"] > NAME_MOST, "its name is too long")
    mark(~_finite(rows), "a number in it is not finite")
    mark((rows["score"] < 0) | (rows["score"] > 100), "its score is out of range")
    used = rows["key"] != 0
    mark(~used & (rows["events"] > 0), "it has events and no partner")
    twice = np.zeros(len(rows), bool)
    _, first, counts = np.unique(rows["key"], return_index=True, return_counts=True)
    twice[first[counts > 1]] = True
    mark(twice & used, "its partner has two rows")
    return found


def _finite(values: npt.NDArray[Any]) -> Any:
    """For each record whether all its floating-point numbers are finite."""
    fine = np.ones(len(values), bool)
    for name in values.dtype.names or ():
        column = values[name]
        if column.dtype.names:
            inner = _finite(column.reshape(len(values), -1).ravel()).reshape(len(values), -1)
            fine &= inner.all(axis=1)
        elif column.dtype.kind == "f":
            fine &= np.isfinite(column).reshape(len(values), -1).all(axis=1)
    return fine


def lines(found: dict[str, Any]) -> list[str]:
    """For a person."""
    counters = found["counters"]
    state = "closed by the last process" if found["clean"] else "in use, or its last process was killed"
    if found["restarted_since"]:
        state += "; the machine was restarted since"
    out = [
        f"{found['path']}: {found['size']:,} bytes, layout {found['version']}; {state}",
        f"  partners   {found['occupied']:,} of {found['capacity']:,} ({100 * found['occupied'] / found['capacity']:.1f} %)",
        f"  takeovers  {counters['takeovers']:,} rows of processes that ended while at work on them",
        f"  dropped    {counters['dropped']:,} events for which there was no room to wait",
        f"  lost       {counters['lost']:,} events that processes had begun to post when they ended",
        f"  waiting    {found['waiting']:,} events posted to a row's owner and not yet taken in",
        f"  workers    {len(found['workers'])} of {found['slots']}",
    ]
    for worker in found["workers"]:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(worker["attached"] / 1e9))
        gone = "" if worker["alive"] else ", no longer there"
        out.append(f"    slot {worker['slot']:<3} pid {worker['pid']:<8} since {since} UTC, {worker['posted']:,} events "
                   f"posted to others{gone}")
    if "checked" in found:
        out.append(f"  verified   {found['checked']:,} rows: " + ("all sound" if not found["broken"] else
                                                                f"{len(found['broken'])} broken"))
        out += [f"    row {entry['row']}: {entry['why']}" for entry in found["broken"][:20]]
    return out
