"""The gateway's log: lines for people, or one JSON object a line. To standard error, with no address, path or token in it."""

import json
import logging
import sys
import time

STANDARD = set(vars(logging.makeLogRecord({})))


class JsonLines(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, and what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """A line."""
        found = {"time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
                 "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        found |= {name: value for name, value in vars(record).items() if name not in STANDARD and name not in found}
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """A record as a line for people. What came from outside can neither begin a line of its own nor move a terminal's cursor."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without an exception."""
        record.message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in record.message)
        return super().formatMessage(record)


def set_up(kind: str) -> None:
    """Let everything of ztmon's be logged, in that form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    ours = logging.getLogger("ztmon")
    ours.handlers[:] = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)     # it warns of every client that speaks no HTTP
