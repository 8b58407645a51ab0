"""OpenAIFetchModel in workerd, against a loopback endpoint: read over broken connections, continued, and cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.workerd.rig import Rig
from tests.support.background_endpoint import BackgroundEndpoint, Faults, served_in_thread, text_for

RUNS_ON = ("py314",)
EVERY = ("py314", "py313-2026-04-01", "py312-oldest")  # with --every-combination

TOKENS = 60


@pytest.fixture
def endpoint() -> Iterator[BackgroundEndpoint]:
    with served_in_thread(BackgroundEndpoint(tokens=TOKENS, per_second=200, faults=Faults())) as served:
        yield served


def ask(rig: Rig, worker: str, endpoint: BackgroundEndpoint, **asked: Any) -> Any:
    return rig.ask(worker, "/model", {"base_url": endpoint.base_url, **asked})


def test_connections_that_break_are_replaced(prepared: Rig, endpoint: BackgroundEndpoint) -> None:
    endpoint.faults.cut_after = 9
    told = ask(prepared, "checks", endpoint)
    assert told["error"] is None
    assert told["text"] == text_for("hello", TOKENS)
    assert told["reference"] == endpoint.one.id
    assert endpoint.stats["retrievals"] >= TOKENS // 9
    assert (endpoint.stats["responses"], endpoint.stats["tokens"]) == (1, TOKENS)


def test_another_isolate_goes_on_with_an_answer(prepared: Rig, endpoint: BackgroundEndpoint) -> None:
    begun = ask(prepared, "checks", endpoint, stop_after=40)
    assert 40 <= len(begun["text"]) < len(text_for("hello", TOKENS))
    for not_streamed in (False, True):
        endpoint.faults.not_streamed = not_streamed
        rest = ask(prepared, "second", endpoint, so_far=begun["text"][:31], reference=begun["reference"])
        assert rest["error"] is None
        assert begun["text"][:31] + rest["text"] == text_for("hello", TOKENS)
    assert (endpoint.stats["responses"], endpoint.stats["tokens"]) == (1, TOKENS)


def test_a_response_is_cancelled(prepared: Rig, endpoint: BackgroundEndpoint) -> None:
    begun = ask(prepared, "checks", endpoint, stop_after=10)
    ask(prepared, "checks", endpoint, cancel=begun["reference"])
    assert endpoint.stats["cancels"] == 1
    assert endpoint.one.status in ("cancelled", "completed")


def test_errors_of_the_endpoint(prepared: Rig, endpoint: BackgroundEndpoint) -> None:
    gone = ask(prepared, "checks", endpoint, so_far="", reference="resp_unknown")
    assert (gone["text"], gone["error"]) == ("", "not_resumable")
    endpoint.faults.hang_up = 1
    lost = ask(prepared, "checks", endpoint)
    assert (lost["text"], lost["error"]) == ("", "connection")
    assert endpoint.stats["responses"] == 1
    endpoint.faults.refusals = [401]
    refused = ask(prepared, "checks", endpoint, so_far="", reference=endpoint.one.id)
    assert (refused["status"], refused["said"]) == (
        401,
        "The model's endpoint answered 401 (check the API key): told to refuse",
    )


def test_responses_without_background(prepared: Rig, endpoint: BackgroundEndpoint) -> None:
    told = ask(prepared, "checks", endpoint, options={"background": False})
    assert (told["text"], told["reference"]) == (text_for("hello", TOKENS), None)
