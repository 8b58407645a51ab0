"""From LangChain's messages, as a runnable yields them, to a model's events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from ..._json import compact_json
from ...models.model import (
    CustomEvent,
    Finish,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)

__all__ = ["MessageReply"]

_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
"""Reasons to stop that providers name in their own way, as chat completions names them."""

_CALL_BLOCKS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call"})


class _Call:
    """A call of a tool, whose arguments come in pieces."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments = ""


class MessageReply:
    """The events of a reply, from the messages and pieces of messages of one or more models and tools."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str | None, int | str | None], _Call] = {}
        self._usage: Usage | None = None
        self._reason: str | None = None

    def add(self, message: BaseMessage) -> Iterator[ModelEvent]:
        """Yield the events of the next message or piece. Messages of users and systems say nothing."""
        if isinstance(message, ToolMessage):
            yield from self._flush()
            content: Any = message.content
            yield ToolResult(
                message.tool_call_id,
                message.name or "",
                content if isinstance(content, str) else compact_json(content),
            )
        elif isinstance(message, AIMessage):
            yield from self._said(message)

    def end(self) -> Iterator[ModelEvent]:
        """Yield what comes last: calls without results, the last reason to stop, and the usage of all models."""
        yield from self._flush()
        if self._reason is not None:
            yield Finish(self._reason)
        if self._usage is not None:
            yield self._usage

    def _said(self, message: AIMessage) -> Iterator[ModelEvent]:
        for block in message.content_blocks:
            fields: dict[str, Any] = dict(block)
            kind = fields.get("type")
            if kind == "text":
                if fields["text"]:
                    yield TextDelta(fields["text"])
                for annotation in fields.get("annotations") or ():
                    yield CustomEvent("annotation", annotation)
            elif kind == "reasoning":
                if fields.get("reasoning"):
                    yield ReasoningDelta(fields["reasoning"])
            elif kind not in _CALL_BLOCKS:
                yield CustomEvent("content", fields)
        if isinstance(message, AIMessageChunk):
            yield from self._pieces(message)
        else:
            yield from self._whole(message)
        self._count(message)

    def _pieces(self, message: AIMessageChunk) -> Iterator[ModelEvent]:
        for piece in message.tool_call_chunks:
            index = piece.get("index")
            call = self._calls.setdefault((message.id, piece.get("id") if index is None else index), _Call())
            call.id = call.id or piece.get("id")
            call.name += piece.get("name") or ""
            text = piece.get("args") or ""
            call.arguments += text
            if text and call.id is not None:
                yield ToolCallDelta(call.id, call.name, text)
        if message.chunk_position == "last":
            yield from self._flush(message.id)

    def _whole(self, message: AIMessage) -> Iterator[ModelEvent]:
        for call in message.tool_calls:
            yield ToolCall(call["id"] or f"call_{uuid4().hex}", call["name"], compact_json(call["args"]))
        for bad in message.invalid_tool_calls:
            yield ToolCall(bad["id"] or f"call_{uuid4().hex}", bad["name"] or "", bad["args"] or "")

    def _flush(self, message_id: str | None = None) -> Iterator[ModelEvent]:
        """Yield the calls of a message, or all calls, as whole."""
        for key in [key for key in self._calls if message_id in (None, key[0])]:
            call = self._calls.pop(key)
            yield ToolCall(call.id or f"call_{uuid4().hex}", call.name, call.arguments or "{}")

    def _count(self, message: AIMessage) -> None:
        used = message.usage_metadata
        if used is not None:
            before = self._usage or Usage()
            self._usage = Usage(
                before.input_tokens + used["input_tokens"],
                before.output_tokens + used["output_tokens"],
                message.response_metadata.get("model_name") or before.model,
            )
        metadata: dict[str, Any] = message.response_metadata
        reason = metadata.get("finish_reason") or metadata.get("stop_reason")
        if isinstance(reason, str) and reason:
            self._reason = _REASONS.get(reason, reason)
