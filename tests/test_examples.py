"""The programs of docs/adapters.md do what the page says, served and attacked."""

import importlib.util
import threading

import pytest

from . import webapps
from .gateways import HttpServer, QuietHandler
from .pages import blocks
from .servers import until
from .webapps import call

ATTACK = "/orders/{}?q=%27%20OR%201=1--"


def load(name, folder):
    """A program of the page as a module."""
    (text,) = [block.text for block in blocks("docs/adapters.md") if block.title == name]
    path = folder / name
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Told(HttpServer):
    """A pager and a chat: keeps what is posted, by path."""

    def __init__(self):
        self.said = said = []

        class Handler(QuietHandler):
            def do_POST(self):
                said.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.send_response(204)
                self.end_headers()

        super().__init__(Handler)


@pytest.mark.parametrize(("name", "serve"), [("fastapi_service.py", webapps.asgi), ("flask_service.py", webapps.wsgi)])
def test_the_advanced_example(name, serve, tmp_path, monkeypatch):
    """An attack is stopped at the thresholds that were set, the chat hears of it, the pager too, and the levels are counted;
    everybody else is served meanwhile."""
    with Told() as told:
        monkeypatch.setenv("CHAT_URL", f"{told.url}/chat")
        monkeypatch.setenv("PAGER_URL", f"{told.url}/pager")
        module = load(name, tmp_path)
        assert module.monitor.settings["threshold_throttle"] == 50.0
        with serve(module.app) as port:
            found = [call(port, ATTACK.format(i), **{"X-Client": "attacker"})[0] for i in range(30)]
            assert found[0] == 200
            assert found[-1] in (401, 403, 429)
            assert call(port, "/orders/1", **{"X-Client": "acme"})[0] == 200
            module.monitor.flush()
            until(lambda: {path for path, _ in told.said} == {"/chat", "/pager"})
            assert any("attacker is at" in text for _, text in told.said)
            assert b"throttle" in call(port, "/levels", **{"X-Client": "acme"})[2] or module.levels
            assert sum(module.levels.values()) == len([text for path, text in told.said if path == "/chat"])
        module.monitor.close()


def test_a_callback_that_hangs_holds_up_no_request(tmp_path, monkeypatch):
    """While the pager does not answer, calls go on."""
    module = load("fastapi_login.py", tmp_path)
    hanging, go = threading.Event(), threading.Event()

    @module.monitor.on_action
    def pager(response):
        hanging.set()
        go.wait(20)

    with webapps.asgi(module.app) as port:
        for i in range(20):
            call(port, ATTACK.format(i), **{"X-Client": "attacker"})
        assert hanging.wait(20)
        assert [call(port, "/orders/1", **{"X-Client": "acme"})[0] for _ in range(5)] == [200] * 5
        go.set()
    module.monitor.close()


def test_a_quarantine_ends_at_the_log_in(tmp_path):
    """An attack under the partner's name leads to quarantine: everything is 401 but the log-in, which ends it."""
    import ztmon

    module = load("fastapi_login.py", tmp_path)
    who = {"X-Client": "acme"}
    with webapps.asgi(module.app) as port:
        assert call(port, "/orders/1", **who)[0] == 200
        module.monitor.configure(threshold_block=100.0, threshold_quarantine=40.0, threshold_throttle=35.0)
        seen = []
        for i in range(60):
            seen.append(call(port, f"/orders/{i}?q=%27%20OR%201=1--", **who)[0])
            if seen[-1] == 401:
                break
        assert seen[-1] == 401
        assert module.monitor.profile("acme").level is ztmon.Action.QUARANTINE
        refused = call(port, "/orders/2", **who)
        assert refused[0] == 401
        assert "authenticate anew" in refused[1]["WWW-Authenticate"]
        assert [call(port, "/orders/2", **who)[0] for _ in range(3)] == [401] * 3
        assert call(port, "/orders/2", **{"X-Client": "globex"})[0] == 200
        assert call(port, "/login", "POST", b"", **who)[2] == b'{"restored":true}'
        assert call(port, "/orders/2", **who)[0] == 200
        assert call(port, "/login", "POST", b"", **who)[2] == b'{"restored":false}'
    module.monitor.close()
