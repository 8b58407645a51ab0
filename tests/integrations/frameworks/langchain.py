"""A chat model of LangChain, with tools that the handler runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk, messages_to_dict
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from aibind._json import compact_json

from . import CALL_ID, Running, Script, load_example


class ScriptedChatModel(GenericFakeChatModel):
    """LangChain's fake chat model, with the chunks of a script."""

    script: Any

    async def _astream(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> AsyncIterator[Any]:
        pieces = self.script.pieces(compact_json(messages_to_dict(messages)))
        usage = UsageMetadata(input_tokens=3, output_tokens=2, total_tokens=5)
        try:
            async for kind, text in pieces:
                message = AIMessageChunk(content=text)
                if kind == "call":
                    call: Any = {"index": 0, "id": CALL_ID, "name": "temperature", "args": text}
                    message = AIMessageChunk(content="", tool_call_chunks=[call])
                elif kind == "reasoning":
                    message = AIMessageChunk(content=[{"type": "reasoning", "reasoning": text}])
                chunk = ChatGenerationChunk(message=message)
                if run_manager:
                    await run_manager.on_llm_new_token(message.text, chunk=chunk)
                yield chunk
            yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage))
        finally:
            await pieces.aclose()

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self.bind(tools=tools)


@asynccontextmanager
async def run(script: Script) -> AsyncIterator[Running]:
    model = ScriptedChatModel(messages=iter(()), script=script)
    handler = load_example("langchain_model").make_handler(model)
    yield Running(handler, {"toolset": "weather"})
    await handler.aclose()
