"""The gateway's routes: telemetry, control, looking back, settings at run time, its end; on a real process with a store."""

import gzip
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from threading import Thread

import msgpack
import pytest

from .gateways import EVENT, PATIENCE, PROGRAM, Gateway, attack, ztmon

pytest.importorskip("uvicorn")


def audit(gateway):
    return [line["line"] for line in gateway.get("/audit?limit=1000")[1]["lines"] if line["line"]]


# -- telemetry over HTTP -------------------------------------------------------------------------


def test_msgpack_gzip_and_no_waiting(gateway):
    """The same event as msgpack, gzipped, and without decisions."""
    event = EVENT | {"partnerId": "packed"}
    status, _, answer = gateway.ask("POST", "/telemetry", msgpack.packb([event, event]), {"content-type": "application/msgpack"})
    assert (status, json.loads(answer)["accepted"]) == (200, 2)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert gateway.ask("POST", "/telemetry", gzip.compress(json.dumps(event).encode()), headers)[0] == 200
    for body, n in ((event, 1), ([event, event], 2)):
        status, answer = gateway.post(body, path="/telemetry?wait=0")
        assert (status, answer) == (202, {"accepted": n, "rejected": 0, "problems": []})
    assert gateway.get("/partners/packed")[1]["events"] == 6
    bomb = gzip.compress(bytes(30_000_000))
    assert gateway.ask("POST", "/telemetry", bomb, headers)[0] == 413
    assert gateway.ask("POST", "/telemetry", b"x", headers | {"content-encoding": "br"})[0] == 415


def test_twenty_five_applications_side_by_side(gateway):
    """The same partner name in 25 applications is 25 partners; one application's can be listed by themselves."""
    gateway.post([EVENT | {"appId": f"app-{i}", "partnerId": "same"} for i in range(25) for _ in range(i + 1)])
    for i in (0, 24):
        found = gateway.get(f"/partners?app=app-{i}")[1]
        assert [(p["partner"], p["events"]) for p in found["partners"]] == [("same", i + 1)]
    assert len([p for p in gateway.get("/partners")[1]["partners"] if p["partner"] == "same"]) == 25


def test_slow_and_half_open_clients_hold_nobody_up(tmp_path):
    """Who sends a head or a body too slowly is told so and cut off; the others are served meanwhile."""
    settings = tmp_path / "ztmon.toml"
    settings.write_text("[gateway]\nhead_seconds = 0.5\nbody_seconds = 0.5\n")
    with Gateway("--config", str(settings)) as gateway:
        silent = [socket.create_connection((gateway.host, gateway.port), PATIENCE) for _ in range(50)]
        head, body, idle = (socket.create_connection((gateway.host, gateway.port), PATIENCE) for _ in range(3))
        head.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        body.sendall(b"POST /telemetry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n[")
        assert gateway.post(EVENT)[0] == 200
        event = json.dumps(EVENT).encode()
        for _ in range(3):
            idle.sendall(b"POST /telemetry HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
                         + str(len(event)).encode() + b"\r\n\r\n" + event)
            assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert head.recv(100).startswith(b"HTTP/1.1 408 ")
        assert body.recv(100).startswith(b"HTTP/1.1 408 ")
        assert all(connection.recv(100) == b"" for connection in silent)
        while idle.recv(4096):      # the rest of its answers, and then the end
            pass
        for connection in (head, body, idle, *silent):
            connection.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 70_000, b"431"),
        (b"GET /" + b"y" * 70_000, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"400"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"POST /telemetry HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
)
def test_what_is_no_http(gateway, sent, status):
    """An endless head, another protocol and broken framing get a problem and an end, and harm nobody."""
    with socket.create_connection((gateway.host, gateway.port), PATIENCE) as connection:
        connection.sendall(sent)
        answer = connection.recv(1000)
        assert answer.split(b" ")[1] == status
        assert b"application/problem+json" in answer
    assert gateway.get("/healthz") == (200, {"status": "ok"})


# -- control -------------------------------------------------------------------------------------


