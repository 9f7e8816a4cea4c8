from typing import Any

import numpy.typing as npt

from ztcore.engine import Engine

REASONS: tuple[str, ...]

class AccessLogParser:
    def __new__(
        cls,
        hash_key: bytes,
        app: str = "default",
        partner: str = "client",
        show_clients: bool = False,
        unit: str = "auto",
        engine: Engine | None = None,
        pseudonym_key: bytes | None = None,
    ) -> AccessLogParser: ...
    def parse(
        self, chunk: bytes | bytearray | memoryview, final: bool = False
    ) -> tuple[npt.NDArray[Any], bytes, int, list[tuple[int, str]]]: ...
    def new_file(self) -> None: ...
    @property
    def lines(self) -> int: ...
    @property
    def broken(self) -> int: ...
    @property
    def reasons(self) -> dict[str, int]: ...
