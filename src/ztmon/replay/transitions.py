"""The file of transitions: one JSON line for each change of a level, in the order of time."""

import json
import os
import stat
from array import array
from itertools import accumulate, pairwise
from typing import Any

from ztmon.errors import InputError


class TransitionsFile:
    """Lines are held back for as long as an older one may still come; should one come later than
    that, the file is put in order at the end. Raises InputError where it cannot be written."""

    def __init__(self, path: str, hold_ns: int) -> None:
        self.path, self.hold = path, hold_ns
        try:
            self.file = open(path, "wb")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
        self.waiting: list[tuple[int, bytes]] = []
        self.times = array("q")
        self.sizes = array("q")

    def add(self, time_ns: int, line: dict[str, Any]) -> None:
        """Remember a line; release() writes it."""
        self.waiting.append((time_ns, json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"))

    def release(self, newest_ns: int) -> None:
        """Write what nothing can come before any more, now that events are as new as this."""
        if not self.waiting:
            return
        self.waiting.sort(key=lambda waiting: waiting[0])
        until = newest_ns - self.hold
        n = sum(time <= until for time, _ in self.waiting)
        for time, line in self.waiting[:n]:
            self.times.append(time)
            self.sizes.append(len(line))
            self.file.write(line)
        del self.waiting[:n]

    def close(self) -> None:
        """Write the rest."""
        self.release(1 << 62)
        self.file.close()
        if stat.S_ISREG(os.stat(self.path).st_mode) and any(b < a for a, b in pairwise(self.times)):
            self._sort()

    def _sort(self) -> None:
        """Put the lines in order, by way of a second file; 32 bytes of memory a line."""
        import mmap

        starts = array("q", accumulate(self.sizes, initial=0))
        order = sorted(range(len(self.times)), key=self.times.__getitem__)
        beside = self.path + ".sorting"
        with (
            open(self.path, "rb") as found,
            mmap.mmap(found.fileno(), 0, access=mmap.ACCESS_READ) as lines,
            open(beside, "wb") as sorted_file,
        ):
            for i in order:
                sorted_file.write(lines[starts[i] : starts[i + 1]])
        os.replace(beside, self.path)
