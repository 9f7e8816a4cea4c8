from typing import Any

import numpy as np
import numpy.typing as npt

EVENT: np.dtype[Any]
WHY: np.dtype[Any]
TRANSITION: np.dtype[Any]
ROW: np.dtype[Any]

def histogram_quantile(counts: npt.ArrayLike, q: float) -> float: ...
