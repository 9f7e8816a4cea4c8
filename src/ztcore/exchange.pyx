"""One HTTP exchange between a server and an application: named, counted while it streams, observed when it is over. Natively, for
a request waits for every step of it.

    Watch           what all exchanges of one application share: names by key and address, templates by route, observe()
    AsgiExchange    stands for `send`: hands on the awaitable that the server's own `send` makes
    WsgiExchange    stands for `start_response`, and for the body where its end is not known yet

What comes rarely is left to the adapter's Python: a partner that is not known yet (`partner` stays None), a route that is under
a prefix (Watch.find). What fails here is told to Watch.failed, and the application goes on. Sizes are bytes of bodies.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from ztcore.core cimport Core
from ztcore.decision cimport Decision
from ztcore.messages cimport length_bit, seconds_now, size_of, slashes_of

cdef enum:
    PLACES = 64                 # of routes seen lately

cdef extern from "calls.h":
    void zt_callable(object type, Py_ssize_t offset)
    size_t PyVectorcall_NARGS(size_t n) nogil

cdef str _CLAIMS = "ztmon.claims"
cdef str _ROUTE = "ztmon.route"


cdef Core core_of(object check, object observe):
    """The engine whose own they are, and nobody's in front of it: it is asked natively."""
    cdef object engine = getattr(observe, "__self__", None)
    if isinstance(engine, Core) and observe == Core.observe.__get__(engine) and check == Core.check.__get__(engine):
        return engine
    return None


cdef inline Py_ssize_t route_place(object route) noexcept:
    return <Py_ssize_t>((<size_t><PyObject *>route >> 4) % PLACES)


cdef class Watch:
    """check, observe: the Monitor's; find(scope): route template or None; failed(what, error): counts; late(exchange): where only
    the address named it, what the application found out meanwhile; told(exchange, ...): None, or called after each; fixed: the one
    partner, or None; app: the application that partners belong to; key_name: header of the API key (lower case; of WSGI its
    variable); keys, addresses: names found before; ruled: paths with settings of their own; open: whether a key or an address
    names a partner without more ado; last: whether the last byte's time counts."""

    cdef Core core              # see core_of
    cdef readonly object check, observe, find, failed, fixed, app, late, told
    cdef readonly dict keys, addresses, ruled
    cdef list routes            # by address, at most one a place: (route, slashes, template, whether it has no parameters)
    cdef uint64_t lengths       # of the paths in `ruled`
    cdef public bint ready      # calls may be let through without a look at their settings
    cdef public object seldom   # (exchange, kind, message): for messages of ASGI that are no answer's head or body
    cdef object key_name
    cdef readonly bint open, last

    def __init__(self, check, observe, find, failed, late, told, fixed, app, key_name, dict keys, dict addresses, dict ruled,
                 bint open, bint last):
        self.check = check
        self.observe = observe
        self.core = core_of(check, observe)
        self.ruled = ruled
        self.find = find
        self.failed = failed
        self.late = late
        self.told = told
        self.fixed = fixed
        self.app = app
        self.key_name = key_name
        self.keys = keys
        self.addresses = addresses
        self.routes = [None] * PLACES
        for path in ruled:
            self.lengths |= length_bit(path)
        self.open = open
        self.last = last

    def know(self, route, int slashes, template):
        """The template of a route whose path has so many slashes where it is under no prefix."""
        self.routes[route_place(route)] = (route, slashes, template, "{" not in template)

    @cython.binding(False)
    def asgi(self, dict scope, send):
        """An AsgiExchange that begins now."""
        cdef AsgiExchange exchange = AsgiExchange.__new__(AsgiExchange)
        exchange.begin(self, scope, send)
        return exchange

    @cython.binding(False)
    def wsgi(self, dict environ, start):
        """A WsgiExchange that begins now."""
        cdef WsgiExchange exchange = WsgiExchange.__new__(WsgiExchange)
        exchange.begin(self, environ, start)
        return exchange