def test_what_people_do_is_done_and_written_down(gateway):
    """Pin, lift, restore, allow, cap and the like change the partner; each is in the audit log with who and why."""
    gateway.post(EVENT | {"partnerId": "subject"})
    path = "/partners/subject"
    status, profile = gateway.do("POST", f"{path}/pin", {"level": "quarantine", "ttl": 600, "reason": "pin reason"})
    assert (status, profile["level"], profile["pinned"]) == (200, "quarantine", True)
    assert profile["until"] == pytest.approx(time.time() + 600, abs=60)
    assert gateway.do("POST", f"{path}/reauthenticated")[1]["level"] == "monitor"
    gateway.do("POST", f"{path}/pin", {"level": "block", "reason": "again"})
    assert gateway.do("DELETE", f"{path}/pin?reason=lifted")[1]["level"] == "monitor"
    assert gateway.do("DELETE", f"{path}/pin?reason=lifted")[0] == 409
    assert gateway.do("PUT", f"{path}/allow", {"allowed": True, "reason": "a friend"})[1]["allowed"] is True
    assert gateway.do("PUT", f"{path}/allow", {"allowed": False, "reason": "no more"})[1]["allowed"] is False
    assert gateway.do("PUT", f"{path}/max-action", {"level": "alert", "reason": "gently"})[1]["max_action"] == "alert"
    assert gateway.do("POST", f"{path}/expect", {"until": time.time() + 3600, "rate": 5, "reason": "a sale"})[0] == 200
    assert gateway.do("POST", f"{path}/restore", {"reason": "all is well", "falsePositive": True})[0] == 200
    wanted = [("pin", "pin reason"), ("unpin", "lifted"), ("allow", "a friend"), ("cap", "gently"), ("expect", "a sale"),
              ("false alarm", "all is well")]
    gateway.until(lambda: {(line["what"], line["why"]) for line in audit(gateway)} >= set(wanted))
    assert {line["who"] for line in audit(gateway) if line["what"] in ("pin", "unpin", "false alarm")} == {"local"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/partners/acme/pin", {"level": "block"}, 422, "reason"),
        ("POST", "/partners/acme/pin", {"level": "kill", "reason": "x"}, 422, "Invalid enum value"),
        ("POST", "/partners/acme/pin", {"level": "block", "ttl": -1, "reason": "x"}, 422, "Expected `float` > 0"),
        ("POST", "/partners/acme/pin", [], 422, "Expected `object`"),
        ("POST", "/partners/acme/expect", {"until": 5, "reason": "x"}, 422, "in the future"),
        ("POST", "/partners/nobody-there/restore", {"reason": "x"}, 404, "no such partner"),
        ("DELETE", "/partners/nobody-there?reason=x", None, 404, "not known"),
        ("DELETE", "/partners/acme", None, 422, "reason is missing"),
        ("PATCH", "/config", {"changes": {"port": 1}, "reason": "x"}, 422, "port cannot be changed"),
        ("PATCH", "/config", {"changes": {"threshold_alert": 99}, "reason": "x"}, 422, "thresholds.throttle"),
        ("PATCH", "/config", {"changes": {"shadow": 3}, "reason": "x"}, 422, "shadow is 3"),
        ("DELETE", "/config/shadow?reason=x", None, 404, "not changed"),
        ("PUT", "/kill-switch", {"on": "yes", "reason": "x"}, 422, "Expected `bool`"),
        ("GET", "/partners/acme/history?since=yesterday", None, 400, "since is 'yesterday'"),
        ("GET", "/alerts?limit=0", None, 400, "limit is '0'"),
    ],
)
def test_what_cannot_be_done_is_told(gateway, method, path, body, status, said):
    """A wrong value, an unknown partner, a missing reason: a problem that says so, and nothing changes."""
    gateway.post(EVENT)
    before = gateway.get("/config")[1]["settings"]
    code, problem = gateway.do(method, path, body)
    assert code == problem["status"] == status
    assert said in problem["detail"] + problem.get("field", "")
    assert gateway.get("/config")[1]["settings"] == before


