"""The file that all workers of a host map: who makes it, who attaches, what is refused.

    PATH         the table, mode 0600; on a tmpfs it is memory, on a disk it outlives a restart
    PATH.lock    byte 0: locked by who is just attaching; byte 1 + slot: by the process of that slot. Empty until the
                 first did attach

A file that cannot be used any more (damaged, cut short, of another layout, left unfinished when the
machine went down) is set aside as PATH.damaged while nobody is attached to it, and a new one is made.
One that differs in what fixes its rows' meaning (capacity, hash key, own signals) is refused, and so is one that
never was a state: without a header, and without PATH.lock beside it.
"""

import errno
import fcntl
import logging
import mmap
import os
import stat
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

log = logging.getLogger("ztmon")

HEAD = struct.Struct("<8sIIQQQQ16s16sQQ16s")
"""magic, version, row size, file size, rows, buckets, capacity, hash key, boot id, clean, checksum, own signals."""
MAGIC = b"ztmon\0\0\1"
BOOT, CLEAN = HEAD.size - 48, HEAD.size - 32
"""Where the boot id and `clean` stand; the checksum follows."""
SLOTS = 64
PATIENCE = 10.0
"""Seconds that somebody else may take to attach."""
ANY_KEY = bytes(16)


class StateError(Exception):
    """The state file cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What the file must be. size: bytes; hash_key: None: whatever it has."""

    version: int
    row_size: int
    size: int
    capacity: int
    hash_key: bytes | None
    signals: bytes = bytes(16)


@dataclass
class Attached:
    """A mapped state. lock: the descriptor whose lock says that this process is there. places: inodes of both."""

    block: mmap.mmap
    lock: int
    slot: int
    created: bool
    places: tuple[int, int]


def boot_id() -> bytes:
    """16 bytes that are others after the machine was restarted; zeros where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def attach(path: str, wanted: Wanted, make: Callable[[mmap.mmap], None]) -> Attached:
    """Map the file, or a new one that make() has written the header of, and take a slot. Raises StateError."""
    if not hasattr(fcntl, "F_OFD_SETLK"):
        raise StateError("a state file needs Linux; leave state unset")
    lock = _open_lock(path)
    try:
        _wait(lock, path)
        known = os.fstat(lock).st_size > 0      # it was there before, and somebody did attach by it
        block, created = _open_or_create(path, wanted, make, lock if known else None)
        os.truncate(lock, 1)
        block[BOOT : CLEAN + 8] = boot_id() + bytes(8)       # before the next one looks
        places = os.stat(path).st_ino, os.fstat(lock).st_ino
        return Attached(block, lock, _take_slot(lock, path), created, places)
    except BaseException:
        os.close(lock)
        raise
    finally:
        _release(lock)


def attach_again(path: str, inode: int) -> tuple[int, int]:
    """A forked child's own lock and slot in a file it has mapped already. inode: its parent's lock file, which another
    one would know nothing of. Raises StateError."""
    try:
        lock = os.open(path + ".lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise StateError(f"{path}.lock cannot be opened: {_why(error)}") from None
    try:
        if os.fstat(lock).st_ino != inode:
            raise StateError(f"{path}.lock was removed while processes were attached; end them first")
        return lock, _take_slot(lock, path)
    except BaseException:
        os.close(lock)
        raise


def leave(path: str, block: mmap.mmap, lock: int, slot: int) -> None:
    """Mark the file as whole where nobody else is attached or is just attaching."""
    if not _try(lock, 0):
        return
    if not others(lock, slot):
        checksum, clean = struct.pack("<Q", checksum_of(block)), struct.pack("<Q", 1)
        block[CLEAN + 8 : CLEAN + 16] = checksum
        block[CLEAN : CLEAN + 8] = clean
        block.flush()
    _release(lock)


def others(lock: int, slot: int) -> bool:
    """Whether somebody else is attached."""
    return any(i != slot and not _free(lock, 1 + i) for i in range(SLOTS))


def held(path: str) -> set[int] | None:
    """The slots of the processes that are there; None where the lock file cannot be read."""
    try:
        lock = os.open(path + ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return {slot for slot in range(SLOTS) if not _free(lock, 1 + slot)}
    finally:
        os.close(lock)


def _open_lock(path: str) -> int:
    try:
        return os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(f"{path}.lock cannot be opened: {_why(error)}") from None


def _lock(fd: int, command: int, kind: int, byte: int) -> int:
    """The kind of lock that stands in the way, F_UNLCK where it was done."""
    found = fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
    return int(struct.unpack("hhqqi4x", found)[0])


def _try(fd: int, byte: int) -> bool:
    try:
        _lock(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, byte)
        return True
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise


def _free(fd: int, byte: int) -> bool:
    return _lock(fd, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, byte) == fcntl.F_UNLCK


def _wait(fd: int, path: str) -> None:
    end = time.monotonic() + PATIENCE
    while not _try(fd, 0):
        if time.monotonic() > end:
            raise StateError(f"{path}: another process has been attaching for {PATIENCE:g} s; is it stopped?")
        time.sleep(0.005)


def _release(fd: int) -> None:
    with suppress(OSError):     # closed: the lock is gone with it
        _lock(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0)


def _take_slot(lock: int, path: str) -> int:
    for slot in range(SLOTS):
        if _try(lock, 1 + slot):
            return slot
    raise StateError(f"{path}: {SLOTS} processes are attached already; give some of them another state file")


def _open_or_create(path: str, wanted: Wanted, make: Callable[[mmap.mmap], None],
                    lock: int | None) -> tuple[mmap.mmap, bool]:
    """lock: None where nobody ever attached by it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if lock is not None and others(lock, -1):
            log.warning("%s was removed while processes are attached to it; they and those that come now have two", path)
        return _create(path, wanted, make), True
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {_why(error)}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StateError(f"{path} is no ordinary file; name another one")
        if lock is None:
            _refuse_stranger(fd, path)
        damage = _damage(fd, path, wanted)
        if not damage:
            return mmap.mmap(fd, wanted.size), False
    finally:
        os.close(fd)
    if lock is not None and others(lock, -1):
        raise StateError(f"{path} {damage}, and other processes are attached to it; end them first")
    os.replace(path, path + ".damaged")
    log.warning("%s %s; it was set aside as %s.damaged and a new one begun", path, damage, path)
    return _create(path, wanted, make), True


