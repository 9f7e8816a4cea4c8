from typing import Any

import numpy as np

from ztcore.core import Core

STANDING: np.dtype[Any]

class Standings:
    def __init__(self, engine: Core) -> None: ...
    def changed(self) -> list[int]: ...

def standing_of(engine: Core, key: int) -> Any: ...
def put_standing(engine: Core, record: Any, app: str, now: int) -> bool: ...