def test_forgetting_is_everywhere(gateway):
    """After forget a partner is known to no route, and no word of its name is in history or lists."""
    gateway.post(attack("gone"))
    gateway.do("PUT", "/partners/gone/allow", {"allowed": True, "reason": "x"})
    assert gateway.do("DELETE", "/partners/gone?reason=asked+for") == (200, {"forgotten": True})
    assert gateway.get("/partners/gone")[0] == 404
    assert gateway.get("/partners/gone/history")[1] == {"entries": []}
    shown = json.dumps([gateway.get(path)[1] for path in ("/config", "/partners", "/alerts")])
    assert '"gone"' not in shown


def test_looking_back(gateway):
    """History, alerts, scores and words of a partner that rose."""
    gateway.post(attack("loud"))
    gateway.until(lambda: gateway.get("/partners/loud/history")[1]["entries"])
    kinds = [entry["kind"] for entry in gateway.get("/partners/loud/history")[1]["entries"]]
    assert "level" in kinds
    alerts = gateway.get("/alerts")[1]
    assert "loud" in [alert["partner"] for alert in alerts["alerts"]]
    assert gateway.get("/partners/loud/history?until=1000")[1] == {"entries": []}
    assert "scores" in gateway.get("/partners/loud/scores")[1]
    assert b"loud is at " in gateway.ask("GET", "/partners/loud/explain")[2]


def test_settings_changed_while_running_win_until_they_are_cleared(tmp_path):
    """A change outlives a restart and beats the file; SIGHUP reads the file again; clearing lets the file decide."""
    file, store = tmp_path / "ztmon.toml", tmp_path / "ztmon.db"
    file.write_text('fall_minutes = 7.0\nallow = ["acme"]\n[thresholds]\nthrottle = 65.0\n')
    with Gateway("--config", str(file), store=store) as gateway:
        changes = {"threshold_throttle": 70.0, "shadow": False}
        status, answer = gateway.do("PATCH", "/config", {"changes": changes, "reason": "try"})
        assert (status, answer["stored"]) == (200, True)
        gateway.do("PUT", "/partners/acme/allow", {"allowed": False, "reason": "not any more"})
    with Gateway("--config", str(file), store=store) as gateway:
        assert "decisions are to be enforced" in gateway.said
        shown = gateway.get("/config")[1]
        throttle = shown["settings"]["threshold_throttle"]
        assert (throttle["value"], throttle["file"]) == (70.0, 65.0)
        assert (throttle["changed"]["by"], throttle["changed"]["reason"]) == ("local", "try")
        assert shown["settings"]["fall_minutes"] == {"value": 7.0, "file": 7.0, "changed": None}
        assert shown["allow"] == []
        file.write_text('fall_minutes = 8.0\nallow = ["acme", "bolt"]\n[thresholds]\nthrottle = 66.0\n'
                        "[gateway]\nback_seconds = 60\n")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: gateway.get("/config")[1]["settings"]["fall_minutes"]["value"] == 8.0)
        shown = gateway.get("/config")[1]
        assert (shown["settings"]["threshold_throttle"]["value"], shown["settings"]["threshold_throttle"]["file"]) == (70.0, 66.0)
        assert shown["allow"] == ["default/bolt"]
        assert shown["gateway"]["back_seconds"] == 60
        file.write_text("fall_minutes = -1\n")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: any("settings stay as they were" in line for line in gateway.errors))
        assert gateway.do("DELETE", "/config/threshold_throttle?reason=back")[0] == 200
        assert gateway.get("/config")[1]["settings"]["threshold_throttle"]["value"] == 66.0
        for wanted in (("try", {"shadow": False, "threshold_throttle": 70.0}), ("back", {"threshold_throttle": 66.0})):
            gateway.until(lambda wanted=wanted: wanted in [(line["why"], line["after"]) for line in audit(gateway)])


def test_without_a_store_a_change_lasts_as_long_as_the_process(tmp_path):
    """Neither SIGHUP nor time undoes what people decided; each is in the log, with who and why."""
    with Gateway(env={"SHADOW_MODE": "false"}) as gateway:
        gateway.post(EVENT)
        gateway.do("PUT", "/kill-switch", {"on": True, "reason": "an outage"})
        gateway.do("PUT", "/partners/acme/allow", {"allowed": True, "reason": "ours"})
        gateway.do("PATCH", "/config", {"changes": {"threshold_throttle": 70.0, "max_error_rate": None}, "reason": "try"})
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: any("settings were read again" in line for line in gateway.errors))
        shown = gateway.get("/config")[1]
        assert [shown["settings"][name]["value"] for name in ("kill_switch", "threshold_throttle")] == [True, 70.0]
        assert shown["allow"] == ["default/acme"]
        assert any("kill_switch is on by local (an outage)" in line for line in gateway.errors)
        assert any("threshold_throttle is 70 by local (try)" in line for line in gateway.errors)


