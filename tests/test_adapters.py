"""Every adapter before the same service, served by a real server: what is learned of a call, and who is not let through."""

import threading
from contextlib import contextmanager

import pytest

from ztmon import Action, Config, Monitor

from . import webapps
from .frameworks import ASGI, CHUNK, TEMPLATES, WSGI, fastapi, flask
from .servers import until
from .webapps import call, problem

CALLER = "key-"


@contextmanager
def service(kind, **settings):
    """(port, monitor, calls): a running service, and what its adapter told of each call."""
    calls = []
    factory = {**ASGI, **WSGI}[kind]
    with Monitor(Config(shadow=False)) as monitor:
        app = factory(monitor=monitor, on_call=calls.append, **settings)
        with (webapps.asgi if kind in ASGI else webapps.wsgi)(app) as port:
            yield port, monitor, calls


@pytest.fixture(scope="module", params=[*ASGI, *WSGI])
def running(request):
    """(kind, port, monitor, calls) of a service that the tests of this file share."""
    with service(request.param) as (port, monitor, calls):
        yield request.param, port, monitor, calls


def last(calls, n):
    """The newest call; n: how many there must be."""
    until(lambda: len(calls) >= n, f"{n} calls")
    assert len(calls) == n
    return calls[-1]


def name_of(monitor, key):
    return f"key-{monitor.source_key(f'key {key}'):016x}"


def test_a_call_is_known_by_route_status_and_sizes(running):
    """Route template, method, status, bytes in and out, and two times of which the second is no earlier."""
    kind, port, monitor, calls = running
    n = len(calls)
    status, _, body = call(port, "/orders/alice?page=2")
    assert status == 200
    told = last(calls, n + 1)
    assert (told.method, told.status, told.response_bytes) == ("GET", 200, len(body))
    assert told.endpoint == TEMPLATES.get(kind, "/orders/alice")
    assert told.partner == name_of(monitor, "acme's key")
    assert 0.0 <= told.first_byte_ms <= told.last_byte_ms
    assert told.decision.action is Action.MONITOR


@pytest.mark.parametrize("kind", ["django", "django asgi"])
def test_routes_of_django_are_known_however_they_are_written(kind):
    """Under a prefix, as a regular expression, under a mount; where none matched the path is all there is."""
    with service(kind) as (port, _, calls):
        assert call(port, "/shops/7/bills/march.json")[0] == 200
        assert last(calls, 1).endpoint == "/shops/<int:shop>/bills/<bill>"
        assert call(port, "/nothing/here")[0] == 404
        assert last(calls, 2).endpoint == "/nothing/here"
        for path, endpoint in (("/begins", "/begins"), ("/begins/and/goes/on", "/begins/and/goes/on"),
                               ("/files/a/b.txt", "/files/<path:name>")):
            n = len(calls)
            assert call(port, path)[0] == 200
            assert last(calls, n + 1).endpoint == endpoint
        assert call(port, "/pages/../../etc/passwd")[0] == 200
        assert "suspicious_patterns" in [reason.signal for reason in last(calls, 6).decision.reasons]


@pytest.mark.parametrize(("pattern", "found"), [
    ("orders/<int:order>", "/orders/<int:order>"), (r"^orders/(?P<order>[0-9]+)/$", "/orders/<order>/"), ("", "/"), ("^$", "/"),
    (r"shops/<int:shop>/^bills/(?P<bill>[a-z]+)(?:\.json)?$", "/shops/<int:shop>/bills/<bill>"), (r"^feed\.xml$", "/feed.xml"),
    (r"^(?P<a>x(?:y)z)/(?P<b>\w+)/?$", "/<a>/<b>/"), (r"^(?i)c/(\d+)/comments/(\d+)/\Z", "/c/<var>/comments/<var>/"),
    (r"^n/(a(b)c)/(\(x)$", "/n/<var>/<var>"), (r"^.*$", ""), (r"^orders/\d+/$", ""), ("orders/[0-9]+/", ""),
    (r"^(?:en|de)/x/$", ""),
    (r"^a/[(]/(\d+)$", ""), (r"^a/(\d+$", ""), (r"^a/([]()]+)/b$", "/a/<var>/b"), (r"^d/(.*)$", "/d/<path:var>"),
    (r"^e/(?P<x>[^/]+)/(?P<y>[^.]+)$", "/e/<x>/<path:y>"), (r"^\$x/\^/(?=y)$", ""), (r"^\$x/\^$", "/$x/^"),
    ("^a\\", "/a"), ("en/about/", "/en/about/"),
])
def test_expressions_of_django_become_templates_or_nothing(pattern, found):
    """Groups are parameters; what else stands for many paths is no template."""
    from ztmon.adapters.django import template
    assert template(pattern) == found


