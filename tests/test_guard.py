"""What adapters have in common: who calls, settings by route, what a throttled call is told, who may wait."""

import asyncio
import time

import pytest

from ztmon import Action, Config, ConfigError, Monitor
from ztmon.adapters.asgi import ZtmonMiddleware
from ztmon.adapters.wsgi import ZtmonMiddleware as WsgiMiddleware
from ztmon.guard import HEALTH, Rule
from ztmon.guard.callers import CLAIMS, ROUTE
from ztmon.guard.rules import Rules

from .test_monitor import steady, stuff

PEER = "192.0.2.7"
PROXY = "10.1.2.3"


def ask_asgi(monitor, path="/x", headers=(), peer=PEER, extensions=None, claims=None, method="GET", leaves=None, **settings):
    """(status, the Call told of it or None) of one call, without a server."""
    told, sent = [], []

    async def app(scope, receive, send):
        scope |= leaves or {}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "client": (peer, 1),
             "headers": [(name.encode(), value.encode()) for name, value in headers], "extensions": extensions or {}}
    if claims:
        scope[CLAIMS] = claims
    middleware = ZtmonMiddleware(app, monitor, on_call=told.append, **settings)
    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"], told[0] if told else None


def ask_wsgi(monitor, path="/x", headers=(), peer=PEER, extensions=None, claims=None, method="GET", leaves=None, **settings):
    """The same by WSGI."""
    told, sent = [], []

    def app(environ, start):
        environ |= leaves or {}
        start("200 OK", [])
        return [b"ok"]

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "", "REMOTE_ADDR": peer,
               **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}}
    if extensions:
        environ |= {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": extensions["tls"]["client_cert_name"]}
    if claims:
        environ[CLAIMS] = claims
    middleware = WsgiMiddleware(app, monitor, on_call=told.append, **settings)
    list(middleware(environ, lambda status, headers, exc_info=None: sent.append(int(status[:3]))))
    return sent[0], told[0] if told else None


BOTH = pytest.mark.parametrize("ask", [ask_asgi, ask_wsgi], ids=["asgi", "wsgi"])


@pytest.fixture
def monitor():
    with Monitor(Config(shadow=False)) as monitor:
        yield monitor


def name(monitor, kind, secret):
    return f"{kind}-{monitor.source_key(f'{kind} {secret}'):016x}"


@BOTH
def test_who_calls_is_found_in_this_order(monitor, ask):
    """The application's word, a verified certificate, the API key, a verified token, a trusted proxy, the address."""
    everything = {
        "headers": [("x-api-key", "secret"), ("x-partner-id", "globex"), ("x-forwarded-for", "198.51.100.1, 203.0.113.9")],
        "extensions": {"tls": {"client_cert_name": "CN=acme,O=Acme"}}, "claims": {"iss": "https://id.example", "client_id": "c1"},
        "peer": PROXY, "trusted_proxies": ["10.0.0.0/8"]}
    expected = [("partner", lambda request: "told", "told"), ("extensions", None, "CN=acme,O=Acme"),
                ("key", None, name(monitor, "key", "secret")), ("claims", None, "c1 id.example"), ("proxy", None, "globex"),
                ("address", None, name(monitor, "client", "203.0.113.9"))]
    given = dict(everything, partner=lambda request: "told")
    found = []
    for step, _, _ in expected:
        found.append(ask(monitor, **given)[1].partner)
        if step in ("partner", "extensions", "claims"):
            del given[step]
        elif step in ("key", "proxy"):
            given["headers"] = given["headers"][1:]
    assert found == [partner for _, _, partner in expected]


@BOTH
def test_strangers_name_nobody(monitor, ask):
    """X-Partner-ID and X-Forwarded-For of somebody who is no trusted proxy mean nothing, nor does an unverified bearer token."""
    headers = [("x-partner-id", "globex"), ("x-forwarded-for", "198.51.100.1"), ("authorization", "Bearer abc")]
    assert ask(monitor, headers=headers)[1].partner == name(monitor, "client", PEER)
    assert ask(monitor, headers=headers, trusted_proxies=["10.0.0.0/8"])[1].partner == name(monitor, "client", PEER)


@BOTH
def test_a_token_verified_meanwhile_names_the_call(monitor, ask):
    """Where only the address is known before, the claims that the application leaves during the call name it."""
    assert ask(monitor, leaves={CLAIMS: {"iss": "https://id.example", "azp": "late"}})[1].partner == "late id.example"


@BOTH
@pytest.mark.parametrize("template", ["/orders/{order}", "/orders/<int:order>"])
def test_an_application_may_say_which_route_it_was(monitor, ask, template):
    """Where a framework says nothing: the endpoint is the template, in either way to write it, and ids and patterns of the path
    still count."""
    assert ask(monitor, "/orders/17", leaves={ROUTE: template}, partner="acme")[1].endpoint == template
    ask(monitor, "/orders/18", leaves={ROUTE: template}, partner="acme")
    assert len(monitor.profile("acme").endpoints) == 1
    assert ask(monitor, "/orders/1' OR 1=1--", leaves={ROUTE: template}, partner="acme")[1].decision.reasons
    assert ask(monitor, "/orders/19", leaves={ROUTE: 7}, partner="acme") == (200, None)


@BOTH
def test_the_application_may_name_its_own_app_or_nobody(monitor, ask):
    """A function returns a name, an app and a name, or None; a fixed name and app are taken as they are."""
    told = ask(monitor, partner=lambda _: ("shop", "acme"))[1]
    assert (told.app, told.partner) == ("shop", "acme")
    assert ask(monitor, partner=lambda _: None)[1].partner == name(monitor, "client", PEER)
    told = ask(monitor, partner="fixed", app="shop")[1]
    assert (told.app, told.partner) == ("shop", "fixed")
    assert monitor.profile("fixed", app="shop").events == 1


@pytest.mark.parametrize("length", [None, b"2"], ids=["no body", "body"])
def test_send_is_called_as_any_function_is(monitor, length):
    """By position or by name, with an error for anything else; and an application that sends no end is observed as it left it."""
    told, sent = [], []

    async def whole(scope, receive, send):
        with pytest.raises(TypeError):
            send()
        with pytest.raises(TypeError):
            send({}, {})
        with pytest.raises(TypeError):
            send(event={})
        await receive()
        await send(message={"type": "http.response.start", "status": 201, "headers": []})
        await send(*[{"type": "http.response.body", "body": b"ok"}])

    async def nothing(scope, receive, send):
        await receive()

    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 202, "headers": []})

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"xy", "more_body": False}

    async def run():
        for app in (whole, nothing, half):
            middleware = ZtmonMiddleware(app, monitor, partner="acme", on_call=told.append)
            for _ in range(3):          # the first call of all takes the long way
                await middleware({"type": "http", "method": "POST", "path": "/x", "query_string": b"", "client": (PEER, 1),
                                  "headers": [(b"content-length", length)] if length else []}, receive, send)

    asyncio.run(run())
    assert [call.status for call in told] == [201] * 3 + [500] * 3 + [202] * 3
    assert [call.request_bytes for call in told[:6]] == [2 if length else 0] * 6
    assert [call.response_bytes for call in told[:3]] == [2] * 3
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert monitor.profile("acme").events == 9


