"""What ztmon raises. Everything is a ZtmonError; the message says what was wrong, where, and what to do."""

from collections.abc import Sequence


class ZtmonError(Exception):
    """Base of all errors that ztmon raises on purpose."""


class ConfigError(ZtmonError, ValueError):
    """A setting has a value that is not allowed; nothing was started."""


class InputError(ZtmonError):
    """A file or a stream cannot be read."""


class StoreError(ZtmonError):
    """What is to be remembered cannot be written or read."""


class DamagedError(StoreError):
    """A stored value is not what was written."""


class VersionError(StoreError):
    """A stored value was written by another version, and this one does not know how to read it."""


def nearest(name: str, known: Sequence[str]) -> str:
    """What to say of a name that there is not: the one that was perhaps meant, else all that there are."""
    from difflib import get_close_matches
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