def test_the_kill_switch_is_known_to_all_processes_of_a_store(tmp_path):
    """Turned on by one gateway, it is in force at another of the same state and store within seconds."""
    common = "--state", str(tmp_path / "state"),
    with Gateway(*common, store=tmp_path / "ztmon.db") as one, Gateway(*common, store=tmp_path / "ztmon.db") as two:
        assert one.do("PUT", "/kill-switch", {"on": True, "reason": "stop"})[0] == 200
        two.until(lambda: two.get("/stats")[1]["kill_switch"] is True)


def test_secrets_are_masked(tmp_path):
    """The configuration that is shown has no password and no key in it."""
    env = {"ZTMON_HASH_KEY": "00112233445566778899aabbccddeeff"}
    with Gateway(store=tmp_path / "ztmon.db", env=env) as gateway:
        text = json.dumps(gateway.get("/config")[1])
        assert "00112233" not in text
        assert gateway.get("/config")[1]["fixed"]["hash_key"] == "(hidden)"
    from ztmon.gateway.reading import masked
    assert masked("redis://:secret@host:6379/0") == "redis://(hidden)@host:6379/0"
    assert masked("redis://host:6379/0") == "redis://host:6379/0"


# -- the end, and from code ----------------------------------------------------------------------


def test_sigterm_loses_no_accepted_event(tmp_path):
    """Events are posted until the gateway is gone; all that were answered are in the store at the next start."""
    store = tmp_path / "ztmon.db"
    gateway = Gateway(store=store)
    accepted = [0] * 4

    def send(i):
        connection = gateway.connect()
        body = json.dumps([EVENT | {"partnerId": f"p{i}"}] * 50).encode()
        try:
            while True:
                connection.request("POST", "/telemetry", body, {"content-type": "application/json"})
                accepted[i] += json.loads(connection.getresponse().read())["accepted"]
        except (OSError, http.client.HTTPException):
            connection.close()

    threads = [Thread(target=send, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    gateway.until(lambda: min(accepted) >= 500)
    assert gateway.stop()[0] == 0
    for thread in threads:
        thread.join()
    with Gateway(store=store) as again:
        events = [again.get(f"/partners/p{i}")[1]["events"] for i in range(4)]
    assert all(kept >= told for kept, told in zip(events, accepted, strict=True)), (events, accepted)
    assert sum(events) - sum(accepted) <= 4 * 50


def test_from_code(tmp_path):
    """ztmon.Gateway(config).run() serves, and the same object mounts into another ASGI application."""
    code = """
import sys, ztmon
sys.exit(ztmon.Gateway(ztmon.Config(capacity=1024, gateway={"port": 0})).run())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+) ", process.stdout.readline())[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/telemetry", json.dumps(EVENT), {"content-type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


def test_mounted_in_another_application():
    """Under a prefix its routes are the same, around the application's own monitor."""
    import asyncio

    from ztmon import Config, Monitor
    from ztmon import Gateway as App

    monitor = Monitor(Config(capacity=64))
    app = App(monitor=monitor)
    sent = []

    async def ask(method, path, body=b"", root="/ztmon"):
        sent.clear()
        scope = {"type": "http", "method": method, "path": root + path, "raw_path": (root + path).encode(), "root_path": root,
                 "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    assert asyncio.run(ask("POST", "/telemetry", json.dumps(EVENT).encode()))[0] == 200
    assert asyncio.run(ask("GET", "/partners/acme"))[1]["events"] == 1
    app.close()
    assert monitor.profile("acme").events == 1
    monitor.close()


def test_ztmon_explains_its_options():
    """The command names what it takes."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, "serve", "--help"], capture_output=True, text=True, timeout=PATIENCE)
    assert "--tls-certificate" in done.stdout
    assert ztmon("--version").startswith("ztmon ")
