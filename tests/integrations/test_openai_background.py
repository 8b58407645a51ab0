"""Going on with answers through OpenAI's client: background responses and prefilled messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("openai")

import httpx2
import openai

from aibind.errors import ModelError
from aibind.integrations.openai import OpenAIClientModel
from aibind.models import Finish, ReplyReference, TextDelta, Usage, can_resume
from tests.models.helpers import HELLO, collect_all, collect_until_error, joined, read_until_error, text_of
from tests.support.background_endpoint import BackgroundEndpoint, Faults, text_for
from tests.support.endpoint import Endpoint, Reply, failure, texts

TOKENS = 20


@asynccontextmanager
async def client_of(endpoint: BackgroundEndpoint | Endpoint, **options: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        httpx2.AsyncClient(verify=False, trust_env=False) as http,
        openai.AsyncOpenAI(base_url=endpoint.base_url, http_client=http, api_key="sk-very-secret", **options) as client,
    ):
        yield client


@asynccontextmanager
async def background(**options: Any) -> AsyncIterator[tuple[OpenAIClientModel, BackgroundEndpoint]]:
    async with BackgroundEndpoint(tokens=TOKENS, **options) as endpoint, client_of(endpoint) as client:
        yield OpenAIClientModel(client, "m", api="responses", background=True), endpoint


async def test_a_connection_that_breaks_is_replaced() -> None:
    async with background(faults=Faults(cut_after=6)) as (model, endpoint):
        reference, *events = await collect_all(model)
    assert reference == ReplyReference(endpoint.one.id)
    assert text_of(events).replace("\r\n", "\n").replace("\r", "\n") == text_for("hello", TOKENS)
    assert events[-2:] == [Finish("stop"), Usage(3, TOKENS)]
    assert endpoint.stats["responses"] == 1
    assert endpoint.stats["retrievals"] > 2


@pytest.mark.parametrize("not_streamed", [False, True], ids=["streamed", "in one piece"])
async def test_an_answer_is_continued(not_streamed: bool) -> None:
    async with background() as (model, endpoint):
        await collect_all(model)
        endpoint.faults.not_streamed = not_streamed
        text = text_for("hello", TOKENS)
        for offset in (1, 17, len(text) - 1):
            rest = model.resume(HELLO, [TextDelta(text[:offset])], endpoint.one.id)
            found = joined([event async for event in rest])
            assert found == [TextDelta(text[offset:]), Finish("stop"), Usage(3, TOKENS)]
    assert endpoint.stats["responses"] == 1


async def test_what_cannot_be_continued() -> None:
    async with background() as (model, endpoint):
        await collect_all(model)
        for reference in (None, "resp_unknown"):
            _, error = await read_until_error(model.resume(HELLO, [], reference))
            assert isinstance(error, ModelError)
            assert error.code == "not_resumable"
        plain = OpenAIClientModel(model._client, "m", api="responses")
        assert can_resume(model)
        assert not can_resume(plain)
        _, error = await read_until_error(plain.resume(HELLO, [], endpoint.one.id))
        assert isinstance(error, ModelError)
        assert error.code == "not_resumable"


async def test_cancelling() -> None:
    async with background(per_second=20) as (model, endpoint):
        events = model.stream(HELLO)
        await anext(events)
        await events.aclose()
        await model.cancel(endpoint.one.id)
        assert endpoint.one.status == "cancelled"
        await model.cancel("resp_unknown")


async def test_a_response_that_was_begun_without_a_word_is_not_begun_again() -> None:
    async with background(faults=Faults(hang_up=1)) as (model, endpoint):
        events, error = await collect_until_error(model)
    assert events == []
    assert isinstance(error, ModelError)
    assert endpoint.stats["responses"] == 1


@pytest.mark.parametrize(("status", "requests"), [(429, 2), (500, 1)])
async def test_only_refusals_of_what_was_not_begun_are_retried(status: int, requests: int) -> None:
    async with Endpoint(failure(status, "no")) as endpoint, client_of(endpoint, max_retries=1) as client:
        model = OpenAIClientModel(client, "m", api="responses", background=True)
        _, error = await collect_until_error(model)
        assert isinstance(error, ModelError)
        assert error.status == status
        assert len(endpoint.exchanges) == requests


async def test_a_prefilled_message_is_continued() -> None:
    async with Endpoint(Reply(texts("rest"))) as endpoint, client_of(endpoint) as client:
        model = OpenAIClientModel(client, "m", prefill="continue_final_message")
        assert can_resume(model)
        assert not model.repeats_exactly
        rest = [event async for event in model.resume(HELLO, [TextDelta("The ")], None)]
    assert text_of(rest) == "rest"
    body = endpoint.exchanges[0].body
    assert body["messages"][-1] == {"role": "assistant", "content": "The"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


async def test_settings_that_contradict() -> None:
    async with BackgroundEndpoint() as endpoint, client_of(endpoint) as client:
        with pytest.raises(ValueError, match="api='responses'"):
            OpenAIClientModel(client, "m", background=True)
        with pytest.raises(ValueError, match="options sets background"):
            OpenAIClientModel(client, "m", api="responses", background=True, options={"store": False})
        with pytest.raises(ValueError, match="prefill is for chat completions"):
            OpenAIClientModel(client, "m", api="responses", prefill="plain")
