"""ztmon for Flask.

    ztmon = Ztmon(app)                      # or Ztmon(monitor=monitor).init_app(app)
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ztmon.adapters.wsgi import Environ, ZtmonMiddleware

if TYPE_CHECKING:
    from flask import Flask


class Ztmon:
    """Guards a Flask application; `app` is ztmon's name for it. Settings as for ztmon.guard.Guard; a `partner` that is a function
    gets a flask.Request, before Flask has one of its own: `g`, `session` and `current_user` are not there yet."""

    def __init__(self, application: "Flask | None" = None, /, monitor: Any = None, *, app: "Flask | str" = "default",
                 **settings: Any) -> None:
        if application is None and not isinstance(app, str):
            application, app = app, "default"
        self._monitor, self._settings = monitor, {"app": app, **settings}
        self.middleware: Middleware | None = None
        if application is not None:
            self.init_app(application)

    def init_app(self, app: "Flask") -> None:
        """Put it before the application."""
        self.middleware = Middleware(app, self._monitor, **self._settings)
        app.wsgi_app = self.middleware  # type: ignore[method-assign]
        app.extensions["ztmon"] = self

    @property
    def monitor(self) -> Any:
        """The monitor that learns of the calls."""
        assert self.middleware is not None, "Ztmon has no application yet: call init_app()"
        return self.middleware.guard.monitor

    def stats(self) -> dict[str, int]:
        """refused, unnamed: calls; failures: errors inside ztmon."""
        assert self.middleware is not None, "Ztmon has no application yet: call init_app()"
        return self.middleware.guard.stats()


class Middleware(ZtmonMiddleware):
    """The WSGI middleware, which knows Flask's requests and rules."""

    def __init__(self, flask: "Flask", monitor: Any, **settings: Any) -> None:
        self._flask = flask
        super().__init__(flask.wsgi_app, monitor, **settings)

    def _question(self, environ: Environ) -> Any:
        assert self.guard.ask is not None
        return self.guard.ask(self._flask.request_class(environ, populate_request=False))

    def _find(self) -> Callable[[Any], str | None]:
        return self._template

    def _template(self, environ: Environ) -> str | None:
        """The rule that matched; None where none did."""
        request = environ.get("werkzeug.request")
        rule = self._match(environ) if request is None else request.url_rule
        if rule is None:
            return None
        root = environ.get("SCRIPT_NAME")
        return f"{root}{rule.rule}" if root else str(rule.rule)

    def _match(self, environ: Environ) -> Any:
        """The same where Flask has forgotten already, for a handler raised."""
        from werkzeug.exceptions import HTTPException
        from werkzeug.routing import RequestRedirect
        try:
            return self._flask.url_map.bind_to_environ(environ).match(return_rule=True)[0]
        except (HTTPException, RequestRedirect):
            return None

    def _routes(self) -> Iterator[str]:
        return (rule.rule for rule in self._flask.url_map.iter_rules())

    def _uncovered(self) -> Iterator[tuple[str, str]]:
        for rule in self._flask.url_map.iter_rules():
            methods = sorted((rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}) or ["GET"]
            if all(self.guard.rules.find(method, rule.rule).exempt for method in methods):
                yield rule.rule, "it is exempt"
            elif rule.websocket:
                yield rule.rule, "of a WebSocket only the handshake is seen, no message"

