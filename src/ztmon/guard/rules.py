"""Settings of single routes, by path: what is exempt, how far a decision may go, how much a score counts."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ztcore.levels import Action
from ztmon.errors import ConfigError

HEALTH = ("/health", "/healthz", "/livez", "/readyz", "/ping")
"""Paths exempt by default: what asks them is a machine of one's own."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LEVELS = tuple(level.name.lower() for level in Action)
PARAMETER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}|<(?:([^<>:]*):)?([^<>]*)>")


@dataclass(frozen=True, slots=True)
class Rule:
    """Settings of one route. exempt: neither checked nor observed; max_action: the highest level acted on here, by name or
    Action; sensitivity: what a partner's score is multiplied with here once it is at alert (0.1 to 10). Raises ConfigError."""

    exempt: bool = False
    max_action: Action = Action.BLOCK
    sensitivity: float = 1.0

    def __post_init__(self) -> None:
        level: Any = self.max_action
        if isinstance(level, str) and level.lower() in LEVELS:
            object.__setattr__(self, "max_action", Action[level.upper()])
        elif not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= 4:
            raise ConfigError(f"max_action of a route is {level!r}; allowed is one of {', '.join(LEVELS)}")
        if not isinstance(self.sensitivity, int | float) or not 0.1 <= self.sensitivity <= 10.0:
            raise ConfigError(f"sensitivity of a route is {self.sensitivity!r}; allowed is a number from 0.1 to 10")

    @property
    def plain(self) -> bool:
        """Whether decisions are the same as anywhere."""
        return self.max_action == Action.BLOCK and self.sensitivity == 1.0


class Rules:
    """Rules by path, or by method and path: "/export", "POST /login", "/orders/{id}", "/orders/<int:id>", "/files/{rest:path}".

    other: the rule where no other is. Raises ConfigError for what cannot be used.
    """

    def __init__(self, routes: Mapping[str, Any], exempt: Iterable[str], other: Rule) -> None:
        if isinstance(exempt, str):
            raise ConfigError(f"exempt is {exempt!r}; allowed is a list of paths")
        self.other = other
        self.given = [*routes, *(path for path in exempt if path not in HEALTH)]
        """Keys as they were written."""
        self.exact: dict[str, dict[str, Rule]] = {}
        """By path, then by method ("": any)."""
        self._patterns: list[tuple[re.Pattern[str], str, Rule]] = []
        for path in exempt:
            self._add(path, Rule(exempt=True))
        for path, rule in routes.items():
            self._add(path, rule if isinstance(rule, Rule) else made(path, rule))
        self.plain = other.plain and not self._patterns
        """Whether only the paths in `exact` have rules that change anything."""

    def __iter__(self) -> Iterator[Rule]:
        yield self.other
        for by_method in self.exact.values():
            yield from by_method.values()
        for _, _, rule in self._patterns:
            yield rule

    def _add(self, key: str, rule: Rule) -> None:
        method, _, path = key.rpartition(" ")
        if not path.startswith("/") or (method and method not in METHODS):
            raise ConfigError(f"a route is {key!r}; allowed is a path, with a method before it or without: \"POST /login\"")
        if PARAMETER.search(path):
            self._patterns.append((re.compile(pattern(path)), method, rule))
        else:
            self.exact.setdefault(path, {})[method] = rule

    def unmatched(self, templates: Iterable[str]) -> list[str]:
        """Keys that stand for none of an application's routes."""
        routes = [(template, re.compile(pattern(template))) for template in templates]
        found = []
        for key in self.given:
            path = key.rpartition(" ")[2]
            regular = re.compile(pattern(path))
            if not any(regular.fullmatch(template) or route.fullmatch(path) for template, route in routes):
                found.append(key)
        return found

    def find(self, method: str, path: str) -> Rule:
        """The rule of a request."""
        found = self.exact.get(path)
        if found is not None:
            rule = found.get(method) or found.get("")
            if rule is not None:
                return rule
        for regular, only, rule in self._patterns:
            if (not only or only == method) and regular.fullmatch(path):
                return rule
        return self.other


def made(path: str, settings: Any) -> Rule:
    """A Rule of a map. Raises ConfigError."""
    try:
        return Rule(**settings)
    except TypeError:
        raise ConfigError(f"the settings of {path!r} are {settings!r}; allowed are exempt, max_action and sensitivity") from None


def pattern(path: str) -> str:
    """A route template as a regular expression: a parameter is one segment, of the kind `path` any number."""
    found, at = "", 0
    for parameter in PARAMETER.finditer(path):
        found += re.escape(path[at:parameter.start()])
        found += ".*" if "path" in (parameter[2], parameter[3]) else "[^/]+"
        at = parameter.end()
    return found + re.escape(path[at:])
