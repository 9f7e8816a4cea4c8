"""The chain of the audit log: each line's hash covers the one before it.

    hash = SHA-256(hash before, as hexadecimal digits | number | data)

A line is JSON with sorted keys and no spaces, so that an export has the same bytes. Partners stand in it as random
pseudonyms; the names behind them are kept apart and can be erased without touching a line.
"""

import hashlib
import json
import secrets
from typing import Any

from ztmon.store.base import Line

START = "0" * 64
"""What stands before the first line."""


def chained(number: int, before: str, data: bytes) -> Line:
    """The line after one of that number and hash."""
    number += 1
    return Line(number, data, hashlib.sha256(f"{before}{number}".encode() + data).hexdigest())


def line_data(fields: dict[str, Any]) -> bytes:
    """A line's bytes."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def line_time(data: bytes) -> float:
    """When it was written, seconds; 0 where it does not say so."""
    try:
        return float(json.loads(data)["at"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def new_pseudonym() -> str:
    """64 random bits: it says nothing of the name."""
    return f"partner-{secrets.token_hex(8)}"