def test_the_words_of_routes_are_known_and_settings_of_none_are_told_of(caplog):
    """A route's own words are shown from the first call; a key that stands for no route is warned of, one that does is not."""
    for factory, serve, key in ((flask, webapps.wsgi, "/orders/<x>"), (fastapi, webapps.asgi, "/orders/{x}")):
        monitor = Monitor()
        caplog.clear()
        app = factory(monitor=monitor, partner="acme", exempt=("/healthz", "/nope"), routes={
            key: {"sensitivity": 2.0}, "POST /orders": {"max_action": "alert"}, "/orders/7": {"exempt": True},
            "/order/{x}": {"exempt": True}, "GET /nope/here": {"exempt": True}})
        with serve(app) as port:
            call(port, "/orders/1")
        until(lambda monitor=monitor: monitor.profile("acme") is not None)
        assert monitor.profile("acme").endpoints == (("GET /orders/{id}", 1),)
        said = [record.getMessage() for record in caplog.records if "no route that could be read" in record.getMessage()]
        assert [line.split("'")[1] for line in said] == ["/order/{x}", "GET /nope/here", "/nope"]


def test_settings_below_a_mount_are_not_told_of(caplog):
    """What stands under a mount, or the application itself under a prefix, may be a route that cannot be read."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    from ztmon.adapters.fastapi import ZtmonMiddleware
    below = ZtmonMiddleware(Starlette(routes=[Route("/orders", lambda request: PlainTextResponse("ok"))]), Monitor(),
                            routes={"/api/orders": {"exempt": True}, "/api/nope": {"exempt": True}})
    app = ZtmonMiddleware(Starlette(routes=[Mount("/static", PlainTextResponse("x")), Mount("/api", below)]), Monitor(),
                          exempt=("/static/{rest:path}", "/static/app.js", "/statics"))
    with webapps.asgi(app) as port:
        assert call(port, "/api/orders")[0] == 200
    said = [record.getMessage() for record in caplog.records if "no route that could be read" in record.getMessage()]
    assert [line.split("'")[1] for line in said] == ["/statics", "/api/nope"]


def test_an_application_under_a_mount_says_its_route():
    """Starlette knows the mount, and the application under it its own route."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from ztmon.adapters.fastapi import ZtmonMiddleware

    async def under(scope, receive, send):
        scope["ztmon.route"] = "/dj/orders/<int:order>"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    calls = []
    app = ZtmonMiddleware(Starlette(routes=[Mount("/dj", under)]), Monitor(), on_call=calls.append)
    with webapps.asgi(app) as port:
        assert call(port, "/dj/orders/17")[0] == 200
        assert last(calls, 1).endpoint == "/dj/orders/<int:order>"


def test_bodies_are_counted(running):
    """What the application read of a request, and what it sent."""
    _, port, _, calls = running
    n = len(calls)
    assert call(port, "/orders", "POST", b"x" * 70_000)[2] in (b"70000", b'"70000"')
    told = last(calls, n + 1)
    assert (told.request_bytes, told.status) == (70_000, 200)


def test_streams_are_counted_part_by_part(running):
    """A body that is made while it is sent."""
    _, port, _, calls = running
    n = len(calls)
    assert call(port, "/stream")[2] == CHUNK
    assert last(calls, n + 1).response_bytes == len(CHUNK)


