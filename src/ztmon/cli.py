"""The command line. Each command loads what it needs when it is called, and no more."""

import os
import sys
from typing import Any

# numpy's linear algebra starts threads when it is loaded; nothing here multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """What the program `ztmon` runs."""
    words = sys.argv[1:]
    if words[:1] == ["replay"]:
        from ztmon.replay.options import quick

        options = quick(words[1:])
        if options is not None:
            from ztmon.replay.command import replay

            sys.exit(replay(options))
    from ztmon.commands import app

    app(prog_name="ztmon")


def __getattr__(name: str) -> Any:
    if name == "app":
        from ztmon.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
