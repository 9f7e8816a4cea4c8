"""What the pages say is true: their code runs, and nothing that can be set is left out."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from functools import cache

import pytest

from ztmon import Config

from .pages import blocks, pages, read
from .tree import REPO

pytestmark = pytest.mark.whole_tree

SECONDS = 120
SHELL = {"sh", "shell", "bash", "console"}

# Runs the Python blocks of a page, in order and in one namespace, as a reader would type them.
# A block in the form of a session (>>>) must print what it shows.
RUNNER = """
import doctest, json, sys
namespace = {"__name__": "__main__"}
for page, line, text in json.load(sys.stdin):
    if text.lstrip().startswith(">>>"):
        case = doctest.DocTestParser().get_doctest(text, namespace, page, page, line - 1)
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(case, clear_globs=False).failed
        namespace.update(case.globs)
        if failed:
            sys.exit(1)
    else:
        exec(compile("\\n" * (line - 1) + text, page, "exec"), namespace)
"""


def documentation():
    return "\n".join(read(page) for page in pages())


@cache
def commands():
    """Every command of the program by its words, e.g. "alert test", with its click object."""
    import typer.main

    from ztmon.commands import app

    def walk(command, words):
        inner = getattr(command, "commands", None)
        if inner is None:
            return {words: command}
        found = {}
        for name, child in inner.items():
            found.update(walk(child, (*words, name)))
        return found

    return walk(typer.main.get_command(app), ())


def options(command):
    """The option names of a click command, --help left out."""
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != "--help"
    }


@pytest.mark.parametrize(
    "page", [page for page in pages() if any(block.language == "python" for block in blocks(page))]
)
def test_python_blocks_run(page, tmp_path):
    """The Python of a page runs from top to bottom in an empty folder that holds the page's files."""
    for block in blocks(page):
        if block.title and block.language != "python":
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    code = [(page, block.line, block.text) for block in blocks(page) if block.language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=tmp_path,
        input=json.dumps(code),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_shows_the_two_commands_and_python():
    """The first screen of the README has the two commands, and Python that runs is on the page."""
    first_screen = "\n".join(read("README.md").splitlines()[:45])
    assert "make run" in first_screen
    assert "make test" in first_screen
    assert any(block.language == "python" for block in blocks("README.md"))


def test_every_setting_is_documented():
    """Each setting of Config is named on a page in code style, and so is its environment variable."""
    from ztmon.environment import variable

    text = documentation()
    settings = [setting.name for setting in fields(Config)]
    variables = [variable(name) for name in settings if name not in ("thresholds", "gateway")] + ["ANOMALY_THRESHOLD_ALERT"]
    assert [name for name in settings + variables if f"`{name}`" not in text] == []


def test_every_setting_and_route_of_the_gateway_is_documented():
    """Each setting of the gateway stands on its page, and so does each route."""
    from ztmon import GatewayConfig
    from ztmon.gateway.routes import all_routes

    text = read("docs/gateway.md")
    assert [setting.name for setting in fields(GatewayConfig) if f"`{setting.name}`" not in text] == []
    assert [route.path for route in all_routes() if not re.search(rf"{re.escape(route.path)}[`?|, ]", text)] == []


def test_every_command_and_option_is_documented():
    """Each command of the program and each of its options is named on a page."""
    text = documentation()
    silent = []
    for words, command in commands().items():
        name = " ".join(("ztmon", *words))
        if name not in text:
            silent.append(name)
        silent += [
            f"{name} {option}"
            for option in sorted(options(command))
            if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text)
        ]
    assert silent == []


def shell_lines(page):
    """(where, words) of the lines of a page's shell blocks that call ztmon or make."""
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        for offset, line in enumerate(block.text.replace("\\\n", " ").splitlines()):
            line = line.removeprefix("$ ")
            if line.startswith(("ztmon ", "make ")):
                yield f"{page}:{block.line + offset}", shlex.split(line, comments=True)


@pytest.mark.parametrize("page", pages())
def test_shell_blocks_name_what_exists(page):
    """Each ztmon command and option, and each make target, that a page shows to type exists."""
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    wrong = []
    for where, words in shell_lines(page):
        if words[0] == "make":
            wrong += [f"{where}: {word}" for word in words[1:] if "=" not in word and word not in targets]
            continue
        known = [found for found in commands() if tuple(words[1 : 1 + len(found)]) == found]
        if not known:
            wrong.append(f"{where}: {' '.join(words)}")
            continue
        given = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
        wrong += [f"{where}: {option}" for option in sorted(given - options(commands()[known[0]]))]
    assert wrong == []


def links(page):
    """Link targets of a page that are files of this project."""
    outside_code = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code):
        if not re.match(r"[a-z]+:|#", target):
            yield target.partition("#")[0]


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page):
    """Each link of a page to a file of this project finds it."""
    assert [target for target in links(page) if not ((REPO / page).parent / target).exists()] == []