def _refuse_stranger(fd: int, path: str) -> None:
    """Of a file without a lock file beside it: raises StateError where it was never a state, or where somebody who was
    listed in it is still there."""
    from ztcore.inspect import attached
    head = os.pread(fd, 1 << 20, 0)
    if head and not head.startswith(MAGIC):
        raise StateError(f"{path} is no state of ztmon's; remove it, or name another file")
    there = [pid for pid in attached(head) if os.path.exists(f"/proc/{pid}")]
    if there:
        raise StateError(f"{path}.lock was removed while process {there[0]} was attached; end it, or remove {path} too")


def _damage(fd: int, path: str, wanted: Wanted) -> str:
    """Why the file cannot be used any more, "" where it can. Raises StateError where it is another configuration's."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, HEAD.size, 0)
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        return "is no state of ztmon's, or its header is damaged"
    _, version, row_size, whole, _, _, capacity, key, boot, clean, checksum, signals = HEAD.unpack(head)
    if (version, row_size) != (wanted.version, wanted.row_size):
        return f"has layout {version}, this version has {wanted.version}"
    if size < whole:
        return f"is cut short: {size:,} of {whole:,} bytes"
    if capacity != wanted.capacity:
        raise StateError(f"{path} has capacity {capacity:,}, the configuration says {wanted.capacity:,}; set capacity to "
                         f"{capacity}, or name another file")
    if wanted.hash_key is not None and wanted.hash_key != key:
        raise StateError(f"{path} was made with another hash_key; set that one or none, or name another file")
    if signals != wanted.signals:
        raise StateError(f"{path} was made with other signals of your own; give every process the same ones, or name "
                         "another file")
    if whole != wanted.size:
        return f"is of {whole:,} bytes where {wanted.size:,} belong"
    if boot != boot_id() and not (clean and _checksum(fd, whole) == checksum):
        return "was left unfinished when the machine went down"
    return ""


def _checksum(fd: int, size: int) -> int:
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as block:
        return checksum_of(block)


def checksum_of(block: mmap.mmap) -> int:
    """Of all but the header's first page."""
    import zlib
    with memoryview(block) as view, view[mmap.PAGESIZE :] as rest:
        return zlib.crc32(rest)


def _create(path: str, wanted: Wanted, make: Callable[[mmap.mmap], None]) -> mmap.mmap:
    """A new file with all its space reserved, so that a full disk is told now and is no signal later."""
    new = path + ".new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(new)      # of somebody who was killed at it
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.posix_fallocate(fd, 0, wanted.size)
            block = mmap.mmap(fd, wanted.size)
        finally:
            os.close(fd)
        make(block)
        os.replace(new, path)
    except OSError as error:
        if os.path.exists(new):
            os.unlink(new)
        raise StateError(f"{path} cannot be made ({wanted.size:,} bytes): {_why(error)}") from None
    return block


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
