"""What ztmon raises. Everything is a ZtmonError; the message says what was wrong, where, and what to do."""


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
