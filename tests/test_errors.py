"""Errors that travel: copied, and pickled on their way through a queue or out of another process."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import pytest

from aibind import errors
from aibind.errors import AibindError, ModelError, OverloadedError, StreamNotFoundError

KINDS = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]
SAMPLES = {
    "str": "a “text”\n",
    "int": 7,
    "bool": True,
    "str | None": "said",
    "int | None": 418,
    "Mapping[str, str] | None": {"Retry-After": "1"},
}
"""A value for each type of parameter, different from every default."""


def pickled(protocol: int, error: Any) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": partial(pickled, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


def make(kind: type[AibindError]) -> AibindError:
    """Make an error with all of its arguments."""
    if kind.__init__ is Exception.__init__:
        return kind("a message")
    given: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            given.append("a message")
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = SAMPLES[parameter.annotation]
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            given.append(SAMPLES[parameter.annotation])
    return kind(*given, **named)


def assert_same(one: AibindError, other: AibindError) -> None:
    assert one is not other
    assert type(one) is type(other)
    assert (str(one), repr(one), one.args) == (str(other), repr(other), other.args)
    assert vars(one) == vars(other)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_travels(kind: type[AibindError], way: str) -> None:
    error = make(kind)
    copied = WAYS[way](error)
    assert_same(copied, error)
    assert_same(WAYS[way](copied), error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_was_set_on_an_error_travels_too(kind: type[AibindError], way: str) -> None:
    error: Any = make(kind)
    error.retry_after_s = 1.5
    error.add_note("while saving")
    try:
        raise error from OSError("a cause, which may be anything: " + "x" * 10)
    except AibindError as raised:
        copied = WAYS[way](raised)
    assert_same(copied, error)
    assert copied.retry_after_s == 1.5
    assert copied.__notes__ == ["while saving"]


def test_a_cause_that_cannot_be_pickled_does_no_harm() -> None:
    error = ModelError("failed", status=503, code="overloaded", retryable=True)
    error.__cause__ = RuntimeError(lambda: None)
    assert_same(pickle.loads(pickle.dumps(error)), error)


class OwnError(StreamNotFoundError):
    """Raised by a program that adds to ours."""

    def __init__(self, stream_id: str, *, region: str) -> None:
        super().__init__(stream_id)
        self.region = region


def test_a_programs_own_error_travels() -> None:
    error = OwnError("s", region="weur")
    assert_same(pickle.loads(pickle.dumps(error)), error)


def fail(number: int) -> None:
    if number == 0:
        raise StreamNotFoundError("s")
    error = OverloadedError("wait")
    error.retry_after_s = 2.0
    raise error


@pytest.mark.processes
def test_an_error_comes_out_of_a_process_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(StreamNotFoundError, match=r'^Stream "s" does not exist or has expired$') as missing:
            pool.submit(fail, 0).result()
        with pytest.raises(OverloadedError, match=r"^wait$") as overloaded:
            pool.submit(fail, 1).result()
    assert missing.value.stream_id == "s"
    assert overloaded.value.retry_after_s == 2.0
