"""Guarded applications under the servers they are deployed with, as their users start them: several workers, one state."""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from ztmon import Action, Config, Monitor

from .servers import until
from .webapps import call, problem

APPLICATION = """
import os
import ztmon

monitor = ztmon.Monitor(ztmon.Config(state=os.environ["STATE_FILE"], capacity=1000, shadow=False))


def flask():
    from flask import Flask
    from ztmon.adapters.flask import Ztmon
    app = Flask(__name__)
    app.add_url_rule("/orders/<order>", view_func=lambda order: order)
    Ztmon(app, monitor, partner=lambda request: request.headers.get("x-partner"))
    return app


def fastapi():
    from fastapi import FastAPI
    from ztmon.adapters.fastapi import ZtmonMiddleware
    app = FastAPI()
    app.add_api_route("/orders/{order}", lambda order: order)
    app.add_middleware(ZtmonMiddleware, monitor=monitor, partner=lambda request: request.headers.get("x-partner"))
    return app
"""

SERVERS = {
    "gunicorn": ["gunicorn", "-w", "2", "-b", "127.0.0.1:0", "application:flask()"],
    "gunicorn with gevent": ["gunicorn", "-k", "gevent", "-w", "2", "-b", "127.0.0.1:0", "application:flask()"],
    "uvicorn": ["uvicorn", "--workers", "2", "--port", "0", "--factory", "application:fastapi"],
}


@contextmanager
def served(command, folder):
    """(state file, port)"""
    (folder / "application.py").write_text(APPLICATION)
    state = str(folder / "state")
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, stdout=said, stderr=said,
            env={**os.environ, "STATE_FILE": state, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})

    def port():
        assert process.poll() is None, (folder / "said").read_text()
        return re.search(r"http://127\.0\.0\.1:(\d+)", (folder / "said").read_text())

    def reachable(number):
        with suppress(OSError), socket.create_connection(("127.0.0.1", number), 5):
            return True
        return False

    try:
        number = int(until(port)[1])
        until(lambda: reachable(number), "a server that listens")
        yield state, number
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("server", SERVERS)
def test_a_block_holds_in_all_workers(server, tmp_path):
    """What one worker learns all know; who is blocked from outside is refused by each of them."""
    with served(SERVERS[server], tmp_path) as (state, port):
        for i in range(20):
            assert call(port, f"/orders/{i}", key=None, **{"X-Partner": "acme"})[0] == 200
        with Monitor(Config(state=state, capacity=1000, shadow=False)) as monitor:
            until(lambda: monitor.profile("acme") and monitor.profile("acme").events == 20)
            assert [name for name, _ in monitor.profile("acme").endpoints] == ["GET /orders/{id}"]
            monitor.pin("acme", Action.BLOCK, reason="a test")
            for i in range(20):
                assert problem(call(port, f"/orders/{i}", key=None, **{"X-Partner": "acme"}))["status"] == 403
            assert call(port, "/orders/1", key=None, **{"X-Partner": "globex"})[0] == 200
