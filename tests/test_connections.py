"""Posts of telemetry as bytes on a connection: whole, in pieces, one behind the other. The server's protocol answers some of them
itself and leaves the rest to the application; nobody can tell which."""

import json
import socket

import pytest

from .gateways import EVENT, PATIENCE, Gateway, attack

pytest.importorskip("uvicorn")

CALM = {"action": "monitor", "score": 0.0, "enforced": False, "retryAfter": 0.0, "reasons": []}


@pytest.fixture(scope="module")
def gateway():
    running = Gateway(env={"ZTMON_GATEWAY_BODY_BYTES": "20000"})
    yield running
    assert running.stop() == (0, "")


def post(partner, path="/telemetry", kind="application/json", version="1.1", body=None, **headers):
    """The bytes of one request. headers: their underscores are hyphens."""
    if body is None:
        body = json.dumps(EVENT | {"partnerId": partner}).encode()
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One to a gateway."""

    def __init__(self, gateway):
        self.socket = socket.create_connection((gateway.host, gateway.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def answer(self):
        """(status, headers, body) of the next answer; None at the end."""
        line = self.file.readline()
        if not line:
            return None
        headers = {}
        while (header := self.file.readline().strip()):
            name, _, value = header.decode().partition(": ")
            headers[name.lower()] = value
        return int(line.split()[1]), headers, json.loads(self.file.read(int(headers["content-length"])))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


def events(gateway, partner):
    status, found = gateway.get(f"/partners/{partner}")
    return found["events"] if status == 200 else 0


def chunked(body):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:20], body[20:])) + b"0\r\n\r\n"


def test_pieces_make_no_difference(gateway):
    """A post is taken once and answered alike however its bytes are cut, head and body apart or in chunks."""
    whole = post("pieces")
    body = whole.index(b"\r\n\r\n") + 4
    in_chunks = post("pieces", body=chunked(whole[body:]), Transfer_Encoding="chunked")
    ways = [[whole], [whole[:body], whole[body:]], [whole[:body + 5], whole[body + 5:]], [whole[:30], whole[30:]],
            [whole[i:i + 1] for i in range(len(whole))], [in_chunks], [in_chunks[:-30], in_chunks[-30:]]]
    answers = []
    with Connection(gateway) as connection:
        connection.socket.sendall(whole)        # the first one is let in, and known from there on
        first = connection.answer()
        for way in ways:
            for piece in way:
                connection.socket.sendall(piece)
            answers.append(connection.answer())
    assert first[0] == 200
    assert first[2] == {"accepted": 1, "rejected": 0, "problems": [], "decisions": [CALM]}
    assert answers == [first] * len(ways)
    assert events(gateway, "pieces") == 1 + len(ways)


def test_requests_behind_each_other_are_answered_in_their_order(gateway):
    """Posts that the protocol answers and requests that the application does, sent without waiting for any answer."""
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    bad = post("queue", body=b"[1")
    sent = [(post("queue"), 200), (get, 200), (post("queue"), 200), (post("queue", "/telemetry?wait=0"), 202), (bad, 400),
            (post("queue"), 200), (get, 200), (get, 200), (post("queue"), 200)]
    with Connection(gateway) as connection:
        for _ in range(3):
            connection.socket.sendall(b"".join(request for request, _ in sent))
            assert [connection.answer()[0] for _ in sent] == [status for _, status in sent]
    assert events(gateway, "queue") == 3 * 5


def test_thousands_of_posts_from_a_sender_that_does_not_read(gateway):
    """Answers wait for who does not read them; none is lost."""
    request, n = post("deaf"), 20_000
    with Connection(gateway) as connection:
        connection.socket.sendall(request)
        assert connection.answer()[0] == 200
        connection.socket.setblocking(False)
        data, at = request * n, 0
        try:
            while at < len(data):
                at += connection.socket.send(data[at:at + 65536])
        except BlockingIOError:
            pass
        connection.socket.settimeout(PATIENCE)
        assert gateway.get("/healthz")[0] == 200
        whole = at // len(request)
        for _ in range(whole):
            assert connection.answer()[0] == 200
    gateway.until(lambda: events(gateway, "deaf") >= 1 + whole)


@pytest.mark.parametrize(("headers", "version", "stays"), [
    ({}, "1.1", True), ({"Connection": "close"}, "1.1", False), ({}, "1.0", False), ({"Connection": "Upgrade", "Upgrade": "h2c"},
                                                                                    "1.1", True)])
def test_a_connection_stays_open_where_http_says_so(gateway, headers, version, stays):
    """HTTP/1.1 keeps it unless told otherwise."""
    with Connection(gateway) as connection:
        for _ in range(2 if stays else 1):
            connection.socket.sendall(post("kept", version=version, **headers))
            assert connection.answer()[0] == 200
        if not stays:
            assert connection.answer() is None


def test_who_asks_before_sending_a_body_is_told_to(gateway):
    """Expect: 100-continue is answered before the body comes, as curl wants it for large ones."""
    request = post("asks", Expect="100-continue")
    body = request.index(b"\r\n\r\n") + 4
    with Connection(gateway) as connection:
        connection.socket.sendall(request[:body])
        assert connection.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.file.readline() == b"\r\n"
        connection.socket.sendall(request[body:])
        assert connection.answer()[0] == 200


def test_what_is_no_http_ends_the_connection_behind_the_answers(gateway):
    """The posts before it are answered and count, half a one is not taken."""
    head = b"POST /telemetry HTTP/1.1\r\nHost: localhost\r\n"
    for wrong in (b"\0\1\2\3", head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
                  head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"):
        with Connection(gateway) as connection:
            connection.socket.sendall(post("before") + post("before") + wrong)
            statuses = [connection.answer()[0] for _ in range(3)]
            assert statuses == [200, 200, 400]
            assert connection.answer() is None
    assert events(gateway, "before") == 6


def test_a_body_may_have_no_more_bytes_than_the_setting_allows(gateway):
    """Not even where it comes whole, from somebody who is known."""
    with Connection(gateway) as connection:
        connection.socket.sendall(post("known") + post("large", body=json.dumps([EVENT | {"partnerId": "large"}] * 200).encode()))
        assert [connection.answer()[0] for _ in range(2)] == [200, 413]
        assert connection.answer() is None
    assert events(gateway, "large") == 0


def test_what_the_short_way_does_not_know_is_answered_as_ever(gateway):
    """Other types, other sites' pages, other parameters; a batch and decisions that are not calm on the short way itself."""
    with Connection(gateway) as connection:
        def ask(request):
            connection.socket.sendall(request)
            return connection.answer()
        ask(post("odd"))
        assert ask(post("odd", "/telemetry?wait=1"))[0] == 200
        assert ask(post("odd", "/telemetry?wait=0"))[2] == {"accepted": 1, "rejected": 0, "problems": []}
        assert ask(post("odd", kind="application/json; charset=utf-8"))[0] == 200
        assert ask(post("odd", kind="text/plain"))[0] == 415
        assert ask(post("odd", Origin="https://elsewhere.example"))[0] == 403
        assert ask(post("odd", "/telemetry/x"))[0] == 404
        assert ask(post("odd", body=b"{}"))[0] == 422
        assert ask(post("odd", body=b""))[0] == 400
        two = ask(post("odd", body=json.dumps([EVENT | {"partnerId": "odd"}] * 2).encode()))
        assert two[2]["decisions"] == [CALM, CALM]
        noted = ask(post("odd", body=json.dumps(attack("mallory")).encode()))
        assert noted[0] == 200
        assert noted[2]["decisions"][-1]["action"] != "monitor"
        assert noted[2]["decisions"][-1]["reasons"]
        single = ask(post("odd", body=json.dumps(attack("mallory", 1)[0]).encode()))
        assert single[2]["decisions"][0]["action"] != "monitor"
    assert events(gateway, "odd") == 6
