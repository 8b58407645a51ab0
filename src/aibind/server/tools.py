"""Tools that a model may call, and the rounds of calling them."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._closing import close_iterator
from .._json import compact_json, load_json
from .._logging import log_fields
from ..models.model import (
    CustomEvent,
    Finish,
    Model,
    ModelEvent,
    ModelRequest,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .models import ask_model
from .rounds import Round

__all__ = ["Tool", "run_rounds"]

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


async def run_rounds(
    model: Model, request: ModelRequest, tools: Sequence[Tool], max_steps: int
) -> AsyncGenerator[ModelEvent]:
    """Ask a model, run the tools that it calls, and ask again with their results, ``max_steps`` times at most.

    Text, calls and results are yielded as they come; the last round's reason to stop and the usage of all rounds
    together come at the end, before the error of a model that fails. Calls of the last round, and all calls when there
    are no tools, are left to the client. Calls that the model gives a result for are not run.
    """
    by_name = {tool.name: tool for tool in tools}
    request = replace(request, tools=[tool.declaration for tool in tools])
    usage: Usage | None = None
    finish: Finish | None = None
    failure: Exception | None = None
    for step in range(1, max_steps + 1):
        rounds = [Round()]
        finish = None
        events = ask_model(model, request)
        try:
            async for event in events:
                if isinstance(event, Usage):
                    usage = _add(usage, event)
                elif isinstance(event, Finish):
                    finish = event
                else:
                    _take(rounds, event)
                    yield event
        except Exception as error:
            failure = error
        finally:
            await close_iterator(events)
        open_calls = rounds[-1].open_calls
        if failure is not None or not open_calls or not by_name or step == max_steps:
            break
        for call in open_calls:
            result = await _run(by_name, call)
            rounds[-1].take(result)
            yield result
        said = [message for one in rounds for message in one.messages()]
        request = replace(request, messages=[*request.messages, *said])
    for last in (finish, usage):
        if last is not None:
            yield last
    if failure is not None:
        raise failure


def _take(rounds: list[Round], event: ModelEvent) -> None:
    """Add what a model says to its last round, or begin another one after the results of calls that it ran itself."""
    if isinstance(event, ToolCallDelta | CustomEvent | Finish | Usage):
        return
    if isinstance(event, ToolResult):
        if all(call.id != event.id for call in rounds[-1].open_calls):
            return  # endpoints refuse a result without its call
    elif rounds[-1].results:
        rounds.append(Round())
    rounds[-1].take(event)


async def _run(tools: Mapping[str, Tool], call: ToolCall) -> ToolResult:
    tool = tools.get(call.name)
    if tool is None:
        return ToolResult(call.id, call.name, compact_json({"error": f"There is no tool {call.name}"}))
    try:
        arguments = load_json(call.arguments or "{}")
        result = compact_json(await tool.run(**arguments))
    except Exception as error:
        logger.warning("Tool %s failed", call.name, exc_info=error, extra=log_fields("tool.failed", tool=call.name))
        result = compact_json({"error": str(error) or type(error).__name__})
    return ToolResult(call.id, call.name, result)


def _add(first: Usage | None, second: Usage) -> Usage:
    if first is None:
        return second
    return Usage(
        first.input_tokens + second.input_tokens,
        first.output_tokens + second.output_tokens,
        second.model or first.model,
    )
