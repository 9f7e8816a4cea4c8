"""`ztmon token`: who may ask the gateway for what."""

import json as _json
import time
from typing import Annotated, Any

import typer

from ztmon.commands_store import By, Json, Redis, Store, do, settings

token_app = typer.Typer(no_args_is_help=True, help="Who may ask the gateway for what: make tokens, list them, end them.")

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What the audit log calls it.")]


def _on(command: str, store: str, redis: str, what: Any) -> Any:
    def run() -> Any:
        from ztmon.commands import default_store
        from ztmon.store.desk import open_store
        from ztmon.store.sqlite import SQLiteStore

        config = settings("", store, redis)
        path = config.store if config.store or config.redis else default_store()
        found = SQLiteStore(path) if path else open_store(None, config.redis, config.redis_prefix)
        try:
            return what(found)
        finally:
            found.close()

    return do(f"token {command}", run)


@token_app.command()
def add(
    name: Name,
    role: Annotated[
        list[str], typer.Option("--role", metavar="read|control|telemetry", show_default=False,
                                help="What it may do; repeat it for more. control may read as well.")
    ],
    app: Annotated[
        list[str] | None, typer.Option("--app", metavar="NAME", show_default="all",
                                       help="An application it may send telemetry for; repeat it for more.")
    ] = None,
    days: Annotated[float | None, typer.Option("--days", metavar="N", show_default="for ever", help="How long it holds.")] = None,
    store: Store = "", redis: Redis = "", by: By = "",
) -> None:
    """Make a token and print it, once: only its hash is kept. A running gateway knows it within seconds."""
    def run(found: Any) -> None:
        from ztmon.audit import Act, write
        from ztmon.gateway.tokens import add_token

        text = add_token(found, name, tuple(role), tuple(app) if app else None, days)
        write(found, Act(time.time(), "token added", by, after={"name": name, "roles": role, "apps": app}))
        print(text)

    _on("add", store, redis, run)


@token_app.command("list")
def list_(store: Store = "", redis: Redis = "", json: Json = False) -> None:
    """List the tokens by name; what they are is not known."""
    def run(found: Any) -> None:
        from ztmon.gateway.tokens import read_tokens

        for token in sorted(read_tokens(found).values(), key=lambda token: token.name):
            facts = {"name": token.name, "roles": list(token.roles), "apps": None if token.apps is None else list(token.apps),
                     "made": token.made, "ends": token.ends}
            if json:
                print(_json.dumps(facts))
                continue
            apps = "all applications" if token.apps is None else ", ".join(token.apps)
            ends = "" if token.ends is None else f", until {time.strftime('%Y-%m-%d %H:%M', time.gmtime(token.ends))} UTC"
            print(f"{token.name:<24} {', '.join(token.roles):<24} {apps}{ends}")

    _on("list", store, redis, run)


@token_app.command()
def revoke(name: Name, store: Store = "", redis: Redis = "", by: By = "") -> None:
    """End a token. A running gateway knows it within seconds."""
    def run(found: Any) -> None:
        from ztmon.audit import Act, write
        from ztmon.errors import InputError
        from ztmon.gateway.tokens import revoke_token

        if not revoke_token(found, name):
            raise InputError(f"there is no token {name}")
        write(found, Act(time.time(), "token revoked", by, before={"name": name}))

    _on("revoke", store, redis, run)
