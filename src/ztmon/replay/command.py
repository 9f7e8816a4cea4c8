"""`ztmon replay`: runs it, prints the report, says what is wrong in one line."""

import os
import sys

from ztmon.errors import ConfigError, InputError
from ztmon.replay.options import Options


def replay(options: Options) -> int:
    """The exit code: 0; 2 where something cannot be read, written or is not allowed; 130 after Ctrl-C."""
    try:
        from ztmon.replay.run import Replay

        facts = Replay(options).run()
    except (InputError, ConfigError) as error:
        print(f"ztmon replay: {error}", file=sys.stderr)
        return 2
    try:
        if options.json:
            from ztmon.report.data import to_json

            print(to_json(facts))
        else:
            from ztmon.report.text import show

            show(facts)
        sys.stdout.flush()
    except BrokenPipeError:
        # who reads the report has seen enough; Python must not complain again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 130 if facts.interrupted else 0