cdef class Exchange:
    """What both kinds have in common.

    scope: the ASGI scope or WSGI environment; partner: None until it is named; weak: only its address names it; decision: None until
    it was asked for; clear: nothing is left to be found out before; status: 0 until something is answered; began, first, last:
    seconds of a clock that only goes forward, 0.0: not yet. It is true while it is let through and not over; one that announces a
    body, from begin_now() on.
    """

    cdef readonly object scope
    cdef public object partner, app, source
    cdef public bint weak
    cdef public int status
    cdef public long long received, sent
    cdef readonly double began, first, last
    cdef readonly bint clear, over
    cdef bint open              # let through, and not over
    cdef void *called           # how it is called, see zt_callable()
    cdef readonly object key
    cdef public object decision
    cdef Watch watch

    cdef int name(self, bint certified) except -1:
        """Who calls, where that needs no more than a look."""
        cdef Watch watch = self.watch
        cdef PyObject *found
        self.app = watch.app
        if watch.fixed is not None:
            self.partner = watch.fixed
        elif certified or not watch.open:
            return 0
        elif self.key is not None:
            found = PyDict_GetItem(watch.keys, self.key)
            if found != NULL:
                self.partner = <object>found
        elif self.source is not None and _CLAIMS not in self.scope:
            found = PyDict_GetItem(watch.addresses, self.source)
            if found != NULL:
                self.partner = <object>found
                self.weak = True
        return 0

    cdef int ask(self, object path) except -1:
        """What is in force for who was named, where his call has no settings of its own."""
        cdef Watch watch = self.watch
        if self.partner is None or not watch.ready or (watch.lengths & length_bit(path) and path in watch.ruled):
            return 0
        if watch.core is None:
            self.decision = watch.check(self.partner, self.app)
        else:
            self.decision = watch.core.checked(self.partner, self.app, None)
        if type(self.decision) is Decision:     # a throttled call that passes is told how many are left
            self.clear = not (<Decision>self.decision).enforced and (<Decision>self.decision).interval == 0.0
        else:                                   # a gateway's
            self.clear = not self.decision.enforced and self.decision.interval == 0.0
        return 0

    cdef int finish(self) except -1:
        """It is over: observe it, once."""
        if self.over:
            return 0
        self.over = True
        self.open = False
        if self.watch.last or self.watch.told is not None or self.first == 0.0:
            self.last = seconds_now()
        try:
            if self.weak and _CLAIMS in self.scope:
                self.watch.late(self)
            self.record()
        except Exception as error:
            self.watch.failed("observing a call", error)
        return 0

    cdef int record(self) except -1:
        raise NotImplementedError

    cdef int tell(self, object method, object template, bint bare, object path, object query) except -1:
        """bare: the template is the path, which says nothing more without a query."""
        cdef Watch watch = self.watch
        cdef object endpoint = template, raw = None
        if query is not None:
            path = path + "?" + query
        if template is None:
            endpoint = path
        elif query is not None or not bare:
            raw = path
        if method == "HEAD" or self.status == 204 or self.status == 304:
            self.sent = 0
        if watch.core is not None:
            decision = watch.core.observed(self.partner, self.app, endpoint, method, raw, self.source, self.status,
                                           self.ms(not watch.last), self.received, self.sent)
        else:
            decision = watch.observe(self.partner, endpoint, method, self.status, self.ms(not watch.last), self.received,
                                     self.sent, self.source, self.app, None, 1, raw)
        if watch.told is not None:
            watch.told(self, method, endpoint, decision)
        return 0

    def answered(self, int status):
        """The first byte of the answer goes out now."""
        self.status = status
        self.first = seconds_now()

    def begin_now(self):
        """What was spent before is not the application's time."""
        self.began = seconds_now()
        self.open = True

    def end(self, int status):
        """It is over, whatever was sent. status: what is known in place of what was answered, 0: that."""
        if not self.over:
            if status:
                self.status = status
            self.finish()

    def __bool__(self):
        return self.open

    cdef double ms(self, bint first):
        return ((self.first if first and self.first > 0.0 else self.last) - self.began) * 1000.0

    @property
    def latency_ms(self):
        """ms until the first byte of the answer; until the end where there was none."""
        return self.ms(True)

    @property
    def duration_ms(self):
        """ms until the last byte of the answer."""
        return self.ms(False)


