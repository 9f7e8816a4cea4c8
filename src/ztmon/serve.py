"""`ztmon serve`: sockets, servers and signals around a gateway.

    listen() -> TLS -> uvicorn with a protocol that is strict about slow clients -> the Gateway
"""

import asyncio
import errno
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ztmon.config import Config
from ztmon.errors import ConfigError, ZtmonError
from ztmon.gateway.logs import set_up
from ztmon.gateway.settings import GatewayConfig

if TYPE_CHECKING:
    import uvicorn

    from ztmon.gateway.app import Gateway
    from ztmon.gateway.protocol import Short

log = logging.getLogger("ztmon.gateway")

REFUSED = 2
"""Exit code where nothing was started."""

GRACE_SECONDS = 3
"""For requests under way when it is told to stop."""

BACKLOG = 1024

Reader = Callable[[], Config]


def run(config: Config | None = None, demo: bool = False, seed: int = 1, read: Reader | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code: 0, or 2 where it could not start (one line on
    standard error says why). config: None: the defaults. seed: of the demo. read: reads the settings again on SIGHUP."""
    try:
        config = config if config is not None else Config()
        set_up(config.gateway.log)
        if demo:
            from ztmon.gateway.demo import demo_config
            config = demo_config(config)
        listening = listen(config.gateway)
        try:
            from ztmon.gateway.app import Gateway
            gateway = Gateway(config, demo=demo)
        except BaseException:
            listening.close()
            raise
    except ZtmonError as error:
        print(f"ztmon serve: {error}", file=sys.stderr)
        return REFUSED
    with listening:
        return serve(gateway, listening, seed, read)


def serve(gateway: "Gateway", listening: socket.socket | None = None, seed: int = 1, read: Reader | None = None) -> int:
    """The same for a Gateway that is there; it is closed in the end."""
    from ztmon.gateway.telemetry import ShortWay

    try:
        if listening is None:
            listening = listen(gateway.settings)
        server = make_server(gateway, gateway.settings, ShortWay(gateway))
        check_reachable(gateway)
        for beside in gateway.beside:
            beside.bind()
    except ZtmonError as error:
        print(f"ztmon serve: {error}", file=sys.stderr)
        gateway.close()
        return REFUSED
    try:
        import uvloop
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(gateway, server, listening, seed, read))
    finally:
        gateway.close()
    return 0


def make_server(app: Any, settings: GatewayConfig, short: "Short | None" = None) -> "uvicorn.Server":
    """A server around an ASGI application; its serve(sockets=[..]) runs it. short: is asked about posts first (protocol.py).
    Raises ConfigError where uvicorn is missing or the certificate cannot be used."""
    try:
        import uvicorn

        from ztmon.gateway.protocol import strict
    except ImportError as error:
        raise ConfigError(f'the gateway needs {error.name}: pip install "ztmon[gateway]"') from None
    config = uvicorn.Config(
        app, lifespan="off", ws="none", http=strict(settings, short), loop="uvloop", log_config=None, access_log=False,
        server_header=False, date_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=max(1, int(settings.head_seconds)), backlog=BACKLOG)
    config.load()
    config.ssl = tls(settings)

    class Server(uvicorn.Server):
        """Signals are ours: see _serve()."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)


def settle() -> None:
    """What is there when serving begins stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def listen(settings: GatewayConfig) -> socket.socket:
    """The listening socket. Raises ConfigError for an address and a port that cannot be had."""
    name = "127.0.0.1" if settings.listen == "localhost" else settings.listen
    settings.loopback  # noqa: B018  says whether it is an address at all
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        return socket.create_server((name, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = "is in use by another program; stop it or choose another port" if error.errno == errno.EADDRINUSE \
            else f"cannot be had: {error.strerror}"
        raise ConfigError(f"port {settings.port} on {settings.listen} {why}") from None


def check_reachable(gateway: "Gateway") -> None:
    """Raises ConfigError where other machines could reach a gateway that asks nobody who they are."""
    if not gateway.settings.loopback and gateway.access.open:
        raise ConfigError(
            f"host is {gateway.settings.listen!r}, which others can reach, and there is no token: make one (ztmon token add "
            "NAME --role read), or listen on a loopback address (127.0.0.1, ::1, localhost)")


def tls(settings: GatewayConfig) -> ssl.SSLContext | None:
    """TLS 1.2 and up; with client certificates where tls_clients says whose. Raises ConfigError."""
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, settings)
    if settings.tls_clients is not None:
        try:
            context.load_verify_locations(settings.tls_clients)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"gateway.tls_clients: {settings.tls_clients} cannot be used: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load_certificate(context: ssl.SSLContext, settings: GatewayConfig) -> None:
    """Into a context, at the start and again when files were renewed. Raises ConfigError."""
    assert settings.tls_certificate is not None
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"gateway.tls_certificate: {settings.tls_certificate} cannot be used: {error}") from None


def renew(context: ssl.SSLContext, settings: GatewayConfig) -> None:
    """Take over renewed files, which are tried first. Raises ConfigError, and then nothing changes."""
    load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)
    load_certificate(context, settings)


async def _serve(gateway: "Gateway", server: "uvicorn.Server", listening: socket.socket, seed: int,
                 read: Reader | None) -> None:
    """Until told to stop."""
    life = None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: None)        # what was read a moment ago is new enough
    running: set[asyncio.Task[None]] = set()
    now_and_then = asyncio.ensure_future(_refresh(gateway))
    try:
        if gateway.demo:
            from ztmon.gateway.demo import Demo
            life = Demo(gateway.monitor, seed)
            await asyncio.to_thread(life.start)
        def stop() -> None:
            server.should_exit = True
            gateway.end()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        def again() -> None:
            task = loop.create_task(reload(gateway, server, read))
            running.add(task)
            task.add_done_callback(running.discard)

        loop.add_signal_handler(signal.SIGHUP, again)
        for beside in gateway.beside:
            await beside.start()
        settle()
        _say(gateway, listening)
        await server.serve(sockets=[listening])
    finally:
        now_and_then.cancel()
        await asyncio.gather(*running)
        for beside in gateway.beside:
            await beside.stop()
        if life is not None:
            await asyncio.to_thread(life.stop)


async def _refresh(gateway: "Gateway") -> None:
    """Tokens and settings that others changed in the store are known here within seconds, also where nobody asks."""
    from ztmon.gateway.app import REFRESH_SECONDS
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        await gateway.refresh()


async def reload(gateway: "Gateway", server: "uvicorn.Server", read: Reader | None) -> None:
    """On SIGHUP: settings, tokens and certificate anew. What cannot be read stays as it was."""
    try:
        names: list[str] = []
        later: list[str] = []
        if server.config.ssl is not None:
            renew(server.config.ssl, gateway.settings)
        if read is not None:
            file = await asyncio.to_thread(read)
            async with gateway.changing:
                names, later = await gateway.reload(file)
        for beside in gateway.beside:
            beside.renew()
        await gateway.refresh()
        log.info("settings were read again; different now: %s", gateway.runtime.said(names) or "none")
        if later:
            log.warning("different in the file, and waiting for the next start: %s", ", ".join(later))
    except ZtmonError as error:
        log.error("settings stay as they were: %s", error)
    except Exception:
        log.exception("settings stay as they were")


def _say(gateway: "Gateway", listening: socket.socket) -> None:
    address, port = listening.getsockname()[:2]
    scheme = "http" if gateway.settings.tls_certificate is None else "https"
    shown = f"[{address}]" if ":" in address else address
    mode = "shadow mode: nothing is enforced" if gateway.monitor.settings["shadow"] else "decisions are to be enforced"
    who = "; no tokens: only this machine can reach it" if gateway.access.open else ""
    print(f"ztmon is at {scheme}://{shown}:{port} ({mode}{who}). Ctrl-C ends it.", flush=True)
    for said in filter(None, (beside.says() for beside in gateway.beside)):
        print(said, flush=True)
    if gateway.demo:
        print("Simulated partners are sending traffic; every two and a half minutes one of them turns bad.", flush=True)
