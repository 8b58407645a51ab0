"""An endpoint on loopback for the SDKs of providers, which says what a script tells it to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.support.endpoint import Endpoint, Exchange, Reply

from . import CALL_ID, Response, Script

__all__ = ["http_client", "responses_events", "scripted_endpoint"]

ENDLESS = 3_000


@asynccontextmanager
async def scripted_endpoint(
    script: Script, events_of: Callable[[Response], Iterator[dict[str, Any]]]
) -> AsyncIterator[Endpoint]:
    """Serve the responses of a script in the format that ``events_of`` writes."""

    def answer(exchange: Exchange) -> Reply:
        response = script.responses[len(script.asked)]
        script.asked.append(json.dumps(exchange.body, ensure_ascii=False))
        data = [json.dumps(event) for event in events_of(response)]
        return Reply(data, done=False, delay_s=0.001 if response.endless else 0, names_events=True)

    def report(event: str, _: Exchange) -> None:
        script.closed += event in ("finished", "disconnected")

    async with Endpoint(answer, report=report) as endpoint:
        yield endpoint


def http_client() -> httpx2.AsyncClient:
    """Make a client for plain HTTP: reading the certificates takes longer than a test."""
    return httpx2.AsyncClient(verify=False, trust_env=False)


def responses_events(response: Response) -> Iterator[dict[str, Any]]:
    """Yield the events of a response in OpenAI's Responses format."""
    shown: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_780_000_000,
        "model": "m",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "in_progress",
    }
    yield {"type": "response.created", "response": shown, "sequence_number": 0}
    items = list[dict[str, Any]]()

    def item(value: dict[str, Any], *between: dict[str, Any]) -> Iterator[dict[str, Any]]:
        place = {"output_index": len(items), "sequence_number": 1}
        yield {"type": "response.output_item.added", "item": value, **place}
        for one in between:
            yield {"item_id": value["id"], **one, **place}
        yield {"type": "response.output_item.done", "item": value, **place}
        items.append(value)

    if response.reasoning:
        summary = [{"type": "summary_text", "text": "".join(response.reasoning)}]
        deltas = [
            {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": text}
            for text in response.reasoning
        ]
        yield from item({"type": "reasoning", "id": "rs_1", "summary": summary}, *deltas)
    if text := [*response.text, *(["word "] * (ENDLESS * response.endless))]:
        content = [{"type": "output_text", "text": "".join(text), "annotations": []}]
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
        part = {"content_index": 0, "logprobs": []}
        yield from item(message, *({"type": "response.output_text.delta", "delta": one, **part} for one in text))
    if response.fails:
        yield {"type": "error", "error": {"message": "key sk-secret is out of money", "code": "x"}}
        return
    if response.calls:
        call = {"type": "function_call", "id": "fc_1", "call_id": CALL_ID, "name": "temperature"}
        yield from item({**call, "arguments": '{"place":"Bern"}', "status": "completed"})
    usage = {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    whole = {**shown, "status": "completed", "output": items, "usage": usage}
    yield {"type": "response.completed", "response": whole, "sequence_number": 2}
