"""Web applications served for tests by real servers: uvicorn and wsgiref in a thread, so that the test can look into the monitor;
and a client that says exactly what it means."""

import http.client
import json
import socketserver
import threading
import wsgiref.simple_server
from contextlib import contextmanager

import uvicorn

from .servers import until

PATIENCE = 20


@contextmanager
def asgi(app):
    """The port of a uvicorn that serves the application."""
    config = uvicorn.Config(app, port=0, log_level="error", ws="websockets-sansio", lifespan="auto")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "a server")
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Threads(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    def handle_error(self, request, client_address):
        pass


@contextmanager
def wsgi(app):
    """The port of a wsgiref server, a thread a connection."""
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, Threads, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


def call(port, path="/", method="GET", body=None, key="acme's key", **headers):
    """(status, headers, body); body: bytes, or an iterable of parts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    given = {"X-Api-Key": key} if key else {}
    try:
        connection.request(method, path, body, {**given, **headers}, encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def problem(answer):
    """What a refusal says."""
    status, headers, body = answer
    assert headers["Content-Type"] == "application/problem+json"
    found = json.loads(body)
    assert found["status"] == status
    return found
