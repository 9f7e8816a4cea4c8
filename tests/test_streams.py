"""What goes on for a while: server-sent events, WebSockets, background tasks, callers who leave, files and ranges, mounted
applications; behind real servers."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import pytest
import websockets.sync.client
from websockets.exceptions import InvalidStatus

from ztmon import Action, Config, Monitor
from ztmon.adapters.asgi import ZtmonMiddleware
from ztmon.adapters.templates import Templates, uncovered
from ztmon.guard.rules import HEALTH, Rule, Rules

from . import webapps
from .frameworks import Boom
from .servers import until
from .webapps import call

RULES = Rules({}, HEALTH, Rule())


@contextmanager
def guarded(app, **settings):
    """(port, monitor, calls)"""
    calls = []
    with Monitor(Config(shadow=False)) as monitor, \
            webapps.asgi(ZtmonMiddleware(app, monitor, partner="acme", on_call=calls.append, **settings)) as port:
        yield port, monitor, calls


def only(calls):
    until(lambda: calls, "a call")
    (told,) = calls
    return told


def start(send, status=200):
    return send({"type": "http.response.start", "status": status, "headers": []})


def test_server_sent_events_are_one_call_when_they_end():
    """Nothing is held back while a stream goes on; when it ends it is one event with all its bytes and the first byte's time."""
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    more = threading.Event()

    async def events(request):
        async def parts():
            yield b"data: 1\n\n"
            await asyncio.to_thread(more.wait, 20)
            yield b"data: 2\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    with guarded(Starlette(routes=[Route("/events", events)])) as (port, _, calls), \
            socket.create_connection(("127.0.0.1", port), 20) as caller:
        caller.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while b"data: 1" not in got:
            got += caller.recv(65536)
        assert calls == []
        more.set()
        while part := caller.recv(65536):
            got += part
        assert b"data: 2" in got
        told = only(calls)
    assert (told.status, told.response_bytes, told.endpoint) == (200, 18, "/events")
    assert told.first_byte_ms < told.last_byte_ms


def test_a_background_task_is_not_part_of_the_call():
    """The event is there when the last byte was sent, however long the application goes on behind it; what the task raises is not
    the call's."""
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    done = threading.Event()

    async def work():
        await asyncio.to_thread(done.wait, 20)
        raise Boom

    async def page(request):
        return PlainTextResponse("ok", background=BackgroundTask(work))

    with guarded(Starlette(routes=[Route("/", page)])) as (port, _, calls):
        assert call(port)[0] == 200
        assert only(calls).status == 200
        done.set()
    assert only(calls).status == 200


def test_a_caller_who_leaves_is_known_as_499():
    """The connection is closed while the handler waits: CancelledError, ConnectionError or a disconnect message end the call."""
    waiting = threading.Event()

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        message = await receive()
        waiting.set()
        while message["type"] != "http.disconnect":
            message = await receive()
        raise ConnectionResetError

    with guarded(app) as (port, _, calls):
        with socket.create_connection(("127.0.0.1", port), 20) as caller:
            caller.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            assert waiting.wait(20)
        assert only(calls).status == 499


def test_a_stream_that_breaks_off_is_known_with_what_was_sent():
    """A caller who leaves in the middle of a stream, whose framework stops it, leaves an event with the status and the bytes."""
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def endless(request):
        async def parts():
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.005)

        return StreamingResponse(parts())

    with guarded(Starlette(routes=[Route("/", endless)])) as (port, _, calls):
        with socket.create_connection(("127.0.0.1", port), 20) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            caller.recv(65536)
        told = only(calls)
    assert told.status in (200, 499)
    assert told.response_bytes >= 1000


