"""Real servers with several worker processes: one partner is seen whole, a block holds in all of them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ztmon import Action, Config, Monitor
from ztmon.state import read

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a state file needs Linux")

BIN = Path(sys.executable).parent
WORKERS = 4
PATIENCE = 60

APPLICATION = """
import os
import ztmon

monitor = ztmon.Monitor(ztmon.Config(state=os.environ["STATE_FILE"], capacity=1000, shadow=False))


def serve(partner, path):
    if path == "/block":
        monitor.pin(partner, ztmon.Action.BLOCK)
    enforced = monitor.check(partner).enforced
    monitor.observe(partner, path, status=403 if enforced else 200)
    return (403 if enforced else 200), str(os.getpid()).encode()


def wsgi(environ, start_response):
    status, body = serve(environ["HTTP_X_PARTNER"], environ["PATH_INFO"])
    start_response(f"{status} whatever", [("content-length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    status, body = serve(dict(scope["headers"])[b"x-partner"].decode(), scope["path"])
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

SERVERS = {
    "gunicorn": ["gunicorn", "-w", str(WORKERS), "-b", "127.0.0.1:0", "application:wsgi"],
    "gunicorn --preload": ["gunicorn", "--preload", "-w", str(WORKERS), "-b", "127.0.0.1:0", "application:wsgi"],
    "gunicorn with threads": ["gunicorn", "-w", str(WORKERS), "--threads", "4", "-b", "127.0.0.1:0", "application:wsgi"],
    "uvicorn": ["uvicorn", "--workers", str(WORKERS), "--port", "0", "application:asgi"],
}


@pytest.fixture(params=SERVERS)
def server(request, tmp_path):
    """(state file, ask): ask(partner, path) is (status, pid of the worker)."""
    command = SERVERS[request.param]
    if not (BIN / command[0]).exists():
        pytest.importorskip(command[0])
    (tmp_path / "application.py").write_text(APPLICATION)
    state = str(tmp_path / "state")
    said = (tmp_path / "said").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=tmp_path, stdout=said, stderr=said, start_new_session=True,
        env={**os.environ, "STATE_FILE": state, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip

    def until(found):
        deadline = time.monotonic() + PATIENCE
        while not (answer := found()):
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            os.sched_yield()
        return answer

    def ask(partner, path):
        wanted = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-Partner": partner, "Connection": "close"})
        try:
            with urllib.request.urlopen(wanted, timeout=PATIENCE) as answer:
                return answer.status, int(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, int(error.read())

    def attached():
        with contextlib.suppress(Exception):
            return len(read(state)["workers"]) >= WORKERS

    port = until(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", (tmp_path / "said").read_text()))[1]
    until(attached)
    yield state, ask
    os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    said.close()


def test_all_workers_see_one_partner(server):
    """Calls spread over the workers are counted as one partner's; a block set by one of them is obeyed by all."""
    state, ask = server
    answers = []
    while len({pid for _, pid in answers}) < 2 or len(answers) < 200:
        answers.append(ask("acme", "/orders"))
        assert len(answers) < 5000
    assert {status for status, _ in answers} == {200}
    watching = Monitor(Config(state=state, capacity=1000, shadow=False))
    assert watching.profile("acme").events == len(answers)
    ask("acme", "/block")
    assert watching.check("acme").action is Action.BLOCK
    pids = {pid for _, pid in answers}
    refused = []
    while not pids <= {pid for _, pid in refused}:
        refused.append(ask("acme", "/orders"))
        assert len(refused) < 5000
    assert {status for status, _ in refused} == {403}
    assert ask("somebody-else", "/orders")[0] == 200
    watching.close()