def test_a_function_may_be_async(monitor):
    """In ASGI."""
    async def find(scope):
        await asyncio.sleep(0)
        return "found"

    assert ask_asgi(monitor, partner=find)[1].partner == "found"


def test_older_starlettes_name_the_application_app(monitor):
    """The application as a keyword is taken for what it is."""
    async def app(scope, receive, send):
        raise AssertionError

    assert ZtmonMiddleware(app=app, monitor=monitor).app is app
    assert ZtmonMiddleware(app, monitor, app="shop").guard.app == "shop"


@BOTH
@pytest.mark.parametrize(("rule", "expected"), [
    ({}, 403), ({"max_action": "quarantine"}, 401), ({"max_action": "alert"}, 200), ({"exempt": True}, 200),
])
def test_a_route_bounds_what_is_done(monitor, ask, rule, expected):
    """A blocked partner at a route with a highest level of its own; the rest of the application is as strict as ever."""
    monitor.pin("acme", Action.BLOCK, reason="a test")
    routes = {"POST /reports/{id}": Rule(exempt=True), "/reports/{id}": rule}
    assert ask(monitor, "/reports/17", partner="acme", routes=routes)[0] == expected
    assert ask(monitor, "/reports/17", method="POST", partner="acme", routes=routes)[0] == 200
    assert ask(monitor, "/orders/17", partner="acme", routes=routes)[0] == 403
    assert ask(monitor, "/orders/17", partner="acme", max_action=rule.get("max_action", "block"))[0] in (expected, 403)


