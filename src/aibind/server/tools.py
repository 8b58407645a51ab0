"""Tools that a model may call, and the rounds of calling them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._closing import close_iterator
from .._json import compact_json, load_json
from ..models.model import Message, Model, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from .models import ask_model

__all__ = ["Tool", "ToolResult", "run_rounds"]

logger = logging.getLogger("aibind")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    ``parameters`` is the JSON schema of its arguments. ``run`` is called with the decoded arguments as keywords and
    returns a JSON value; an exception that it raises is given to the model as the call's result.
    """

    name: str
    description: str
    run: Callable[..., Awaitable[Any]]
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    @property
    def declaration(self) -> Mapping[str, Any]:
        """The tool as chat completions describes one."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call, as JSON text."""

    id: str
    name: str
    result: str


async def run_rounds(
    model: Model, request: ModelRequest, tools: Sequence[Tool], max_steps: int
) -> AsyncIterator[ModelEvent | ToolResult]:
    """Ask a model, run the tools that it calls, and ask again with their results, ``max_steps`` times at most.

    Text, calls and results are yielded as they come, and the usage of all rounds together at the end. Calls of the
    last round, and all calls when there are no tools, are left to the client.
    """
    by_name = {tool.name: tool for tool in tools}
    request = replace(request, tools=[tool.declaration for tool in tools])
    usage: Usage | None = None
    for step in range(1, max_steps + 1):
        text: list[str] = []
        calls: list[ToolCall] = []
        events = ask_model(model, request)
        try:
            async for event in events:
                if isinstance(event, Usage):
                    usage = _add(usage, event)
                    continue
                if isinstance(event, TextDelta):
                    text.append(event.text)
                elif isinstance(event, ToolCall):
                    calls.append(event)
                yield event
        finally:
            await close_iterator(events)
        if not calls or not by_name or step == max_steps:
            break
        results = [await _run(by_name, call) for call in calls]
        for result in results:
            yield result
        request = replace(request, messages=[*request.messages, *_messages("".join(text), calls, results)])
    if usage is not None:
        yield usage


async def _run(tools: Mapping[str, Tool], call: ToolCall) -> ToolResult:
    tool = tools.get(call.name)
    if tool is None:
        return ToolResult(call.id, call.name, compact_json({"error": f"There is no tool {call.name}"}))
    try:
        arguments = load_json(call.arguments or "{}")
        result = compact_json(await tool.run(**arguments))
    except Exception as error:
        logger.warning("Tool %s failed", call.name, exc_info=error)
        result = compact_json({"error": str(error) or type(error).__name__})
    return ToolResult(call.id, call.name, result)


def _messages(text: str, calls: list[ToolCall], results: list[ToolResult]) -> list[Message]:
    asked = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    answered: list[Message] = [
        {"role": "tool", "tool_call_id": result.id, "content": result.result} for result in results
    ]
    return [{"role": "assistant", "content": text, "tool_calls": asked}, *answered]


def _add(first: Usage | None, second: Usage) -> Usage:
    if first is None:
        return second
    return Usage(first.input_tokens + second.input_tokens, first.output_tokens + second.output_tokens)