def test_an_answer_that_fails_half_way_is_a_500():
    """An exception after the first part is the application's fault, and goes on to the server."""
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await start(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise Boom

    with guarded(app) as (port, _, calls):
        with socket.create_connection(("127.0.0.1", port), 20) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while caller.recv(65536):
                pass
        told = only(calls)
    assert (told.status, told.response_bytes) == (500, 4)


def test_a_websocket_is_one_call_at_its_handshake():
    """101 when it is accepted, whatever follows; a handshake that the application turns down is 403; a blocked partner's is
    refused before the application sees it."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def echo(websocket):
        await websocket.accept()
        for _ in range(3):
            await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    async def closed(websocket):
        await websocket.close()

    routes = [WebSocketRoute("/rooms/{room}", echo), WebSocketRoute("/closed", closed)]
    with guarded(Starlette(routes=routes)) as (port, monitor, calls):
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/rooms/lobby") as connection:
            until(lambda: len(calls) == 1)
            for word in ("one", "two", "three"):
                connection.send(word)
                assert connection.recv() == word
        assert (only(calls).status, only(calls).endpoint, only(calls).method) == (101, "/rooms/{room}", "GET")
        with pytest.raises(InvalidStatus, match="403"):
            websockets.sync.client.connect(f"ws://127.0.0.1:{port}/closed")
        until(lambda: len(calls) == 2)
        assert calls[-1].status == 403
        monitor.pin("acme", Action.BLOCK, reason="a test")
        with pytest.raises(InvalidStatus, match="403"):
            websockets.sync.client.connect(f"ws://127.0.0.1:{port}/rooms/lobby")
        assert len(calls) == 2
    assert dict(uncovered(Starlette(routes=routes), RULES))["/closed"].startswith("of a WebSocket only the handshake")


def test_ranges_and_files(tmp_path):
    """A part of a file is 206 with the bytes of the part, a whole one 200 with all of them."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    data = bytes(100_000)
    (tmp_path / "data.bin").write_bytes(data)

    async def part(request):        # older Starlettes do not serve ranges themselves
        first, _, end = request.headers["range"].removeprefix("bytes=").partition("-")
        return Response(data[int(first) : int(end) + 1], 206, {"Content-Range": f"bytes {first}-{end}/{len(data)}"})

    routes = [Route("/parts/{name}", part), Mount("/files", StaticFiles(directory=tmp_path))]
    with guarded(Starlette(routes=routes)) as (port, _, calls):
        status, _, body = call(port, "/parts/data.bin", Range="bytes=10-1009")
        assert (status, len(body)) == (206, 1000)
        told = only(calls)
        assert (told.status, told.response_bytes, told.endpoint) == (206, 1000, "/parts/{name}")
        assert len(call(port, "/files/data.bin")[2]) == 100_000
        until(lambda: len(calls) == 2)
    assert (calls[-1].status, calls[-1].response_bytes, calls[-1].endpoint) == (200, 100_000, "/files/data.bin")


def test_mounted_applications_and_routers_have_whole_templates():
    """The template of a route is the whole one, under mounts with parameters, nested routers and applications of FastAPI."""
    from fastapi import APIRouter, FastAPI
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def page(request):
        return PlainTextResponse("ok")

    inner, outer, api = APIRouter(prefix="/items"), APIRouter(prefix="/shops/{shop}"), FastAPI()

    @inner.get("/{item}")
    async def item(shop: str, item: str):
        return item

    @inner.get("/{item}/files/{path:path}")
    async def file(shop: str, item: str, path: str):
        return path

    @api.get("/top/{name}")
    async def top(name: str):
        return name

    outer.include_router(inner)
    api.include_router(outer, prefix="/v1")
    under = Starlette(routes=[Route("/users/{user}", page), Route("/plain", page)])
    app = Starlette(routes=[Mount("/api", api), Mount("/tenants/{tenant}", under), Route("/", page)])
    expected = {
        "/api/v1/shops/berlin/items/tea": "/api/v1/shops/{shop}/items/{item}",
        "/api/v1/shops/berlin/items/tea/files/a/b/c": "/api/v1/shops/{shop}/items/{item}/files/{path:path}",
        "/api/top/x": "/api/top/{name}",
        "/tenants/blue/users/ann": "/tenants/{tenant}/users/{user}",
        "/tenants/blue/plain": "/tenants/{tenant}/plain",
        "/": "/",
        "/tenants/blue/nowhere": "/tenants/{tenant}/nowhere",
    }
    with guarded(app) as (port, _, calls):
        for _ in range(2):
            for path in expected:
                call(port, path)
        until(lambda: len(calls) == 2 * len(expected))
    found = [told.endpoint for told in calls]
    assert found[: len(expected)] == found[len(expected):]
    assert dict(zip(expected, found, strict=False)) == expected
    assert not list(uncovered(app, RULES)) or all("/api/" in path for path, _ in uncovered(app, RULES))


def test_what_is_not_covered_is_said_at_the_start(caplog):
    """Exempt routes, WebSockets and applications without routes, each with the reason; routes of routers among them."""
    from fastapi import APIRouter, FastAPI
    from starlette.staticfiles import StaticFiles

    app, router = FastAPI(openapi_url=None), APIRouter(prefix="/internal")
    router.add_api_route("/jobs", lambda: "", methods=["GET"])
    app.add_api_route("/healthz", lambda: "")
    app.add_api_route("/orders", lambda: "")
    app.include_router(router, prefix="/v1")
    app.mount("/static", StaticFiles(directory="."))
    rules = Rules({"/v1/internal/jobs": {"exempt": True}}, HEALTH, Rule())
    assert dict(uncovered(app, rules)) == {
        "/healthz": "it is exempt", "/v1/internal/jobs": "it is exempt",
        "/static/..": "an application without routes that could be read; its paths are told apart as they come"}
    with webapps.asgi(ZtmonMiddleware(app)) as port:
        call(port, "/orders")
    said = [record.getMessage() for record in caplog.records if "does not cover" in record.getMessage()]
    assert len(said) == 1
    assert "/healthz (it is exempt)" in said[0]


def test_templates_of_routes_that_are_gone_are_not_mistaken():
    """A route at the address of one that was collected is known by itself, and so is one that shares its place."""
    class Route:
        def __init__(self, path):
            self.path = path

    templates = Templates()
    first = Route("/a/{x}")
    assert templates.find({"route": first, "path": "/a/1"}) == "/a/{x}"
    second = Route("/b/{y}")
    templates.whole[id(second)] = templates.whole.pop(id(first))
    assert templates.find({"route": second, "path": "/b/1"}) == "/b/{y}"


def test_many_routes_are_told_apart():
    """More routes than places are remembered natively, called in turn: each call is known by its own."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def page(request):
        return PlainTextResponse("ok")

    routes = [Route(f"/area{i}/{{x}}", page) for i in range(150)]
    with guarded(Starlette(routes=routes)) as (port, _, calls):
        for _ in range(2):
            for i in range(150):
                call(port, f"/area{i}/{i}")
        until(lambda: len(calls) == 300)
    assert [told.endpoint for told in calls] == [f"/area{i}/{{x}}" for i in range(150)] * 2
