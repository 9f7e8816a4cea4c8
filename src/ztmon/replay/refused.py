"""How many calls each stopped partner made, and how many of them would have been refused."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.levels import Action

THROTTLE = int(Action.THROTTLE)

LEVEL, REFUSED = 0x7F, 0x80
"""What observe_batch() says of each call: the level after it, and whether the one before refused it."""


class Refused:
    """Counts by partner key. made: calls at throttle or above; refused: those of them that would have been."""

    def __init__(self) -> None:
        self.made: dict[int, int] = {}
        self.refused: dict[int, int] = {}

    def batch(self, events: npt.NDArray[Any], decisions: npt.NDArray[np.uint8]) -> None:
        """Calls as observe_batch() answered them."""
        for at in np.flatnonzero((decisions & LEVEL >= THROTTLE) | (decisions & REFUSED != 0)).tolist():
            self.call(int(events["partner"][at]), bool(decisions[at] & REFUSED), int(events["count"][at]))

    def call(self, key: int, refused: bool, count: int = 1) -> None:
        """A call, or `count` of them, by a partner at throttle or above."""
        self.made[key] = self.made.get(key, 0) + count
        if refused:
            self.refused[key] = self.refused.get(key, 0) + count
