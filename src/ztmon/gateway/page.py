"""The dashboard's files, read once at the start."""

from importlib.resources import files

from ztmon.errors import InputError
from ztmon.gateway.http import Answer

KINDS = {
    "index.html": "text/html; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def read_page() -> dict[str, Answer]:
    """Answers by path. Raises InputError where a file is not there."""
    folder = files("ztmon.adapters") / "dashboard"
    try:
        found = {f"/{name}": Answer(200, kind, (folder / name).read_bytes()) for name, kind in KINDS.items()}
    except OSError as error:
        raise InputError(f"the dashboard is not where it was installed: {error}; reinstall ztmon") from error
    return {**found, "/": found["/index.html"]}