def test_answers_without_a_body_have_none(running):
    """HEAD and 304."""
    _, port, _, calls = running
    n = len(calls)
    assert call(port, "/orders/17", "HEAD")[2] == b""
    told = last(calls, n + 1)
    assert (told.method, told.response_bytes) == ("HEAD", 0)
    assert call(port, "/unchanged")[0] == 304
    told = last(calls, n + 2)
    assert (told.status, told.response_bytes) == (304, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_is_a_500_and_goes_on(running):
    """What a handler raises is known as 500, and the server sees what it would have seen."""
    _, port, _, calls = running
    n = len(calls)
    assert call(port, "/boom")[0] == 500
    told = last(calls, n + 1)
    assert (told.status, told.endpoint) == (500, "/boom")


def test_a_path_that_is_not_there_is_known(running):
    """404 has no template: the path, without its query, is what there is."""
    _, port, _, calls = running
    n = len(calls)
    assert call(port, "/nowhere?secret=1")[0] == 404
    told = last(calls, n + 1)
    assert (told.status, told.endpoint) == (404, "/nowhere")


def test_health_checks_are_exempt(running):
    """Neither checked nor observed, whoever asks."""
    _, port, monitor, calls = running
    n = len(calls)
    monitor.pin(name_of(monitor, "health"), Action.BLOCK, reason="a test")
    assert call(port, "/healthz", key="health")[0] == 200
    call(port, "/orders/1")
    assert last(calls, n + 1).endpoint != "/healthz"


@pytest.mark.parametrize(("level", "expected"), [("alert", 200), ("throttle", 429), ("quarantine", 401), ("block", 403)])
def test_every_level(running, level, expected):
    """Who is at a level is refused before the application, with problem+json, Retry-After and the RateLimit fields; a refused
    call is no event, and a throttled one that passes is told how many are left."""
    _, port, monitor, calls = running
    n = len(calls)
    partner = name_of(monitor, level)
    monitor.observe(partner, "/orders/1")
    monitor.pin(partner, Action[level.upper()], ttl=600, reason="a test")
    found = [call(port, f"/orders/{i}", key=level) for i in range(12)]
    refused = [answer for answer in found if answer[0] != 200]
    assert {answer[0] for answer in refused} == ({expected} if expected != 200 else set())
    passed = len(found) - len(refused)
    until(lambda: len(calls) == n + passed)
    assert monitor.profile(partner).events == 1 + passed
    left = {headers.get("RateLimit") for status, headers, _ in found if status == 200}
    assert left == {"alert": {None}, "throttle": {'"throttle";r=0;t=60'}}.get(level, set())
    if expected == 200:
        return
    said, headers = problem(refused[0]), refused[0][1]
    wait = int(headers["Retry-After"])
    assert wait >= 1
    assert headers["RateLimit"] == f'"{level}";r=0;t={wait}'
    assert headers["RateLimit-Policy"].startswith(f'"{level}";q=')
    assert ("WWW-Authenticate" in headers) == (expected == 401)
    assert [name for name in headers if name.lower().startswith("x-ztmon")] == []
    assert said["detail"]
    assert call(port, "/orders/1", "HEAD", key=level)[2] == b""
    assert call(port, "/orders/1", key="another")[0] == 200
    until(lambda: len(calls) == n + passed + 1)     # or the next test would count it


def test_an_attack_is_stopped(running):
    """Injections through the service end in refusals, whatever the framework does with paths and queries."""
    _, port, _, _ = running
    found = {call(port, f"/orders/{i}?q=%27%20OR%201=1--", key="attacker")[0] for i in range(30)}
    assert found - {200} <= {401, 403, 429}
    assert found != {200}


def test_many_at_once_are_all_known(running):
    """Calls of several threads at a time are counted one by one."""
    _, port, _, calls = running
    n = len(calls)
    threads = [threading.Thread(target=lambda: [call(port, "/orders/5", key="many") for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last(calls, n + 40)


@pytest.mark.parametrize("kind", ["fastapi", "flask"])
def test_nothing_is_refused_in_shadow_mode(kind):
    """Without a monitor an adapter has one of its own, which only watches."""
    factory = {**ASGI, **WSGI}[kind]
    calls = []
    app = factory(on_call=calls.append)
    with (webapps.asgi if kind in ASGI else webapps.wsgi)(app) as port:
        assert {call(port, f"/orders/{i}?q=%27%20OR%201=1--")[0] for i in range(30)} == {200}
        until(lambda: len(calls) == 30)
    assert calls[-1].decision.action >= Action.THROTTLE
    assert not calls[-1].decision.enforced


@pytest.mark.parametrize("kind", ["asgi", "wsgi", "fastapi", "flask"])
def test_an_error_of_ztmon_breaks_no_request(kind, caplog):
    """A function that names partners and fails, a monitor that fails: requests are served, errors are counted and logged once."""
    def broken(request):
        raise RuntimeError("no database")

    class Broken:
        def check(self, *_):
            raise RuntimeError("no memory")

        observe = source_key = check

    factory = {**ASGI, **WSGI}[kind]
    for settings in ({"monitor": Monitor(), "partner": broken}, {"monitor": Broken(), "partner": "acme"}):
        caplog.clear()
        app = factory(**settings)
        with (webapps.asgi if kind in ASGI else webapps.wsgi)(app) as port:
            assert [call(port, f"/orders/{i}")[0] for i in range(3)] == [200] * 3
        assert sum("failed; the request went on" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_monitor_of_ones_own_is_asked(kind):
    """What stands before observe() or check() in a class of one's own is not gone around."""
    asked = []

    class Mine(Monitor):
        def check(self, partner, *values, **more):
            asked.append("check")
            return super().check(partner, *values, **more)

        def observe(self, partner, *values, **more):
            asked.append("observe")
            return super().observe(partner, *values, **more)

    with Mine(Config(shadow=False)) as monitor:
        app = {**ASGI, **WSGI}[kind](monitor=monitor)
        with (webapps.asgi if kind in ASGI else webapps.wsgi)(app) as port:
            assert [call(port, "/orders/alice")[0] for _ in range(3)] == [200] * 3
            until(lambda: asked.count("observe") == 3, "three calls")
    assert "check" in asked
