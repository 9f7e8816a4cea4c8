"""Every command with its options and help. What a command does is in its own module."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ztmon.commands_store import register
from ztmon.commands_token import token_app
from ztmon.replay.options import FORMATS, Options

app = typer.Typer(
    name="ztmon",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from ztmon import __version__

        print(f"ztmon {__version__}")
        raise typer.Exit()


@app.callback()
def ztmon(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Zero-trust API monitoring: learns what is normal for each partner, scores every call from 0 to 100
    while it happens, and moves partners through monitor, alert, throttle, quarantine and block.

    Start with a replay of yesterday's access log: ztmon replay access.log
    """


@app.command()
def replay(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", show_default=False,
                       help='Logs, gzipped or not, in any order of time; "-" is standard input.'),
    ],
    format: Annotated[
        str,
        typer.Option(metavar="|".join(FORMATS),
                     help="What the files are; auto looks at their first lines. combined and common are the "
                          "access logs of Apache and nginx, jsonl is one JSON object a line."),
    ] = "auto",
    partner: Annotated[
        str,
        typer.Option(metavar="client|user|vhost|FIELD", show_default="client; partnerId in JSON lines",
                     help="Who counts as a partner: the client's address, the log's user or virtual host, or a "
                          "field of JSON lines."),
    ] = "",
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FIELD", show_default=False,
                     help="In JSON lines, FIELD holds what the wire format calls NAME, such as "
                          "partnerId=customer or responseTime=timing.total. Repeat it for each name."),
    ] = None,
    app: Annotated[
        str, typer.Option(metavar="NAME", help="The application that the partners of access logs belong to.")
    ] = "default",
    transitions: Annotated[
        str,
        typer.Option(metavar="OUT.jsonl", show_default=False,
                     help="Write every change of a level to this file, a JSON line each, in the order of time."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    show_clients: Annotated[
        bool, typer.Option("--show-clients", help="Name clients by their addresses instead of pseudonyms.")
    ] = False,
    learning_hours: Annotated[
        float | None,
        typer.Option(metavar="HOURS", show_default="24",
                     help="Hours of a partner's own time before its score can raise its level. Lower it for a short log."),
    ] = None,
    learning_events: Annotated[
        int | None,
        typer.Option(metavar="N", show_default="300", help="Calls of a partner before its score can raise its level."),
    ] = None,
    threshold_alert: Annotated[
        float | None, typer.Option(metavar="SCORE", show_default="31", help="The score at which people are told.")
    ] = None,
    threshold_throttle: Annotated[
        float | None,
        typer.Option(metavar="SCORE", show_default="61", help="The score at which a partner is slowed to its usual rate."),
    ] = None,
    threshold_quarantine: Annotated[
        float | None,
        typer.Option(metavar="SCORE", show_default="81", help="The score at which a partner must authenticate anew."),
    ] = None,
    threshold_block: Annotated[
        float | None, typer.Option(metavar="SCORE", show_default="96", help="The score at which a partner is refused.")
    ] = None,
    capacity: Annotated[
        int | None,
        typer.Option(metavar="N", show_default="65536",
                     help="Partners remembered at once, 2 KiB each; the least active make room for new ones."),
    ] = None,
) -> None:
    """Run yesterday's logs through today's engine: who would have been stopped, when, and why.

    Nothing is enforced and nothing is sent anywhere. The settings of the environment count
    (ANOMALY_THRESHOLD_*, ZTMON_*); the options here beat them. Addresses of clients are shown as
    pseudonyms that are drawn anew for each replay.
    """
    from ztmon.replay.command import replay as run

    if format not in FORMATS:
        raise typer.BadParameter(f"{format} is not one of {', '.join(FORMATS)}", param_hint="--format")
    raise typer.Exit(run(Options(
        files, format, partner, map or [], app, transitions, json, show_clients, learning_hours, learning_events,
        threshold_alert, threshold_throttle, threshold_quarantine, threshold_block, capacity,
    )))


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", show_default="127.0.0.1",
                                 help="The address to listen on. One that other machines can reach needs a token.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", show_default="9000", help="The port to listen on; 0 takes a free one.")
    ] = None,
    udp: Annotated[
        str, typer.Option(metavar="PORT|-", show_default="the port after --port",
                          help="The port for telemetry by UDP; 0 takes a free one, - none.")
    ] = "",
    upstream: Annotated[
        str, typer.Option(metavar="URL", show_default="BACKEND_API_URL, or no reverse proxy",
                          help="Stand before this application as a reverse proxy, on a port of its own.")
    ] = "",
    upstream_port: Annotated[
        int | None, typer.Option(metavar="PORT", show_default="3000", help="The port of the reverse proxy; 0 takes a free one.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Let a few simulated partners call; every 2.5 minutes one turns bad.")
    ] = False,
    state: Annotated[
        str, typer.Option(metavar="PATH", show_default="ZTMON_STATE, or memory of this process",
                          help="Keep the partners in this file, which other processes may use at the same time.")
    ] = "",
    store: Annotated[
        str, typer.Option(metavar="PATH|-", show_default="ZTMON_STORE, or ztmon.db in the platform's folder for state",
                          help="Remember partners, history and the audit log in this SQLite file; - writes nothing, and so "
                               "does the demo.")
    ] = "",
    redis: Annotated[
        str, typer.Option(metavar="URL", show_default="ZTMON_REDIS", help="Share with other hosts through this Redis.")
    ] = "",
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", show_default=False,
                                  help="Settings; the environment beats it, options beat both. Read again on SIGHUP.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", show_default=False, help="Serve TLS with this certificate and its chain.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="PEM", show_default="in the same file", help="The certificate's key.")
    ] = None,
    tls_clients: Annotated[
        Path | None, typer.Option(metavar="PEM", show_default=False,
                                  help="Let in only clients with a certificate of one of these authorities.")
    ] = None,
    log: Annotated[str | None, typer.Option(metavar="text|json", show_default="text", help="What lines of the log are.")] = None,
) -> None:
    """Take telemetry over HTTP, answer with decisions, and show the partners on a page.

    POST /telemetry takes one JSON object, an array, or one object a line. GET /partners lists the
    partners, GET /partners/NAME?app=APP tells all about one. Settings come from the environment, or a file.
    """
    from ztmon.config import Config
    from ztmon.errors import ZtmonError
    from ztmon.serve import run

    def read() -> Config:
        config = Config.from_file(config_file, environment=True) if config_file else Config.from_env()
        if state:
            config = replace(config, state=state)
        if redis:
            config = replace(config, redis=redis)
        if store == "-":
            config = replace(config, store=None)
        elif store or (config.store is None and not demo):
            config = replace(config, store=store or default_store())
        given: dict[str, Any] = {"listen": host, "port": port, "tls_certificate": tls_certificate, "tls_key": tls_key,
                 "tls_clients": tls_clients, "log": log, "upstream": upstream or None, "upstream_port": upstream_port}
        gateway = replace(config.gateway, **{k: v for k, v in given.items() if v is not None})
        return replace(config, gateway=replace(gateway, udp_port=_udp_port(udp, gateway.udp_port, gateway.port)))

    try:
        config = read()
    except ZtmonError as error:
        raise _refuse("serve", error) from None
    raise typer.Exit(run(config, demo, read=read))


