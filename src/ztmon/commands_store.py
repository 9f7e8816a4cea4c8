"""The commands about what is remembered, and about partners, with their options and help."""

import json as _json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import typer

from ztmon.config import LEVELS, Config
from ztmon.errors import ZtmonError

store_app = typer.Typer(no_args_is_help=True, help="What is in a store: look at it, save it, move it.")

State = Annotated[str, typer.Option("--state", metavar="PATH", show_default="ZTMON_STATE", help="Of running processes.")]
Store = Annotated[str, typer.Option("--store", metavar="PATH", show_default="ZTMON_STORE", help="The SQLite store.")]
Redis = Annotated[str, typer.Option("--redis", metavar="URL", show_default="ZTMON_REDIS", help="The Redis that hosts share.")]
App = Annotated[str, typer.Option("--app", metavar="NAME", help="The application that the partner belongs to.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", show_default="who runs it", help="Who does it, for the audit log.")]
Partner = Annotated[str, typer.Argument(metavar="PARTNER", show_default=False, help="The partner's name.")]

T = TypeVar("T")


def settings(state: str = "", store: str = "", redis: str = "") -> Config:
    """The environment's settings with these options. A store or a Redis that is named is looked into by itself."""
    config = Config.from_env()
    if state:
        return replace(config, state=state, store=store or config.store, redis=redis or None)
    if store or redis:
        return replace(config, state=None, store=store or None, redis=redis or None)
    return config


def do(command: str, what: Callable[[], T]) -> T:
    """Run it; what cannot be done is one line on standard error, exit code 2."""
    try:
        return what()
    except (ZtmonError, ValueError, TimeoutError) as error:
        print(f"ztmon {command}: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _on(command: str, store: str, redis: str, what: Callable[[Any], Any]) -> None:
    def run() -> None:
        from ztmon.store.desk import open_store

        config = settings("", store, redis)
        found = open_store(config.store, config.redis, config.redis_prefix)
        try:
            what(found)
        finally:
            found.close()

    do(command, run)


# -- store ----------------------------------------------------------------------------------------


@store_app.command()
def inspect(store: Store = "", redis: Redis = "", json: Json = False) -> None:
    """Count what is in a store, and how large it is."""
    from ztmon.store import command

    _on("store inspect", store, redis, lambda found: command.inspect(found, json))


@store_app.command()
def export(
    path: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="The file to write; it must not be there yet.")],
    store: Store = "", redis: Redis = "",
) -> None:
    """Write all of a store into one file."""
    from ztmon.store import command

    _on("store export", store, redis, lambda found: command.say(command.export(found, path), f"wrote {path}"))


@store_app.command("import")
def import_(
    path: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="What `ztmon store export` wrote.")],
    store: Store = "", redis: Redis = "",
) -> None:
    """Read an export into a store that has nothing in it yet; an SQLite file is made where there is none."""
    from ztmon.store import command
    from ztmon.store.sqlite import SQLiteStore

    config = do("store import", lambda: settings("", store, redis))
    if config.store:
        do("store import", lambda: SQLiteStore(config.store or "").close())
    _on("store import", store, redis, lambda found: command.say(command.take_in(found, path), f"read {path}"))


@store_app.command()
def migrate(
    to: Annotated[str, typer.Option("--to", metavar="PATH|URL", show_default=False, help="Where to: an SQLite file or a Redis.")],
    store: Store = "", redis: Redis = "",
) -> None:
    """Copy all of a store into another that has no audit log yet."""
    from ztmon.store import command

    _on("store migrate", store, redis, lambda found: command.say(command.migrate(found, to), "copied"))


# -- audit ----------------------------------------------------------------------------------------


def audit(
    what: Annotated[str, typer.Argument(metavar="[verify|export]", help="Verify the chain, or export every line.")] = "show",
    store: Store = "", redis: Redis = "", json: Json = False,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="How many of the newest lines are shown.")] = 50,
    pseudonyms: Annotated[bool, typer.Option("--pseudonyms", help="Leave out the partners' names.")] = False,
    head: Annotated[
        str, typer.Option("--head", metavar="HASH", show_default=False, help="A hash noted earlier; a line must have it.")
    ] = "",
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", show_default=False, help="Verify what `ztmon audit export` printed.")
    ] = "",
) -> None:
    """Show who changed what, when and why; verify that no line was changed or is missing (exit code 1)."""
    from ztmon import audit as log
    from ztmon.store import command

    if what not in ("show", "verify", "export"):
        raise typer.BadParameter(f"{what} is not one of verify, export", param_hint="[verify|export]")
    if what == "verify" and file:
        raise typer.Exit(command.verify_audit(do("audit", lambda: log.verify_file(file, head)), json))
    code = []

    def run(found: Any) -> None:
        if what == "verify":
            code.append(command.verify_audit(log.verify(found, head), json))
        elif what == "export":
            command.export_audit(found, not pseudonyms)
        else:
            command.show_audit(found, last, not pseudonyms, json)

    _on("audit", store, redis, run)
    raise typer.Exit(code[0] if code else 0)


