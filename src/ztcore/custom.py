"""Signals of the user's own: a Python function of one event, and of a few bytes that are kept of each partner.

    @signal(state={"last": "f8", "streak": "u4"})
    def night_transfers(event, state):
        ...
        return state.streak > 5

numba compiles it to machine code that the core calls without the GIL; where numba is not installed the
core calls the function itself, which is slower by far and gives the same answers. Everything that
could go wrong later is looked for when it is registered, and refused with the reason.
"""

import dis
import hashlib
import importlib
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ztcore.layout import EVENT, ROW
from ztcore.levels import CUSTOM, SIGNALS

log = logging.getLogger("ztmon")

STATE_BYTES = ROW["user"].itemsize
MOST = len(CUSTOM)
TRIALS = 256
"""Made-up events with which a function is tried before it is taken."""


class SignalError(ValueError):
    """A function cannot be a signal; the message says why."""


class Signal:
    """A function that says of an event whether it is a hit, ready for Config(signals=...).

    function: f(event) or, with state, f(event, state); returns a bool or a whole number, true for a hit. event has
    the fields of ztcore.layout.EVENT (timestamp in ns, method as a place in GET HEAD OPTIONS POST PUT PATCH DELETE
    other, endpoint and source as Engine.endpoint_key() and source_key() give them). state: its fields as numpy
    takes them, {"name": "u4", ..}, zero at a partner's first event; at most 20 bytes for all signals together.
    name: the function's, if not given. Raises SignalError.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None, state: Any = None) -> None:
        if not inspect.isfunction(function):
            raise SignalError(f"{function!r} is no function; a signal is a plain Python function of an event")
        self.function = function
        self.name = function.__name__ if name is None else name
        self.state = _layout(self.name, state)
        self.failures = 0
        self._lock = threading.Lock()
        self._compiled: Any = None
        self._tried = False
        if not isinstance(self.name, str) or not self.name.isidentifier() or len(self.name) > 40:
            self._refuse("its name is not a word of letters, digits and _ of at most 40")
        if self.name in SIGNALS:
            self._refuse("that is the name of a signal that exists already")
        wants = 1 if self.state is None else 2
        given = inspect.signature(function).parameters.values()
        if len(given) != wants or any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in given):
            takes = "event" if wants == 1 else "event and state"
            self._refuse(f"it must take {takes} and nothing else" + ("; state is declared by state={...}" if wants == 1 else ""))
        if any(step.opname in ("RAISE_VARARGS", "RERAISE", "YIELD_VALUE") for step in dis.get_instructions(function)):
            self._refuse("it raises or yields; a signal answers with true or false")

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __repr__(self) -> str:
        return f"Signal({self.name}, state={self.state})"

    def _refuse(self, why: str) -> None:
        raise SignalError(f"signal {self.name}: {why}")

    @property
    def size(self) -> int:
        """Bytes of state."""
        return 0 if self.state is None else self.state.itemsize

    @property
    def fingerprint(self) -> bytes:
        """The same for the same function in every process of one Python version."""
        code = self.function.__code__
        closure = [cell.cell_contents for cell in self.function.__closure__ or ()]
        outer = [self.function.__globals__.get(word) for word in code.co_names]
        state = None if self.state is None else self.state.descr
        parts = (self.name, state, _stable(code), _stable(closure), _stable(outer), sys.version_info[:2])
        return hashlib.sha256(repr(parts).encode()).digest()

    def address(self) -> int:
        """Where the compiled function is, 0 where numba is not installed. The first call compiles, and tries it on
        made-up events, in Python and compiled. Raises SignalError."""
        with self._lock:
            if not self._tried:
                self._compiled = self._compile()
                self._try()
                self._tried = True
        return 0 if self._compiled is None else int(self._compiled.address)

    def _compile(self) -> Any:
        try:
            numba: Any = importlib.import_module("numba")
        except ImportError:
            log.warning("signal %s runs as Python, which is slow: install ztmon[numba]", self.name)
            return None
        errors: Any = importlib.import_module("numba.core.errors")
        inner: Any = numba.njit(error_model="numpy", nogil=True)(self.function)
        event = numba.types.CPointer(numba.from_dtype(EVENT))
        rest = numba.types.voidptr if self.state is None else numba.types.CPointer(numba.from_dtype(self.state))
        answer = numba.types.uint32(event, rest, numba.types.voidptr)
        try:
            if self.state is None:
                inner.compile((numba.from_dtype(EVENT),))
            else:
                inner.compile((numba.from_dtype(EVENT), numba.from_dtype(self.state)))
            result = inner.overloads[inner.signatures[0]].signature.return_type
            if not isinstance(result, numba.types.Boolean | numba.types.Integer):
                self._refuse(f"it returns {result}; it must return true or false")
            if self.state is None:
                return numba.cfunc(answer, error_model="numpy")(
                    lambda e, state, own: numba.types.uint32(bool(inner(numba.carray(e, 1)[0]))))
            return numba.cfunc(answer, error_model="numpy")(
                lambda e, state, own: numba.types.uint32(bool(inner(numba.carray(e, 1)[0], numba.carray(state, 1)[0]))))
        except errors.NumbaError as error:
            self._refuse(f"numba cannot compile it: {_first_line(error)}")

    def run(self, event: memoryview, state: memoryview) -> bool:
        """Call the function itself on an event's and a partner's bytes. A function that fails is no hit; it is counted in
        `failures` and logged once."""
        try:
            return self._answer(np.frombuffer(event, EVENT).view(np.recarray)[0], state)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                log.exception("signal %s failed; the event is no hit of it (said once)", self.name)
            return False

    def _answer(self, event: Any, state: memoryview | np.ndarray) -> bool:
        with np.errstate(all="ignore"):
            if self.state is None:
                return bool(self.function(event))
            record = np.frombuffer(state, self.state, 1).view(np.recarray)[0]
            return bool(self.function(event, record))

    def _try(self) -> None:
        """In Python and compiled on the same made-up events."""
        events = _made_up(TRIALS)
        plain, native = np.zeros(STATE_BYTES, "u1"), np.zeros(STATE_BYTES, "u1")
        own = None if self._compiled is None else self._compiled.ctypes
        for i, event in enumerate(events.view(np.recarray)):
            try:
                wanted = self._answer(event, plain)
            except Exception as error:
                self._refuse(f"it failed on an event it may meet ({type(error).__name__}: {error}); event was {event}")
            if own is None:
                continue
            found = own(events[i : i + 1].ctypes.data, native.ctypes.data, 0)
            if bool(found) != wanted or not np.array_equal(plain, native):
                self._refuse(f"compiled it answers {bool(found)} where Python answers {wanted}; numbers may be too large "
                             f"for their type. The event was {event}")


def signal(function: Callable[..., Any] | None = None, *, name: str | None = None, state: Any = None) -> Any:
    """Make a Signal of a function; to be put before its def, with or without arguments. See Signal."""
    if function is None:
        return lambda f: Signal(f, name, state)
    return Signal(function, name, state)


def signals(found: Sequence[Any]) -> tuple[Signal, ...]:
    """A set of signals: of Signals, of plain functions, of "package.module:name". Raises SignalError."""
    loaded = [_load(one) if isinstance(one, str) else one for one in found]
    made = tuple(one if isinstance(one, Signal) else Signal(one) for one in loaded)
    if len(made) > MOST:
        raise SignalError(f"there are {len(made)} signals; there is room for {MOST}")
    names = [one.name for one in made]
    if len(set(names)) < len(names):
        raise SignalError(f"two signals have the same name: {', '.join(names)}")
    if sum(_room(one) for one in made) > STATE_BYTES:
        raise SignalError(f"the states of {', '.join(names)} take {sum(_room(one) for one in made)} bytes together; "
                          f"there is room for {STATE_BYTES}")
    return made


def places(made: Sequence[Signal]) -> list[int]:
    """Where in a row's bytes the state of each begins."""
    return [sum(_room(one) for one in made[:i]) for i in range(len(made))]


