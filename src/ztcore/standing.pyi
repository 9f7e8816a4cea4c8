from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.core import Core

STANDING: np.dtype[Any]

def standings(engine: Core) -> npt.NDArray[Any]: ...
def standing_of(engine: Core, key: int) -> Any: ...
def put_standing(engine: Core, record: Any, app: str, now: int) -> bool: ...