# -- partners -------------------------------------------------------------------------------------


def partners(
    state: State = "", store: Store = "", redis: Redis = "", json: Json = False,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="How many are shown.")] = 50,
) -> None:
    """List partners, the highest levels and scores first."""
    def run() -> None:
        from ztmon.store.desk import reading

        with reading(settings(state, store, redis)) as monitor:
            found = monitor.partners()[:last]
            if json:
                print(_json.dumps([profile.to_dict() for profile in found]))
                return
            for p in found:
                name = p.partner if p.app == "default" else f"{p.app}/{p.partner}"
                print(f"{p.level.name.lower():<11} {p.score:5.1f}  {p.events:>12,}  {name}")

    do("partners", run)


def profile(partner: Partner, app: App = "default", state: State = "", store: Store = "", redis: Redis = "",
            json: Json = False) -> None:
    """Show all that is known of a partner."""
    def run() -> None:
        from ztmon.errors import InputError
        from ztmon.store.desk import reading

        with reading(settings(state, store, redis)) as monitor:
            found = monitor.profile(partner, app)
        if found is None:
            raise InputError(f"{partner} is not known in {app}")
        facts = found.to_dict()
        print(_json.dumps(facts) if json else "\n".join(f"{name:<24} {value}" for name, value in facts.items()))

    do("profile", run)


def explain(partner: Partner, app: App = "default", state: State = "", store: Store = "", redis: Redis = "") -> None:
    """Say in words how a partner stands, why, and what happens next."""
    def run() -> None:
        from ztmon.store.desk import reading

        with reading(settings(state, store, redis)) as monitor:
            print(monitor.explain(partner, app))

    do("explain", run)


def restore(
    partner: Partner, reason: Reason = "", app: App = "default", state: State = "", store: Store = "", redis: Redis = "",
    by: By = "",
    false_positive: Annotated[bool, typer.Option("--false-positive", help="The alarm was false: it teaches.")] = False,
) -> None:
    """End any action on a partner, and forgive the evidence."""
    def run() -> None:
        from ztmon.errors import InputError
        from ztmon.store.desk import acting

        with acting(settings(state, store, redis)) as monitor:
            if not monitor.restore(partner, reason, app, false_positive, by):
                raise InputError(f"{partner} is not known in {app}")

    do("restore", run)


def pin(
    partner: Partner,
    level: Annotated[str, typer.Argument(metavar="|".join(LEVELS), show_default=False, help="The level to hold it at.")],
    ttl: Annotated[
        float | None, typer.Option("--ttl", metavar="SECONDS", show_default="until it is restored", help="For how long.")
    ] = None,
    reason: Reason = "", app: App = "default", state: State = "", store: Store = "", redis: Redis = "", by: By = "",
) -> None:
    """Hold a partner at a level, whatever its score."""
    def run() -> None:
        from ztcore.levels import Action
        from ztmon.errors import InputError
        from ztmon.store.desk import acting

        if level not in LEVELS:
            raise InputError(f"{level} is not one of {', '.join(LEVELS)}")
        with acting(settings(state, store, redis)) as monitor:
            monitor.pin(partner, Action[level.upper()], ttl, reason, app, by)

    do("pin", run)


def forget(partner: Partner, reason: Reason = "", app: App = "default", state: State = "", store: Store = "", redis: Redis = "",
           by: By = "") -> None:
    """Erase a partner everywhere: state, store, history, Redis and all hosts. The audit log keeps its lines, about nobody."""
    def run() -> None:
        from ztmon.errors import InputError
        from ztmon.store import desk

        if not desk.forget(settings(state, store, redis), partner, app, reason, by):
            raise InputError(f"nothing was known of {partner} in {app}")

    do("forget", run)


def register(app: typer.Typer) -> None:
    """Put them into the program."""
    app.add_typer(store_app, name="store")
    for command in (audit, partners, profile, explain, restore, pin, forget):
        app.command()(command)
