"""Real servers with several worker processes: one partner is seen whole, a block holds in all of them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ztmon import Action, Config, Monitor
from ztmon.state import read

from .servers import until

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
    "gunicorn with gevent": ["gunicorn", "-k", "gevent", "-w", str(WORKERS), "-b", "127.0.0.1:0", "application:wsgi"],
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

    def ask(partner, path):
        wanted = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-Partner": partner, "Connection": "close"})
        try:
            with urllib.request.urlopen(wanted, timeout=PATIENCE) as answer:
                return answer.status, int(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, int(error.read())

    def listening():
        text = (tmp_path / "said").read_text()
        assert process.poll() is None, text
        return re.search(r"http://127\.0\.0\.1:(\d+)", text)

    def attached():
        assert process.poll() is None, (tmp_path / "said").read_text()
        with contextlib.suppress(Exception):
            return len(read(state)["workers"]) >= WORKERS

    try:
        port = until(listening, "a server that listens", PATIENCE)[1]
        until(attached, "all workers at the state", PATIENCE)
        yield state, ask
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        said.close()


def of_each(ask, partner):
    """An answer of each worker: who has given his is stopped, so that the others must come forward."""
    answers = []
    try:
        while len(answers) < WORKERS:
            answers.append(ask(partner, "/orders"))
            os.kill(answers[-1][1], signal.SIGSTOP)
    finally:
        for _, pid in answers:
            os.kill(pid, signal.SIGCONT)
    return answers


def test_all_workers_see_one_partner(server):
    """Calls spread over the workers are counted as one partner's; a block set by one of them is obeyed by all."""
    state, ask = server
    answers = [ask("acme", "/orders") for _ in range(200)] + of_each(ask, "acme")
    assert {status for status, _ in answers} == {200}
    watching = Monitor(Config(state=state, capacity=1000, shadow=False))
    assert watching.profile("acme").events == len(answers)
    ask("acme", "/block")
    assert watching.check("acme").action is Action.BLOCK
    assert {status for status, _ in of_each(ask, "acme")} == {403}
    assert ask("somebody-else", "/orders")[0] == 200
    watching.close()


SPAWNED = """
import multiprocessing
import sys
import ztmon


def work(state, barrier):
    monitor = ztmon.Monitor(ztmon.Config(state=state, capacity=1000))
    barrier.wait({patience})
    for _ in range(500):
        monitor.observe("acme", "/orders")
    monitor.close()


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    mine = ztmon.Monitor(ztmon.Config(state=sys.argv[1], capacity=1000))
    workers = [context.Process(target=work, args=(sys.argv[1], barrier)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print([worker.exitcode for worker in workers], mine.profile("acme").events)
"""


def run(folder, code, *arguments):
    """What a script of its own says."""
    script = folder / "script.py"
    script.write_text(code)
    said = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_spawned_processes(tmp_path):
    """Processes that multiprocessing spawns attach to the state of the one that spawned them."""
    assert run(tmp_path, SPAWNED.format(patience=PATIENCE), tmp_path / "state") == "[0, 0, 0, 0] 2000\n"


INSIDE = """
import asyncio
import sys
import ztmon


async def client(monitor, name):
    for i in range(500):
        monitor.observe(name, "/orders")
        monitor.observe("everybody", "/orders")
        await asyncio.sleep(0)


async def main(state):
    monitor = ztmon.Monitor(ztmon.Config(state=state, capacity=1000))
    loop = asyncio.get_running_loop()
    aside = [loop.run_in_executor(None, lambda: [monitor.observe("everybody", "/orders") for _ in range(500)])
             for _ in range(4)]
    await asyncio.gather(*aside, *(client(monitor, f"client-{i}") for i in range(20)))
    print(monitor.profile("everybody").events, {monitor.profile(f"client-{i}").events for i in range(20)})
    monitor.close()


asyncio.run(main(sys.argv[1]))
"""


def test_tasks_and_their_executor(tmp_path):
    """Tasks of an event loop and the threads of its executor observe at once; every event counts."""
    assert run(tmp_path, INSIDE, tmp_path / "state") == "12000 {500}\n"


SUBINTERPRETER = """
import ztcore.core
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

try:
    failed = interpreters.run_string(interpreters.create(), "import ztmon")
except interpreters.RunFailedError as error:
    failed = error
print(failed)
"""


def test_a_subinterpreter_is_refused(tmp_path):
    """By an ImportError, before it could share what belongs to another interpreter; this one goes on."""
    assert re.search("ImportError.*(interpreter|subinterpreters)", run(tmp_path, SUBINTERPRETER), re.S)