@BOTH
def test_a_blocked_partner_may_be_throttled_on_one_route(monitor, ask):
    """With max_action throttle a block becomes the partner's own token bucket there: some pass, the rest is told to wait."""
    monitor.observe("acme", "/")
    monitor.pin("acme", Action.BLOCK, reason="a test")
    found = [ask(monitor, "/status", partner="acme", routes={"/status": Rule(max_action=Action.THROTTLE)})[0] for _ in range(12)]
    assert set(found) == {200, 429}


@BOTH
def test_sensitivity_counts_from_alert_on(monitor, ask):
    """A score that throttles blocks where it counts twice, and does nothing where it counts a fifth; pins and a partner at
    monitor are left as they are."""
    events = Monitor(Config(shadow=False, clock="events"))
    at = steady(events)
    decision = events.check("acme", timestamp=at)
    while decision.action < Action.THROTTLE:
        decision, at = stuff(events, at, calls=1)
    assert decision.action < Action.BLOCK
    up = events.check_route("acme", sensitivity=10.0, timestamp=at)
    down = events.check_route("acme", sensitivity=0.1, timestamp=at)
    assert (up.action, up.enforced) == (Action.BLOCK, True)
    assert (down.action, down.enforced) == (Action.MONITOR, False)
    assert events.check_route("acme", sensitivity=10.0, most=1, timestamp=at).enforced is False
    assert events.check_route("nobody", sensitivity=10.0, timestamp=at).action is Action.MONITOR
    monitor.pin("acme", Action.BLOCK, reason="a test")
    assert ask(monitor, "/x", partner="acme", sensitivity=0.1)[0] == 403


def test_sensitivity_does_not_go_round_what_people_decided():
    """Shadow mode, the allow list and a partner's highest level hold on every route."""
    for settings, action in (({"shadow": True}, Action.BLOCK), ({"allow": ("acme",)}, Action.BLOCK),
                             ({"max_action": {"acme": "alert"}}, Action.ALERT)):
        monitor = Monitor(Config(**{"shadow": False, "clock": "events", **settings}))
        _, at = stuff(monitor, steady(monitor), calls=60)
        found = monitor.check_route("acme", sensitivity=10.0, timestamp=at)
        assert (found.action, found.enforced) == (action, False)


def test_a_throttled_call_may_wait_a_moment(monitor):
    """With delay_ms a call whose token is near waits for it and passes; without it is refused."""
    now = time.time()
    for i in range(480):
        monitor.observe("busy", "/x", count=300, timestamp=now - (480 - i) * 30.0)
    monitor.pin("busy", Action.THROTTLE, reason="a test")
    assert 0.0 < monitor.check("busy").interval < 0.25
    for _ in range(5):
        while not monitor.check("busy").enforced:
            continue
        assert ask_asgi(monitor, partner="busy", delay_ms=250)[0] == 200


def test_a_decision_says_how_many_calls_are_left():
    """remaining is how many may follow at once: so many pass, and the next is refused; time brings them back."""
    monitor, now = Monitor(Config(shadow=False, clock="events")), 1e9
    for i in range(481):
        monitor.observe("busy", "/x", count=300, timestamp=now - (480 - i) * 30.0)
    assert monitor.check("busy", timestamp=now).remaining == -1
    monitor.pin("busy", Action.THROTTLE, reason="a test")
    first = monitor.check("busy", timestamp=now)
    found = [monitor.check("busy", timestamp=now) for _ in range(first.remaining)]
    assert len(found) > 10
    assert [decision.remaining for decision in found] == list(range(first.remaining - 1, -1, -1))
    assert not any(decision.enforced for decision in found)
    refused = monitor.check("busy", timestamp=now)
    assert (refused.enforced, refused.remaining) == (True, 0)
    assert monitor.peek("busy", timestamp=now + 5.5 * refused.interval).remaining == 5
    monitor.configure(shadow=True)
    assert monitor.check("busy", timestamp=now).remaining == -1


