"""`ztmon serve`: the gateway and its page on a loopback address."""

import errno
import ipaddress
import signal
import socket
import sys
from typing import TYPE_CHECKING

from ztmon.config import Config
from ztmon.errors import ConfigError, ZtmonError
from ztmon.monitor import Monitor

if TYPE_CHECKING:
    import uvicorn

REFUSED = 2
"""Exit code where nothing was started."""

GRACE_SECONDS = 3
"""For requests under way when it is told to stop."""


def run(host: str = "127.0.0.1", port: int = 9000, demo: bool = False, config: Config | None = None,
        seed: int = 1) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code: 0, or 2 where it could not start (one line on
    standard error says why). port 0: any free one. config: None: the defaults. seed: of the demo."""
    try:
        server, listening, monitor = prepare(host, port, demo, config)
    except ZtmonError as error:
        print(f"ztmon serve: {error}", file=sys.stderr)
        return REFUSED
    address, actual = listening.getsockname()[:2]
    url = f"http://[{address}]:{actual}" if ":" in address else f"http://{address}:{actual}"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopping)    # while it serves uvicorn's own stand; it raises the signal anew at the end
    try:
        with listening, monitor:
            _serve(server, listening, monitor, url, seed if demo else None)
    except SystemExit:
        pass
    return 0


def prepare(host: str, port: int, demo: bool, config: Config | None) -> "tuple[uvicorn.Server, socket.socket, Monitor]":
    """Everything that can go wrong before the first request. Raises ZtmonError."""
    try:
        import uvicorn
    except ImportError:
        raise ZtmonError('the gateway needs uvicorn: pip install "ztmon[gateway]"') from None
    from ztmon.gateway.app import Gateway

    listening = listen(host, port)
    try:
        config = config if config is not None else Config()
        if demo:
            from ztmon.gateway.demo import demo_config
            config = demo_config(config)
        monitor = Monitor(config)
        app = Gateway(monitor, demo)
    except BaseException:
        listening.close()
        raise
    settings = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", access_log=False, server_header=False,
                              timeout_graceful_shutdown=GRACE_SECONDS, h11_max_incomplete_event_size=64 * 1024)
    return uvicorn.Server(settings), listening, monitor


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address. Raises ConfigError for another host and for a port that cannot
    be had."""
    name = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(f"host is {host!r}; allowed is a loopback address (127.0.0.1, ::1, localhost): the gateway "
                          "asks nobody who they are, so it must not be reachable from other machines")
    if not 0 <= port <= 65535:
        raise ConfigError(f"port is {port}; allowed is a number from 0 (any free one) to 65535")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        return socket.create_server((name, port), family=family, backlog=512)
    except OSError as error:
        why = "is in use by another program; stop it or choose another port" if error.errno == errno.EADDRINUSE \
            else f"cannot be had: {error.strerror}"
        raise ConfigError(f"port {port} on {host} {why}") from None


def _serve(server: "uvicorn.Server", listening: socket.socket, monitor: Monitor, url: str, seed: int | None) -> None:
    """Until told to stop. seed: of the demo, None: no demo."""
    if seed is None:
        _say(url, False, monitor)
        server.run(sockets=[listening])
        return
    from ztmon.gateway.demo import Demo
    life = Demo(monitor, seed)
    try:
        life.start()
        _say(url, True, monitor)
        server.run(sockets=[listening])
    finally:
        life.stop()


def _say(url: str, demo: bool, monitor: Monitor) -> None:
    mode = "shadow mode: nothing is enforced" if monitor.settings["shadow"] else "decisions are to be enforced"
    print(f"ztmon is at {url} ({mode}). Ctrl-C ends it.", flush=True)
    if demo:
        print("Simulated partners are sending traffic; every other minute one of them turns bad.", flush=True)


def _stopping(_number: int, _frame: object) -> None:
    raise SystemExit(0)