def fingerprint(made: Sequence[Signal]) -> bytes:
    """16 bytes that are the same for the same set; zeros for none."""
    return hashlib.sha256(b"".join(one.fingerprint for one in made)).digest()[:16] if made else bytes(16)


def _stable(value: Any) -> Any:
    """What a function is made of, without addresses."""
    if inspect.isfunction(value):
        return _stable(value.__code__)
    if inspect.iscode(value):
        return value.co_code, _stable(value.co_consts), value.co_names
    if isinstance(value, tuple | list):
        return [_stable(one) for one in value]
    return value if isinstance(value, int | float | str | bytes | None) else type(value).__name__


def _room(one: Signal) -> int:
    return (one.size + 3) // 4 * 4


def _layout(name: str, state: Any) -> np.dtype[Any] | None:
    if state is None:
        return None
    try:
        made = np.dtype(list(state.items()) if isinstance(state, dict) else state)
    except (TypeError, ValueError) as error:
        raise SignalError(f"signal {name}: state is {state!r}; allowed is a map of names to numpy types, such as "
                          f'{{"count": "u4"}} ({error})') from None
    kinds = [made.fields[field][0].base.kind for field in made.names] if made.fields and made.names else []
    if not kinds or any(kind not in "iufb" for kind in kinds):
        raise SignalError(f"signal {name}: state is {state!r}; allowed are named numbers, such as {{\"count\": \"u4\"}}")
    if made.itemsize > STATE_BYTES:
        raise SignalError(f"signal {name}: its state takes {made.itemsize} bytes; there is room for {STATE_BYTES}")
    return made


def _load(where: str) -> Any:
    """What "package.module:name" names."""
    module, _, name = where.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SignalError(f"signal {where!r} cannot be loaded ({error}); allowed is package.module:name") from None


def _first_line(error: Exception) -> str:
    """Of what numba says, the line that names the trouble."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Failed in", "During:", "File ", "-", "[1] During", "\x1b"))]
    return (told or lines or ["no reason given"])[0]


def _made_up(n: int) -> np.ndarray:
    """Events of all sorts, the extreme ones first."""
    rng = np.random.default_rng(1)
    events = np.zeros(n, EVENT)
    events["timestamp"] = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(0, 10**12, n))
    for field in ("partner", "endpoint", "source", "object_id"):
        events[field] = rng.integers(1, 2**63, n)
    events["endpoint"][1::2] = events["endpoint"][0]
    events["latency_ms"] = rng.lognormal(3.0, 2.0, n)
    events["request_bytes"], events["response_bytes"] = rng.lognormal(6.0, 3.0, n), rng.lognormal(8.0, 3.0, n)
    events["status"] = rng.choice([200, 201, 301, 400, 401, 403, 404, 429, 500, 503], n)
    events["method"], events["count"] = rng.integers(0, 8, n), 1
    for field in ("source", "object_id", "latency_ms", "request_bytes", "response_bytes"):
        events[field][:4] = 0
    return events
