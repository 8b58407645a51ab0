"""Background responses: read over connections that break, gone on with by another model, cancelled, and paid once."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from aibind.errors import ModelError
from aibind.models import (
    Finish,
    ModelEvent,
    ModelRequest,
    OpenAIModel,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    Usage,
    can_resume,
)
from tests.support.background_endpoint import BackgroundEndpoint, Faults, Part, text_for
from tests.support.endpoint import Endpoint, Reply, failure
from tests.support.models import until

from .helpers import HELLO, ask, collect_all, collect_until_error, joined, read_until_error, text_of

TOKENS = 40


def background(endpoint: BackgroundEndpoint | Endpoint, **options: Any) -> OpenAIModel:
    fields = {"backoff_s": 0.01, "timeout_s": 60, **options}
    return OpenAIModel("m", api="responses", background=True, base_url=endpoint.base_url, **fields)


def normalised(events: Sequence[ModelEvent]) -> str:
    return text_of(events).replace("\r\n", "\n").replace("\r", "\n")


async def resumed(
    model: OpenAIModel, so_far: Sequence[ModelEvent], reference: str | None, request: ModelRequest = HELLO
) -> list[ModelEvent]:
    return joined([event async for event in model.resume(request, so_far, reference)])


# --- a new response --------------------------------------------------------------------------------------------------


async def test_the_reference_comes_before_the_text() -> None:
    async with BackgroundEndpoint(tokens=TOKENS) as endpoint, background(endpoint) as model:
        reference, *events = await collect_all(model)
    assert reference == ReplyReference(endpoint.one.id)
    assert normalised(events) == text_for("hello", TOKENS)
    assert events[-2:] == [Finish("stop"), Usage(3, TOKENS)]
    [exchange] = endpoint.exchanges
    assert {name: exchange.body[name] for name in ("background", "store", "stream")} == {
        "background": True,
        "store": True,
        "stream": True,
    }


async def test_a_connection_that_breaks_is_replaced_and_nothing_is_generated_twice() -> None:
    faults = Faults(cut_after=5)
    async with BackgroundEndpoint(tokens=TOKENS, faults=faults) as endpoint, background(endpoint) as model:
        events = await collect_all(model)
    assert normalised(events) == text_for("hello", TOKENS)
    assert [event for event in events if isinstance(event, ReplyReference)] == [ReplyReference(endpoint.one.id)]
    assert endpoint.stats["responses"] == 1
    assert endpoint.stats["tokens"] == TOKENS
    retrievals = [exchange.path for exchange in endpoint.exchanges[1:]]
    assert len(retrievals) >= TOKENS // 5
    assert retrievals[:2] == [f"/v1/responses/{endpoint.one.id}?stream=true&starting_after={n}" for n in (4, 9)]


async def test_events_without_numbers_are_read_again_from_the_start() -> None:
    faults = Faults(cut_after=30, cut_connections=1, numberless=True)
    async with BackgroundEndpoint(tokens=TOKENS, faults=faults) as endpoint, background(endpoint) as model:
        events = await collect_all(model)
    assert normalised(events) == text_for("hello", TOKENS)
    assert endpoint.stats["retrievals"] == 1
    assert endpoint.stats["responses"] == 1


async def test_connections_without_progress_are_bounded() -> None:
    endpoint = BackgroundEndpoint(tokens=TOKENS, per_second=50)
    async with endpoint, background(endpoint, backoff_s=0.001) as model:
        events = model.stream(HELLO)
        so_far = [await anext(events) for _ in range(2)]
        endpoint.faults.cut_after = 0
        rest, error = await read_until_error(events)
    assert isinstance(error, ModelError)
    assert (error.code, error.retryable) == ("cut_off", True)
    assert len(rest) + len(so_far) < TOKENS
    assert endpoint.stats["retrievals"] == 8
    assert endpoint.stats["responses"] == 1


async def test_a_retrieval_that_is_refused_for_a_moment_is_asked_again() -> None:
    faults = Faults(cut_after=10, cut_connections=1, refusals=[503, 429, 500])
    async with BackgroundEndpoint(tokens=TOKENS, faults=faults) as endpoint, background(endpoint) as model:
        events = await collect_all(model)
    assert normalised(events) == text_for("hello", TOKENS)
    assert endpoint.stats["retrievals"] == 4


async def test_a_response_that_is_not_streamed_any_more_is_polled() -> None:
    faults = Faults(cut_after=10, cut_connections=1, not_streamed=True)
    endpoint = BackgroundEndpoint(tokens=TOKENS, per_second=200, faults=faults)
    async with endpoint, background(endpoint) as model:
        events = await collect_all(model)
    assert normalised(events) == text_for("hello", TOKENS)
    assert events[-2:] == [Finish("stop"), Usage(3, TOKENS)]
    assert endpoint.stats["responses"] == 1
    assert not any("stream" in exchange.path for exchange in endpoint.exchanges[2:])


async def test_a_response_that_was_begun_without_a_word_is_not_begun_again() -> None:
    faults = Faults(hang_up=1)
    async with BackgroundEndpoint(faults=faults) as endpoint, background(endpoint) as model:
        events, error = await collect_until_error(model)
    assert events == []
    assert isinstance(error, ModelError)
    assert error.code == "connection"
    assert endpoint.stats["responses"] == 1


@pytest.mark.parametrize(("status", "requests"), [(429, 2), (503, 2), (500, 1), (408, 1), (400, 1)])
async def test_only_refusals_of_what_was_not_begun_are_retried(status: int, requests: int) -> None:
    script = [failure(status, "no"), Reply(body=b"{}", content_type="application/json")]
    async with Endpoint(*script) as endpoint, background(endpoint, max_retries=1) as model:
        await collect_until_error(model)
        assert len(endpoint.exchanges) == requests


async def test_closing_leaves_the_response_alone() -> None:
    async with BackgroundEndpoint(tokens=TOKENS, per_second=200) as endpoint, background(endpoint) as model:
        events = model.stream(HELLO)
        so_far = [await anext(events) for _ in range(5)]
        await events.aclose()
        await until(lambda: endpoint.one.ended)
        assert endpoint.one.status == "completed"
        rest = await resumed(model, so_far, endpoint.one.id)
    assert normalised([*so_far, *rest]) == text_for("hello", TOKENS)
    assert endpoint.stats["tokens"] == TOKENS


@pytest.mark.parametrize(
    ("status", "code"), [("failed", "server_error"), ("cancelled", "cancelled"), ("incomplete", None)]
)
async def test_how_a_response_ends(status: str, code: str | None) -> None:
    faults = Faults(ends_with=status, cut_after=10)
    async with BackgroundEndpoint(tokens=TOKENS, faults=faults) as endpoint, background(endpoint) as model:
        if code is None:
            events = await collect_all(model)
            assert Finish("length") in events
        else:
            events, error = await collect_until_error(model)
            assert isinstance(error, ModelError)
            assert error.code == code
        assert normalised(events) == text_for("hello", TOKENS)
        starts: list[list[ModelEvent]] = [[], [TextDelta(text_for("hello", 3))]]
        for so_far in starts:
            if code is None:
                rest = await resumed(model, so_far, endpoint.one.id)
            else:
                rest, error = await read_until_error(model.resume(HELLO, so_far, endpoint.one.id))
                assert isinstance(error, ModelError)
                assert error.code == code
            assert text_of([*so_far, *rest]) == text_for("hello", TOKENS)


# --- going on with a response ----------------------------------------------------------------------------------------

PARTS = [
    Part("reasoning", ["**Loo", "king**\r\n", "at it"]),
    Part("text", ["Let ", "me.\r", "\n"]),
    Part("call", ['{"a": 1,', ' "b": "\\u00e9"}'], "look"),
]


@pytest.mark.parametrize("not_streamed", [False, True], ids=["streamed", "in one piece"])
async def test_every_cut_of_an_answer_is_continued(not_streamed: bool) -> None:
    endpoint = BackgroundEndpoint(script=lambda _: PARTS)
    async with endpoint, background(endpoint) as first, background(endpoint) as second:
        await collect_all(first)
        call = ToolCall(f"call_{endpoint.one.id}_2", "look", '{"a":1,"b":"é"}')  # as it is stored
        whole: list[ModelEvent] = [
            ReasoningDelta("**Looking**\nat it"),
            TextDelta("Let me.\n"),
            call,
            Finish("tool_calls"),
        ]
        endpoint.faults.not_streamed = not_streamed
        for place, event in enumerate(whole):
            if isinstance(event, TextDelta | ReasoningDelta):
                kind = type(event)
                for offset in range(1, len(event.text)):
                    rest = await resumed(second, [*whole[:place], kind(event.text[:offset])], endpoint.one.id)
                    assert rest[0] == kind(event.text[offset:])
                    assert [type(one) for one in rest[1:]] == [type(one) for one in whole[place + 1 :]] + [Usage]
            rest = await resumed(second, whole[: place + 1], endpoint.one.id)
            assert [type(one) for one in rest] == [type(one) for one in whole[place + 1 :]] + [Usage]
    assert endpoint.stats["responses"] == 1


async def test_a_response_under_way_is_continued_by_another_process() -> None:
    faults = Faults(cut_after=20)
    endpoint = BackgroundEndpoint(tokens=TOKENS, per_second=200, faults=faults)
    async with endpoint, background(endpoint) as first, background(endpoint) as second:
        events = first.stream(HELLO)
        received = [await anext(events) for _ in range(9)]
        rest = await resumed(second, received[:4], endpoint.one.id)
        assert normalised([*received[:4], *rest]) == text_for("hello", TOKENS)
        assert not any(isinstance(event, ReplyReference) for event in rest)
        await events.aclose()
    assert endpoint.stats["responses"] == 1
    assert endpoint.stats["tokens"] == TOKENS


async def test_structured_output_is_read_from_its_start() -> None:
    endpoint = BackgroundEndpoint(script=lambda _: [Part("text", ['{"a"', ": 1}"])])
    request = ask("hello", json_schema={})
    async with endpoint, background(endpoint) as model:
        await collect_all(model, request)
        rest = await resumed(model, [], endpoint.one.id, request)
    assert text_of(rest) == '{"a": 1}'


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_response_that_is_gone_is_not_resumable(streamed: bool) -> None:
    async with BackgroundEndpoint(faults=Faults(not_streamed=not streamed)) as endpoint, background(endpoint) as model:
        await collect_all(model)
        endpoint.faults.forgotten = True
        rest, error = await read_until_error(model.resume(HELLO, [], endpoint.one.id))
    assert rest == []
    assert isinstance(error, ModelError)
    assert error.code == "not_resumable"


async def test_another_answer_than_what_is_stored_is_not_resumable() -> None:
    async with BackgroundEndpoint() as endpoint, background(endpoint) as model:
        await collect_all(model)
        _, error = await read_until_error(model.resume(HELLO, [TextDelta("Nonsense")], endpoint.one.id))
    assert isinstance(error, ModelError)
    assert error.code == "not_resumable"


@pytest.mark.parametrize("reference", [None, ""])
async def test_a_response_without_a_name_is_not_resumable(reference: str | None) -> None:
    async with BackgroundEndpoint() as endpoint, background(endpoint) as model:
        _, error = await read_until_error(model.resume(HELLO, [], reference))
    assert isinstance(error, ModelError)
    assert error.code == "not_resumable"
    assert endpoint.exchanges == []


async def test_a_key_that_is_refused_is_the_error() -> None:
    async with BackgroundEndpoint(faults=Faults(refusals=[401])) as endpoint, background(endpoint) as model:
        _, error = await read_until_error(model.resume(HELLO, [], "resp_1"))
    assert isinstance(error, ModelError)
    assert error.status == 401
    assert len(endpoint.exchanges) == 1


async def test_the_name_cannot_leave_its_path() -> None:
    async with BackgroundEndpoint() as endpoint, background(endpoint) as model:
        await read_until_error(model.resume(HELLO, [], "../a?b=c"))
    assert [exchange.path for exchange in endpoint.exchanges] == ["/v1/responses/..%2Fa%3Fb%3Dc?stream=true"]


# --- cancelling ------------------------------------------------------------------------------------------------------


async def test_cancelling_ends_the_response() -> None:
    async with BackgroundEndpoint(tokens=2000, per_second=100) as endpoint, background(endpoint) as model:
        events = model.stream(HELLO)
        reference = await anext(events)
        assert isinstance(reference, ReplyReference)
        await anext(events)
        await events.aclose()
        await model.cancel(reference.value)
        assert endpoint.one.status == "cancelled"
        tokens = endpoint.one.tokens
        await asyncio.sleep(0.1)
        assert endpoint.one.tokens == tokens < 2000
        await model.cancel(reference.value)  # nothing happens
    assert endpoint.stats["cancels"] == 2


async def test_cancelling_is_tried_again_and_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    async with BackgroundEndpoint(tokens=2000, per_second=100) as endpoint, background(endpoint) as model:
        events = model.stream(HELLO)
        await anext(events)
        endpoint.faults.refusals = [503, 500]
        await model.cancel(endpoint.one.id)
        assert endpoint.one.status == "cancelled"
        assert not caplog.records
        endpoint.faults.forgotten = True
        await model.cancel(endpoint.one.id)
        await events.aclose()
    await model.cancel("resp_1")  # the model is closed
    assert [record.levelno for record in caplog.records if record.name == "aibind"] == [logging.WARNING] * 2


async def test_a_model_without_background_cancels_nothing() -> None:
    async with BackgroundEndpoint() as endpoint, background_off(endpoint) as model:
        await model.cancel("resp_1")
        _, error = await read_until_error(model.resume(HELLO, [], "resp_1"))
    assert isinstance(error, ModelError)
    assert error.code == "not_resumable"
    assert endpoint.exchanges == []


def background_off(endpoint: BackgroundEndpoint) -> OpenAIModel:
    return OpenAIModel("m", api="responses", base_url=endpoint.base_url)


# --- settings --------------------------------------------------------------------------------------------------------


async def test_what_can_be_resumed() -> None:
    async with BackgroundEndpoint() as endpoint, background(endpoint) as model:
        assert can_resume(model)
        assert model.repeats_exactly
    plain = OpenAIModel("m", api="responses", base_url="http://127.0.0.1/v1")
    assert not can_resume(plain)
    assert not plain.repeats_exactly
    await plain.aclose()


def test_settings_that_contradict() -> None:
    with pytest.raises(ValueError, match="api='responses'"):
        OpenAIModel("m", background=True)
    with pytest.raises(ValueError, match="leave them out"):
        OpenAIModel("m", api="responses", background=True, extra_body={"store": False})


async def test_the_query_of_the_address_is_kept() -> None:
    async with BackgroundEndpoint(tokens=3) as endpoint:
        address = f"{endpoint.base_url}?api-version=2026"
        async with OpenAIModel("m", api="responses", background=True, base_url=address) as model:
            await collect_all(model)
            await resumed(model, [], endpoint.one.id)
            await model.cancel(endpoint.one.id)
    paths = [exchange.path for exchange in endpoint.exchanges]
    assert paths == [
        "/v1/responses?api-version=2026",
        f"/v1/responses/{endpoint.one.id}?api-version=2026&stream=true",
        f"/v1/responses/{endpoint.one.id}/cancel?api-version=2026",
    ]


# --- the endpoint as a process ---------------------------------------------------------------------------------------


@pytest.mark.processes
async def test_the_endpoint_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.support.background_endpoint", "--tokens", "30", "--per-second", "300"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        async with OpenAIModel("m", api="responses", background=True, base_url=url, backoff_s=0.01) as model:
            faults = Request(url.replace("/v1", "/faults"), json.dumps({"cut_after": 7}).encode(), method="POST")
            await asyncio.to_thread(lambda: urlopen(faults, timeout=60).read())
            assert normalised(await collect_all(model)) == text_for("hello", 30)
        told = await asyncio.to_thread(lambda: urlopen(url.replace("/v1", "/stats"), timeout=60).read())
        stats = json.loads(told)
        assert stats["counts"]["responses"] == 1
        assert stats["counts"]["tokens"] == 30
        assert stats["cuts"] > 3
        assert stats["responses"][0]["prompt"] == "hello"
    finally:
        process.kill()
        await process.wait()