cdef class AsgiExchange(Exchange):
    """Called as `send`, which is vectorcall (calls.h). send: what it stands for; announced: the request says that it has a body."""

    cdef public object send
    cdef readonly bint announced

    cdef int begin(self, Watch watch, dict scope, object send) except -1:
        cdef str kind = scope["type"]
        cdef object client, extensions
        self.began = seconds_now()
        self.called = <void *>asgi_called
        self.watch = watch
        self.scope = scope
        self.send = send
        if kind != "http" and kind != "websocket":
            return 0
        client = scope.get("client")
        if client is not None:
            self.source = (<tuple>client)[0] if type(client) is tuple else client[0]
        self.look(scope["headers"])
        extensions = scope.get("extensions")
        self.name(extensions is not None and "tls" in extensions)
        if kind == "http":
            self.ask(scope["path"])
            self.open = self.clear and not self.announced
        return 0

    cdef int look(self, object headers) except -1:
        """Key and announced body."""
        cdef const char *key = PyBytes_AS_STRING(self.watch.key_name)
        cdef const char *name
        cdef Py_ssize_t key_size = PyBytes_GET_SIZE(self.watch.key_name), size
        cdef object one
        for one in headers:
            if type(one) is not tuple or not PyBytes_CheckExact((<tuple>one)[0]):
                one = tuple(map(bytes, one))
            size = PyBytes_GET_SIZE((<tuple>one)[0])
            name = PyBytes_AS_STRING((<tuple>one)[0])
            if size == key_size and memcmp(name, key, size) == 0:
                self.key = (<tuple>one)[1] or None
            if size == 14 and memcmp(name, b"content-length", 14) == 0:
                self.announced = (<tuple>one)[1] != b"0"
            elif size == 17 and memcmp(name, b"transfer-encoding", 17) == 0:
                self.announced = True
        return 0

    def __call__(self, message):
        return self.hand_on(message)

    cdef object hand_on(self, message):
        try:
            self.count(message)
        except Exception as error:
            self.watch.failed("counting an answer", error)
        return self.send(message)

    cdef int count(self, object message) except -1:
        cdef str kind = (<dict>message)["type"] if type(message) is dict else message["type"]
        cdef object body
        if kind == "http.response.body":
            body = (<dict>message).get("body") if type(message) is dict else message.get("body")
            if body:
                self.sent += size_of(body)
            if not ((<dict>message).get("more_body") if type(message) is dict else message.get("more_body")):
                self.finish()
        elif kind == "http.response.start":
            self.status = message["status"]
            self.first = seconds_now()
        elif not self.over:
            self.watch.seldom(self, kind, message)
        return 0

    cdef int record(self) except -1:
        cdef dict scope = self.scope
        cdef object path = scope["path"], query = scope["query_string"], route = scope.get("route"), template = None
        cdef tuple known
        cdef bint bare = False
        if route is not None:
            known = self.watch.routes[route_place(route)]
            if known is not None and known[0] is route and <int>known[1] == slashes_of(path):
                template, bare = known[2], known[3]
        if template is None:
            if route is not None or "path_params" in scope:
                template = self.watch.find(scope)
            if template is None:
                template = scope.get(_ROUTE)
            bare = template == path
        return self.tell(scope.get("method", "GET"), template, bare, path, (<bytes>query).decode("latin-1") if query else None)


