"""Which format a source is in, and its reader."""

from typing import Any

from ztmon.replay.batch import Reader
from ztmon.replay.options import Options
from ztmon.replay.refused import Refused
from ztmon.replay.source import Source

LOOK_AT = 20
"""Lines that are looked at."""


def looks_like_json(head: bytes) -> bool:
    """Whether most of the first lines begin like JSON objects."""
    lines = [line.strip() for line in head.split(b"\n", LOOK_AT)[:LOOK_AT]]
    lines = [line for line in lines if line]
    return sum(line.startswith(b"{") for line in lines) * 2 > len(lines)


def reader_of(source: Source, head: bytes, engine: Any, refused: Refused, options: Options) -> Reader:
    """The reader for a source that begins with `head`. Raises ConfigError for options it cannot heed."""
    if options.format == "jsonl" or (options.format == "auto" and looks_like_json(head)):
        from ztmon.replay.jsonlines import JsonReader

        return JsonReader(source, engine, refused, options)
    from ztmon.replay.logs import LogReader

    return LogReader(source, engine, refused, options)
