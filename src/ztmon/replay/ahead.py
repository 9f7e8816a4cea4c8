"""Reading and parsing in a thread of its own, while the engine is still busy with what came before."""

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

DEPTH = 2
"""Items that may wait; with the one that is made and the one that is used, memory for four."""

PATIENCE = 0.1
"""Seconds after which the thread looks whether anybody still wants what it has made."""


class _End:
    """The last thing in the queue. error: what ended it, None: there is no more."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Maker(threading.Thread, Generic[Item]):
    def __init__(self, items: Iterator[Item]) -> None:
        super().__init__(name="ztmon-replay-ahead", daemon=True)
        self.items = items
        self.made: queue.Queue[Item | _End] = queue.Queue(DEPTH)
        self.unwanted = threading.Event()

    def run(self) -> None:
        error = None
        try:
            for item in self.items:
                if not self._put(item):
                    return
        except BaseException as found:
            error = found
        self._put(_End(error))

    def _put(self, item: "Item | _End") -> bool:
        while not self.unwanted.is_set():
            try:
                self.made.put(item, timeout=PATIENCE)
                return True
            except queue.Full:
                continue
        return False


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, made in a thread up to DEPTH ahead of their use. What the maker raises is raised
    here; closing this iterator ends the thread."""
    maker = _Maker(items)
    maker.start()
    try:
        while True:
            item = maker.made.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        maker.unwanted.set()
        maker.join()