def _udp_port(given: str, set_: int | None, port: int) -> int | None:
    """The port after the gateway's, unless something else is asked for. Raises ConfigError."""
    from ztmon.errors import ConfigError

    if given == "-":
        return None
    if given:
        if not given.isascii() or not given.isdigit():
            raise ConfigError(f"--udp is {given!r}; allowed is a port, 0 for a free one, or - for none")
        return int(given[:6])
    return set_ if set_ is not None else port + 1 if 0 < port < 65535 else 0


@app.command()
def state(
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False, help="The state file.")],
    verify: Annotated[bool, typer.Option("--verify", help="Look at every row; exit code 1 where one is broken.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object.")] = False,
) -> None:
    """Say what is in a state file: workers attached, partners, what was taken over, dropped and lost.

    It only looks, so that it can be used while the file is in use.
    """
    from ztmon.state import show

    raise typer.Exit(show(path, verify, json))


@app.command()
def simulate(
    partners: Annotated[int, typer.Option(metavar="N", help="How many partners there are.")] = 12,
    hours: Annotated[float, typer.Option(metavar="H", help="How long they are watched.")] = 72.0,
    seed: Annotated[int, typer.Option(metavar="S", help="The same seed gives the same lines.")] = 1,
    attacks: Annotated[
        str,
        typer.Option(metavar="all|none|KIND,...[@STRENGTH]",
                     help="Which attacks happen, each to one partner after it was learned for a day. @0.2 at the "
                          "end makes them a fifth as strong; 1 is blatant; @drawn: each its own."),
    ] = "all",
    hard: Annotated[
        bool, typer.Option("--hard", help="Partners have sessions, jobs, bouts of errors and the like, and innocent things "
                                          "happen: the backend fails, routes are renamed, a partner is born ..")
    ] = False,
    shapes: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", show_default=False,
                     help="Rates follow the series in this folder's CSV files (second column) instead of made-up days."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.jsonl", show_default="standard output", help="Where the lines go.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="OUT.jsonl", show_default=False,
                     help="Write who was attacked how, and from when to when, to this file."),
    ] = None,
) -> None:
    """Write the traffic of partners that do not exist, with attacks among it, as lines of the wire format.

    For example: ztmon simulate --truth truth.jsonl > events.jsonl, then ztmon replay events.jsonl
    """
    from ztmon.errors import ZtmonError
    from ztmon.simulate import main

    try:
        raise typer.Exit(main(partners, hours, seed, attacks, out, truth, hard, shapes))
    except ZtmonError as error:
        raise _refuse("simulate", error) from None


register(app)
app.add_typer(token_app, name="token")


def default_store() -> str:
    """Where the gateway remembers unless it is told."""
    from platformdirs import user_state_path

    return str(user_state_path("ztmon") / "ztmon.db")


def _refuse(command: str, error: Exception) -> typer.Exit:
    """Say in one line why the command cannot be done."""
    print(f"ztmon {command}: {error}", file=sys.stderr)
    return typer.Exit(2)
