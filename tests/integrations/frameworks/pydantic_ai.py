"""An agent of pydantic-ai, with its FunctionModel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel

from . import CALL_ID, Running, Script, load_example


@asynccontextmanager
async def run(script: Script) -> AsyncIterator[Running]:
    async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        pieces = script.pieces(ModelMessagesTypeAdapter.dump_json(messages).decode())
        try:
            async for kind, text in pieces:
                if kind == "call":
                    yield {1: DeltaToolCall("temperature", text, tool_call_id=CALL_ID)}
                else:
                    yield text if kind == "text" else {0: DeltaThinkingPart(content=text)}
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]

    handler = load_example("pydantic_ai_agent").make_handler(FunctionModel(stream_function=answer))
    yield Running(handler)
    await handler.aclose()
