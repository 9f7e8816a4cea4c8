"""observe() takes its arguments by position or by name, as any function does."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztcore.core import Core
from ztcore.engine import Engine

PARAMETERS = {
    "partner": "acme", "endpoint": "/orders", "method": "POST", "status": 201, "latency_ms": 7.5, "request_bytes": 300,
    "response_bytes": 900.0, "source": "203.0.113.9", "app": "shop", "timestamp": 1_750_000_000.5, "count": 3,
    "path": "/orders/4711?id=1",
}  # fmt: skip
KEY = b"0123456789abcdef"


def row_after(*args, **named):
    engine = Engine(64, hash_key=KEY)
    engine.observe(*args, **named)
    return engine.row(named.get("partner", args[0] if args else None), named.get("app", args[8] if len(args) > 8 else "default"))


@given(st.integers(0, 12), st.permutations(list(PARAMETERS)), st.booleans())
def test_by_position_and_by_name_are_the_same(positional, order, interned):
    """Names that are not interned come from dictionaries that were read from somewhere."""
    args = list(PARAMETERS.values())[:positional]
    left = [name for name in order if name not in list(PARAMETERS)[:positional]]
    named = {name if interned else "".join(list(name)): PARAMETERS[name] for name in left}
    assert row_after(*args, **named) == row_after(*PARAMETERS.values())


@given(st.sets(st.sampled_from(list(PARAMETERS)[2:])))
def test_what_is_left_out_has_its_default(left_out):
    """The defaults of the native table are those of the signature."""
    usual = {name: p.default for name, p in inspect.signature(Stub.observe).parameters.items() if p.default is not p.empty}
    given_ = {name: value for name, value in PARAMETERS.items() if name not in left_out}
    if "timestamp" in left_out:
        given_["timestamp"] = PARAMETERS["timestamp"]      # its default is now
    assert row_after(**given_) == row_after(**{**given_, **{name: usual[name] for name in left_out - {"timestamp"}}})


class Stub:
    def observe(self, partner, endpoint, method="GET", status=200, latency_ms=0.0, request_bytes=0, response_bytes=0,
                source=None, app="default", timestamp=None, count=1, path=None):
        """What core.pyi says."""


@pytest.mark.parametrize(("args", "named", "message"), [
    ((), {}, "at least 2"),
    (("a",), {}, "at least 2"),
    ((), {"endpoint": "/"}, "at least 2"),
    (("a",), {"partner": "b", "endpoint": "/"}, "multiple values.*partner"),
    (("a", "/"), {"latency": 1.0}, "unexpected keyword argument 'latency'"),
    (("a", "/", *range(11)), {}, "at most 12"),
    (("a", "/"), {"endpoint": "/x"}, "multiple values.*endpoint"),
])  # fmt: skip
def test_calls_that_are_wrong_say_how(args, named, message):
    """The message is the one that any function of Python's gives, and nothing was counted."""
    engine = Engine(64)
    with pytest.raises(TypeError, match=rf"observe\(\) .*{message}"):
        engine.observe(*args, **named)
    assert engine.stats()["events"] == 0


def test_another_object_has_no_observe():
    """The method is not called with an object that is no engine."""
    with pytest.raises(TypeError, match="Core"):
        Core.observe(object(), "a", "/")


def test_what_it_returns_is_a_decision_either_way():
    """Called through an object or through its class, by position or by name."""
    engine = Engine(64)
    assert repr(engine.observe("a", "/")) == repr(Core.observe(engine, partner="a", endpoint="/"))
    assert engine.stats()["events"] == 2
    assert np.array_equal(engine.levels(), [1, 0, 0, 0, 0])
