"""The audit log: who did what to whom, when, why, and what it was before and after.

Lines are appended and chained by their hashes (ztmon.store.chain); partners stand in them as pseudonyms.
"""

import getpass
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ztmon.errors import DamagedError, InputError, VersionError
from ztmon.store.base import Line, Store
from ztmon.store.chain import START, chained, line_data

ENGINE = "ztmon"
"""Who a change of level is by where nobody asked for it."""


@cache
def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


@dataclass(frozen=True, slots=True)
class Act:
    """Something to be written down. at: seconds; what: level, pin, restore, settings ..; who: empty: who runs the
    process; partner: None where it is about nobody; before, after: ready for JSON."""

    at: float
    what: str
    who: str = ""
    app: str = ""
    partner: str | None = None
    why: str = ""
    before: Any = None
    after: Any = None


def write(store: Store, act: Act) -> Line:
    """Append it. Where the reason names the partner its pseudonym stands there too."""
    fields: dict[str, Any] = {"at": round(act.at, 3), "who": act.who or user(), "what": act.what, "why": act.why,
                              "before": act.before, "after": act.after}
    if act.partner is not None:
        pseudonym = store.pseudonym(act.app, act.partner)
        fields |= {"app": act.app, "partner": pseudonym, "why": act.why.replace(act.partner, pseudonym)}
    return store.audit_add(line_data(fields))


def forget(store: Store, key: int, act: Act) -> bool:
    """Erase a partner from a store, and write down that somebody was. False where nothing was known."""
    assert act.partner is not None
    try:
        known = store.partner(key) is not None
    except (DamagedError, VersionError):
        known = True
    if known or (act.app, act.partner) in store.names().values() or store.history(key):
        write(store, act)
    return store.forget(key, act.app, act.partner)


# -- reading --------------------------------------------------------------------------------------


def export(store: Store, named: bool = True) -> Iterator[dict[str, Any]]:
    """All lines as maps: `number`, `line` (its fields), `hash`, and `name` of the partner where it is still known."""
    names = store.names() if named else {}
    (number, before), _ = store.audit_ends()
    if number:
        yield {"number": number, "line": None, "hash": before}
    for line in store.audit():
        fields = json.loads(line.data)
        found = {"number": line.number, "line": fields, "hash": line.hash}
        if fields.get("partner") in names:
            found["name"] = names[fields["partner"]][1]
        yield found


@dataclass(frozen=True, slots=True)
class Verdict:
    """lines: how many were looked at; problems: what is wrong, a sentence each; head: hash of the last line."""

    lines: int
    problems: tuple[str, ...]
    head: str


def verify(store: Store, head: str = "") -> Verdict:
    """Whether every line is as it was written and none is missing. head: a hash that was noted elsewhere; it must be
    among the lines' hashes."""
    before, last = store.audit_ends()
    return _check(store.audit(), before, last, head)


def verify_file(path: str, head: str = "") -> Verdict:
    """The same for what export printed, a JSON line each; the last says where it ends. Raises InputError."""
    before, lines, end = (0, START), [], None
    try:
        with open(path, encoding="utf-8") as file:
            for text in file:
                found = json.loads(text)
                if "end" in found:
                    end = int(found["end"])
                elif found["line"] is None:
                    before = found["number"], found["hash"]
                else:
                    lines.append(Line(found["number"], line_data(found["line"]), found["hash"]))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is no export of an audit log") from None
    verdict = _check(lines, before, None, head)
    number = lines[-1].number if lines else before[0]
    if end is None or end != number:
        verdict = replace(verdict, problems=(*verdict.problems, f"the file is cut short after line {number}"))
    return verdict


def _check(lines: Iterable[Line], before: tuple[int, str], last: tuple[int, str] | None, head: str) -> Verdict:
    problems: list[str] = []
    number, expected = before
    heads = {expected}
    n = 0
    for line in lines:
        n += 1
        if line.number != number + 1:
            problems.append(f"lines {number + 1} to {line.number - 1} are missing" if line.number > number + 1
                            else f"line {line.number} comes twice or out of order")
        elif chained(number, expected, line.data).hash != line.hash:
            problems.append(f"line {line.number} or its hash was changed")
        number, expected = line.number, line.hash
        heads.add(line.hash)
    if last is not None and last != (number, expected):
        problems.append(f"the log ends with line {number}; the last one written was {last[0]}" if last[0] != number
                        else f"line {number} is not the last one that was written")
    if head and head not in heads:
        problems.append(f"no line has the hash {head}, which was noted as one of its")
    return Verdict(n, tuple(problems), expected)


def text(found: dict[str, Any]) -> str:
    """A line of an export for a person."""
    fields = found["line"]
    if fields is None:
        return f"{found['number']} earlier lines are past their time"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(fields["at"]))
    who = found.get("name") or fields.get("partner")
    about = f" {fields['app']}/{who}" if who and fields["app"] != "default" else f" {who}" if who else ""
    change = f": {_shown(fields['before'])} -> {_shown(fields['after'])}" if fields["before"] != fields["after"] else ""
    why = f" ({fields['why']})" if fields["why"] else ""
    return f"{found['number']:>6} {when} {fields['who']} {fields['what']}{about}{change}{why}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
