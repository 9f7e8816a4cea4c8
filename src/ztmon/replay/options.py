"""What `ztmon replay` can be told, and the quick way to read it from plain command lines."""

from dataclasses import dataclass, field, fields
from typing import Any

FORMATS = ("auto", "combined", "common", "jsonl")


@dataclass(slots=True)
class Options:
    """One field an option: --learning-hours is learning_hours. None: the setting in force."""

    files: list[str] = field(default_factory=list)
    format: str = "auto"
    partner: str = ""
    map: list[str] = field(default_factory=list)
    app: str = "default"
    transitions: str = ""
    json: bool = False
    show_clients: bool = False
    learning_hours: float | None = None
    learning_events: int | None = None
    threshold_alert: float | None = None
    threshold_throttle: float | None = None
    threshold_quarantine: float | None = None
    threshold_block: float | None = None
    capacity: int | None = None


KINDS: dict[Any, Any] = {str: str, bool: bool, list[str]: list, float | None: float, int | None: int}


def quick(words: list[str]) -> Options | None:
    """The options in plain words, or None for what only the full command line explains: --help, what
    is unknown, what has no value. Saves the start of the full one, a third of a short replay."""
    options = Options()
    kinds = {"--" + f.name.replace("_", "-"): (f.name, KINDS[f.type]) for f in fields(Options) if f.name != "files"}
    rest = iter(words)
    for word in rest:
        if word == "-" or not word.startswith("-"):
            options.files.append(word)
            continue
        name, given, value = word.partition("=")
        if name not in kinds:
            return None
        name, kind = kinds[name]
        if kind is bool:
            if given:
                return None
            setattr(options, name, True)
            continue
        value = value if given else next(rest, "")
        if not value or (not given and value.startswith("-")):
            return None
        try:
            if kind is list:
                getattr(options, name).append(value)
            else:
                setattr(options, name, kind(value))
        except ValueError:
            return None
    return options if options.files and options.format in FORMATS else None