def test_a_throttle_is_waited_for_no_longer_than_it_lasts():
    """Where the level ends before the next token would come, the wait is until then."""
    monitor = Monitor(Config(shadow=False))
    monitor.observe("acme", "/x")
    monitor.pin("acme", Action.THROTTLE, ttl=12.0, reason="a test")
    while not (found := monitor.check("acme")).enforced:
        continue
    assert found.interval == pytest.approx(60.0)
    assert 8.0 < found.retry_after <= 12.0


@BOTH
def test_a_throttled_call_that_passes_is_observed(monitor, ask):
    """What passes under a throttle is observed as ever, whatever is added to its answer."""
    monitor.observe("acme", "/x")
    monitor.pin("acme", Action.THROTTLE, reason="a test")
    status, told = ask(monitor, "/x", partner="acme")
    assert (status, told.status, told.response_bytes, told.decision.level) == (200, 200, 2, 2)


def test_a_decision_says_how_often_calls_pass(monitor):
    """interval is the time between calls under an enforced throttle, else 0."""
    monitor.observe("acme", "/x")
    assert monitor.check("acme").interval == 0.0
    monitor.pin("acme", Action.THROTTLE, reason="a test")
    assert monitor.check("acme").interval == pytest.approx(60.0)
    monitor.configure(shadow=True)
    assert monitor.check("acme").interval == 0.0


def test_a_template_keeps_the_ids_and_patterns_of_its_path():
    """With path= the endpoint is the template, and what the raw path shows is still seen."""
    monitor = Monitor(Config(clock="events", shadow=False))
    for i in range(6):
        decision = monitor.observe("acme", "/users/{name}", path="/users/ann?q=' OR 1=1--", timestamp=1e9 + i)
    assert decision.reasons[0].signal == "suspicious_patterns"
    at = steady(monitor, "walker")
    for i in range(400):
        decision = monitor.observe("walker", "/accounts/{id}", path=f"/accounts/{70_000 + i}", timestamp=at + i * 0.5)
    assert "sequential_ids" in [reason.signal for reason in decision.reasons]
    assert [endpoint for endpoint, _ in monitor.profile("acme").endpoints] == ["GET /users/{id}"]
    with pytest.raises(TypeError, match="path must be str"):
        monitor.observe("acme", "/x", path=b"/x")


@pytest.mark.parametrize(("settings", "said"), [
    ({"partner": 7}, "partner is 7"), ({"app": ""}, "app is ''"), ({"latency": "mean"}, "latency is 'mean'"),
    ({"delay_ms": 1000}, "delay_ms is 1000"), ({"key_header": ""}, "key_header is ''"), ({"exempt": "/x"}, "exempt is '/x'"),
    ({"routes": {"orders": {}}}, "a route is 'orders'"), ({"routes": {"FETCH /x": {}}}, "a route is 'FETCH /x'"),
    ({"routes": {"/x": {"level": 1}}}, "the settings of '/x'"), ({"max_action": "stop"}, "max_action of a route is 'stop'"),
    ({"sensitivity": 0}, "sensitivity of a route is 0"), ({"trusted_proxies": ["here"]}, "trusted_proxies: 'here'"),
])
def test_settings_that_cannot_be_used_are_refused_at_the_start(settings, said):
    """With the setting, its value and what is allowed."""
    with pytest.raises(ConfigError, match=said):
        WsgiMiddleware(None, Monitor(), **settings)


@pytest.mark.parametrize(("key", "path", "matches"), [
    ("/orders/{id}", "/orders/7", True), ("/orders/{id}", "/orders/7/items", False), ("/orders/<int:id>", "/orders/7", True),
    ("/files/{rest:path}", "/files/a/b/c", True), ("/files/<path:rest>", "/files/a/b", True), ("/a.b/{x}", "/axb/1", False),
    ("/orders", "/orders/", False),
])
def test_routes_are_matched_as_frameworks_do(key, path, matches):
    """Parameters in the styles of Starlette and Flask; everything else is literal."""
    rules = Rules({key: {"exempt": True}}, HEALTH, Rule())
    assert rules.find("GET", path).exempt is matches
