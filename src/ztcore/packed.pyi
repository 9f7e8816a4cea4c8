from typing import Any

HEAD_SIZE: int
RECORD_SIZE: int
EVENTS_MOST: int

def pack(events: list[tuple[Any, ...]], app: str, most: int, alike: bool = False) -> tuple[list[bytes], int]: ...
