"""The pages people read, and the fenced blocks in them."""

import re
from dataclasses import dataclass

from .tree import REPO

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block. language and title are the words after the fence: ```toml ztmon.toml"""

    page: str
    line: int
    language: str
    title: str
    text: str


def pages():
    """Relative paths of the README and of every page in docs/."""
    found = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
    return [str(path.relative_to(REPO)) for path in found if path.exists()]


def read(page):
    return (REPO / page).read_text(encoding="utf-8")


def blocks(page):
    """The fenced blocks of a page, in order."""
    text = read(page)
    found = []
    for match in FENCE.finditer(text):
        language, _, title = match["info"].strip().partition(" ")
        indent = len(match["indent"])
        body = "".join(line[indent:] for line in match["body"].splitlines(keepends=True))
        # The line of the block's first line of code, so that a traceback points into the page.
        line = text.count("\n", 0, match.start("body")) + 1
        found.append(Block(page, line, language.lower(), title.strip(), body))
    return found
