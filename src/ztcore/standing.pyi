from typing import Any

import numpy as np
import numpy.typing as npt

from ztcore.core import Core

STANDING: np.dtype[Any]

def standings(engine: Core, keys: Any = ()) -> npt.NDArray[Any]: ...
def put_standing(engine: Core, record: Any, app: str, now: int) -> bool: ...