cdef object asgi_called(PyObject *it, PyObject **arguments, size_t n, PyObject *names):
    """The call of an AsgiExchange, without a tuple of its one argument."""
    cdef AsgiExchange exchange = <AsgiExchange><object>it
    cdef size_t i, given = PyVectorcall_NARGS(n)
    if given == 1 and names == NULL:
        return exchange.hand_on(<object>arguments[0])
    named = () if names == NULL else <object>names
    return exchange.__call__(*[<object>arguments[i] for i in range(given)],
                             **{name: <object>arguments[given + at] for at, name in enumerate(named)})


cdef class WsgiExchange(Exchange):
    """Called as `start_response`; iterated over as the body where that is not a list. start: what it stands for."""

    cdef public object start
    cdef object parts, step, template
    cdef bint found             # the template was looked for, while the framework still knew

    cdef int begin(self, Watch watch, dict environ, object start) except -1:
        cdef object key = environ.get(watch.key_name)
        self.began = seconds_now()
        self.watch = watch
        self.scope = environ
        self.start = start
        self.source = environ.get("REMOTE_ADDR")
        self.key = key if key else None
        self.name("SSL_CLIENT_VERIFY" in environ)
        if not environ.get("SCRIPT_NAME"):
            self.ask(environ.get("PATH_INFO"))
        self.open = self.clear
        return 0

    def __call__(self, status, headers, exc_info=None):
        try:
            self.status = int(status[:3])
        except Exception as error:
            self.watch.failed("reading a status", error)
        self.route()
        return Writer(self, self.start(status, headers) if exc_info is None else self.start(status, headers, exc_info))

    def body(self, parts):
        """What the server is to iterate over in place of what the application returned."""
        cdef object part
        if type(parts) is list:         # all of it is there
            self.first = seconds_now()
            try:
                for part in <list>parts:
                    self.sent += size_of(part)
            except Exception as error:
                self.watch.failed("counting an answer", error)
            self.finish()
            return parts
        self.parts = parts
        self.step = iter(parts)
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef object part
        try:
            part = next(self.step)
        except StopIteration:
            self.finish()
            raise
        except BaseException:
            self.end(500)
            raise
        if part:
            if self.first == 0.0:
                self.first = seconds_now()
            self.sent += size_of(part)
        return part

    def close(self):
        """The server is done with it, whether or not it sent all."""
        try:
            close = getattr(self.parts, "close", None)
            if close is not None:
                close()
        finally:
            self.finish()

    cdef int route(self) except -1:
        if not self.found and self.watch.find is not None:
            self.found = True
            try:
                self.template = self.watch.find(self.scope)
            except Exception as error:
                self.watch.failed("finding the route", error)
        return 0

    cdef int record(self) except -1:
        cdef dict environ = self.scope
        cdef str path = environ.get("PATH_INFO", ""), root = environ.get("SCRIPT_NAME", "")
        cdef object query = environ.get("QUERY_STRING"), template
        self.route()
        template = self.template if self.template is not None else environ.get(_ROUTE)
        if root:
            path = root + path
        if not path.isascii():          # PEP 3333 has bytes here, each as a character
            path = path.encode("latin-1", "replace").decode("utf-8", "replace")
        return self.tell(environ["REQUEST_METHOD"], template, template == path, path, query if query else None)


cdef class Writer:
    """What start_response returns: the old way to send."""

    cdef WsgiExchange exchange
    cdef object write

    def __cinit__(self, WsgiExchange exchange, object write):
        self.exchange = exchange
        self.write = write

    def __call__(self, part):
        if part:
            if self.exchange.first == 0.0:
                self.exchange.first = seconds_now()
            self.exchange.sent += len(part)
        return self.write(part)


cdef AsgiExchange _any = AsgiExchange.__new__(AsgiExchange)
zt_callable(AsgiExchange, <char *>&_any.called - <char *><PyObject *>_any)
