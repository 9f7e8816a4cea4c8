"""Where the lines come from: files, gzip files, standard input; a chunk at a time."""

import io
import os
import stat
import sys
from typing import Any

from ztmon.errors import InputError

CHUNK = 512 * 1024
"""Bytes that are looked at together: fewer lines than the engine's journal has room for changes."""

HEAD = 64 * 1024
"""Bytes that tell what a source is."""

GZIP = b"\x1f\x8b"

MARK = b"\xef\xbb\xbf"
"""A byte order mark, which some programs put before UTF-8."""


class Counted(io.RawIOBase):
    """A raw stream that knows how many bytes were read from it."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self.raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int | None:
        n = self.raw.readinto(into)
        self.count += n or 0
        return n

    def close(self) -> None:
        self.raw.close()
        super().close()


class Source:
    """One file, "-" for standard input. Opened when it is made, and again by reopen() after close().

    Raises InputError where it cannot be opened. What goes wrong later ends the source and is told
    in `cut`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "standard input" if path == "-" else path
        self.size = 0
        """Bytes of the file, compressed if it is; 0: not known."""
        self.cut = ""
        """Why reading ended before the end, in words."""
        self.open()

    def open(self) -> None:
        self.raw = Counted(self._file())
        stream: Any = io.BufferedReader(self.raw, CHUNK)
        self.buffer = bytearray(CHUNK)
        self.start = self.stop = 0
        self.ended = self.fresh = self.begun = False
        try:
            self.gzip = stream.peek(2)[:2] == GZIP
            if self.gzip:
                import gzip

                stream = gzip.GzipFile(fileobj=stream)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {_why(error)}") from None
        self.stream = stream

    def _file(self) -> io.RawIOBase:
        try:
            if self.path == "-":
                return open(os.dup(sys.stdin.fileno()), "rb", buffering=0)
            file = open(self.path, "rb", buffering=0)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.name}: cannot be read: {_why(error)}") from None
        kind = os.fstat(file.fileno())
        self.size = kind.st_size if stat.S_ISREG(kind.st_mode) else 0
        return file

    @property
    def done(self) -> int:
        """Bytes read of `size`."""
        return self.raw.count

    def head(self) -> bytes:
        """The first bytes, to look at; the next fill() leaves them in place."""
        self.fill()
        self.fresh = True
        return bytes(self.buffer[self.start : min(self.stop, HEAD)])

    def view(self) -> memoryview:
        """The bytes at hand that are not taken yet; fill() gets more. Release it before fill()."""
        return memoryview(self.buffer)[self.start : self.stop]

    def take(self, n: int) -> None:
        """The first n bytes of view() are done with."""
        self.start += n

    def fill(self) -> None:
        """Read on until the buffer is full or the source has `ended`; a buffer that no line fits in grows."""
        if self.fresh:
            self.fresh = False
            return
        rest = self.stop - self.start
        self.buffer[:rest] = self.buffer[self.start : self.stop]
        self.start, self.stop = 0, rest
        if rest == len(self.buffer):
            self.buffer.extend(bytes(CHUNK))
        with memoryview(self.buffer) as room:
            while self.stop < len(room) and not self.ended:
                n = self._read(room[self.stop :])
                self.stop += n
                self.ended = n == 0
        if not self.begun:
            self.begun = True
            if self.buffer.startswith(MARK):
                self.start = len(MARK)

    def _read(self, room: memoryview) -> int:
        """Some bytes, 0 at the end, be it a bad one."""
        try:
            return self.stream.readinto(room) or 0
        except EOFError:
            self.cut = "the compressed data ends in the middle"
        except Exception as error:
            if type(error).__module__ == "zlib" or type(error).__name__ == "BadGzipFile":
                self.cut = "the compressed data is damaged"
            elif isinstance(error, OSError):
                self.cut = f"reading failed: {_why(error)}"
            else:
                raise
        return 0

    def close(self) -> None:
        """Let go of the file."""
        if self.path == "-":
            return
        self.stream.close()
        self.raw.close()
        self.buffer = bytearray()

    def reopen(self) -> None:
        """Start again from the beginning where it was closed; standard input never is."""
        if self.raw.closed:
            self.open()


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
