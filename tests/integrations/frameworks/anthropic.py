"""Anthropic's client, with tools that the handler runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from anthropic import AsyncAnthropic

from . import CALL_ID, Response, Running, Script, load_example
from ._endpoint import ENDLESS, http_client, scripted_endpoint


def messages_events(response: Response) -> Iterator[dict[str, Any]]:
    """Yield the events of a response in Anthropic's format."""
    usage = {"input_tokens": 2, "cache_read_input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    yield {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}}
    yield {"type": "ping"}
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if response.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": text} for text in response.reasoning]
        signed = {"type": "signature_delta", "signature": "c2lnbmVk"}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]))
    if text := [*response.text, *(["word "] * (ENDLESS * response.endless))]:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": one} for one in text]))
    if response.calls:
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"place":', '"Bern"}')]
        blocks.append(({"type": "tool_use", "id": CALL_ID, "name": "temperature", "input": {}}, pieces))
    for index, (block, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        yield {"type": "content_block_stop", "index": index}
    if response.fails:
        yield {"type": "error", "error": {"type": "overloaded_error", "message": "key sk-secret is out of money"}}
        return
    reason = "tool_use" if response.calls else "end_turn"
    yield {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 2}}
    yield {"type": "message_stop"}


@asynccontextmanager
async def run(script: Script) -> AsyncIterator[Running]:
    async with (
        scripted_endpoint(script, messages_events) as endpoint,
        http_client() as http,
        AsyncAnthropic(api_key="sk-secret", base_url=endpoint.origin, http_client=http, max_retries=0) as client,
    ):
        handler = load_example("anthropic_client").make_handler(client)
        yield Running(handler, {"toolset": "weather"})
        await handler.aclose()
