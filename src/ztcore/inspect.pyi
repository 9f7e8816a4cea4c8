from typing import Any

COUNTERS: tuple[str, ...]
VERSION: int

def describe(block: Any) -> dict[str, Any]: ...
