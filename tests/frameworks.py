"""The same small service in every framework, for the tests of the adapters: each factory returns (guarded application, how it is
served). Its routes:

    GET /orders/{order}     JSON                    POST /orders    how many bytes came
    GET /stream             three parts             GET /boom       raises
    GET /unchanged          304                     GET /healthz    exempt
    GET /login?..           401
"""

import asyncio

PARTS = [b"one,", b"two,", b"three"]
CHUNK = b"".join(PARTS)


class Boom(Exception):
    """What /boom raises."""


def plain_asgi(**settings):
    from ztmon.adapters.asgi import ZtmonMiddleware

    async def answer(send, status, body, **more):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        path = scope["path"]
        if path == "/orders":
            size, more = 0, True
            while more:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
            await answer(send, 200, b"%d" % size)
        elif path.startswith("/orders/"):
            await answer(send, 200, b'{"order":1}')
        elif path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in PARTS:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b""})
        elif path == "/boom":
            raise Boom
        elif path == "/unchanged":
            await answer(send, 304, b"")
        elif path == "/login":
            await answer(send, 401, b"no")
        else:
            await answer(send, 200 if path == "/healthz" else 404, b"ok")

    return ZtmonMiddleware(app, **settings)


def plain_wsgi(**settings):
    from ztmon.adapters.wsgi import ZtmonMiddleware

    def app(environ, start):
        path = environ["PATH_INFO"]
        if path == "/orders":
            size = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start("200 OK", [])
            return [b"%d" % size]
        if path.startswith("/orders/"):
            start("200 OK", [("Content-Length", "11")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [b'{"order":1}']
        if path == "/stream":
            start("200 OK", [])
            return iter(PARTS)
        if path == "/boom":
            raise Boom
        if path == "/unchanged":
            start("304 Not Modified", [])
            return []
        if path == "/login":
            start("401 Unauthorized", [])
            return [b"no"]
        start("200 OK" if path == "/healthz" else "404 Not Found", [])
        return [b"ok"]

    return ZtmonMiddleware(app, **settings)


def starlette_routes():
    from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def order(request):
        return JSONResponse({"order": 1})

    async def create(request):
        return PlainTextResponse(str(len(await request.body())))

    async def stream(request):
        return StreamingResponse(iter(PARTS))

    async def boom(request):
        raise Boom

    async def unchanged(request):
        return Response(status_code=304)

    async def health(request):
        return PlainTextResponse("ok")

    async def login(request):
        return PlainTextResponse("no", 401)

    return [Route("/orders/{order}", order), Route("/orders", create, methods=["POST"]), Route("/stream", stream),
            Route("/boom", boom), Route("/unchanged", unchanged), Route("/healthz", health), Route("/login", login)]


def starlette(**settings):
    from starlette.applications import Starlette

    from ztmon.adapters.fastapi import ZtmonMiddleware

    app = Starlette(routes=starlette_routes())
    app.add_middleware(ZtmonMiddleware, **settings)
    return app


def fastapi(**settings):
    from fastapi import APIRouter, FastAPI, Request, Response
    from fastapi.responses import PlainTextResponse, StreamingResponse

    from ztmon.adapters.fastapi import ZtmonMiddleware

    app = FastAPI()
    router = APIRouter(prefix="/orders")

    @router.api_route("/{order}", methods=["GET", "HEAD"])
    async def order(order: str):
        return {"order": 1}

    @router.post("")
    async def create(request: Request):
        return len(await request.body())

    @app.get("/stream")
    def stream():
        return StreamingResponse(iter(PARTS))

    @app.get("/boom")
    def boom():
        raise Boom

    @app.get("/unchanged")
    def unchanged():
        return Response(status_code=304)

    @app.get("/healthz")
    def health():
        return PlainTextResponse("ok")

    @app.get("/login")
    def login():
        return PlainTextResponse("no", 401)

    app.include_router(router)
    app.add_middleware(ZtmonMiddleware, **settings)
    return app


def litestar(**settings):
    from litestar import Litestar, Request, get, post
    from litestar.response import Response, Stream

    from ztmon.adapters.asgi import ZtmonMiddleware

    @get("/orders/{order:str}")
    async def order(request: Request) -> dict[str, int]:
        return {"order": 1}

    @post("/orders", status_code=200, media_type="text/plain")
    async def create(request: Request) -> str:
        return str(len(await request.body()))

    @get("/stream")
    async def stream() -> Stream:
        return Stream(iter(PARTS))

    @get("/boom")
    async def boom() -> None:
        raise Boom

    @get("/unchanged", status_code=304)
    async def unchanged() -> None:
        return None

    @get("/healthz", media_type="text/plain")
    async def health() -> str:
        return "ok"

    @get("/login")
    async def login() -> Response:
        return Response("no", status_code=401, media_type="text/plain")

    for handler in (order, create, stream, boom, unchanged, health, login):
        handler.sync_to_thread = False
    return ZtmonMiddleware(Litestar([order, create, stream, boom, unchanged, health, login], openapi_config=None), **settings)


def flask(**settings):
    from flask import Blueprint, Flask, Response, request

    from ztmon.adapters.flask import Ztmon

    app = Flask("service")
    orders = Blueprint("orders", "service", url_prefix="/orders")

    @orders.get("/<order>")
    def order(order):
        return {"order": 1}

    @orders.post("")
    def create():
        return str(len(request.get_data()))

    @app.get("/stream")
    def stream():
        return Response(iter(PARTS))

    @app.get("/boom")
    def boom():
        raise Boom

    @app.get("/unchanged")
    def unchanged():
        return Response(status=304)

    @app.get("/healthz")
    def health():
        return "ok"

    @app.get("/login")
    def login():
        return "no", 401

    app.register_blueprint(orders)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    Ztmon(app, **settings)
    return app


def django_urls():
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import include, path, re_path

    def boom(request):
        raise Boom

    async def parts():
        for part in PARTS:
            yield part

    def stream(request):
        return StreamingHttpResponse(parts() if hasattr(request, "scope") else iter(PARTS))

    return [path("orders/<order>", lambda request, order: JsonResponse({"order": 1})),
            path("shops/<int:shop>/", include([re_path(r"^bills/(?P<bill>[a-z]+)(?:\.json)?$",
                                                       lambda request, shop, bill: JsonResponse({"bill": bill}))])),
            re_path(r"^begins", lambda request: HttpResponse("ok")),
            re_path(r"^files/(?P<name>.+)$", lambda request, name: HttpResponse("ok")),
            re_path(r"^pages/.*$", lambda request: HttpResponse("ok")),
            path("orders", lambda request: HttpResponse(str(len(request.body)))),
            path("stream", stream),
            path("boom", boom), path("unchanged", lambda request: HttpResponse(status=304)),
            path("healthz", lambda request: HttpResponse("ok")), path("login", lambda request: HttpResponse("no", status=401))]


def _django():
    import types

    import django
    from django.conf import settings

    if not settings.configured:
        import sys
        urls = types.ModuleType("ztmon_test_urls")
        sys.modules["ztmon_test_urls"] = urls
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="ztmon_test_urls", SECRET_KEY="of a test",
                           MIDDLEWARE=["ztmon.adapters.django.route"], LOGGING_CONFIG=None)
        django.setup()
        urls.urlpatterns = django_urls()


def django_wsgi(**settings):
    _django()
    from django.core.wsgi import get_wsgi_application

    from ztmon.adapters.wsgi import ZtmonMiddleware

    return ZtmonMiddleware(get_wsgi_application(), **settings)


def django_asgi(**settings):
    _django()
    from django.core.asgi import get_asgi_application

    from ztmon.adapters.asgi import ZtmonMiddleware

    return ZtmonMiddleware(get_asgi_application(), **settings)


ASGI = {"asgi": plain_asgi, "starlette": starlette, "fastapi": fastapi, "litestar": litestar, "django asgi": django_asgi}
WSGI = {"wsgi": plain_wsgi, "flask": flask, "django": django_wsgi}
TEMPLATES = {"starlette": "/orders/{order}", "fastapi": "/orders/{order}", "litestar": "/orders/{order}",
             "flask": "/orders/<order>", "django": "/orders/<order>", "django asgi": "/orders/<order>"}  # fmt: skip
"""What the frameworks call the route; of others the path is all there is."""
