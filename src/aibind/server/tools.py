"""Tools that a model may call, and the rounds of calling them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from .._closing import close_iterator
from .._json import compact_json, is_object, load_json
from .._logging import log_fields
from ..errors import ModelError
from ..models.model import (
    ApprovalRequest,
    CustomEvent,
    Finish,
    Model,
    ModelEvent,
    ModelRequest,
    ReplyReference,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .models import ask_model
from .reply_events import RUN_BY_PAGE, AnsweredCall, ReplyEvent, ToolRunning
from .rounds import Round, open_round, place_result

__all__ = ["NeedsApproval", "Tool", "denied", "resume_rounds", "run_rounds"]

NeedsApproval: TypeAlias = bool | Callable[[Mapping[str, Any], ModelRequest], bool | Awaitable[bool]]
"""Whether a user must allow a call: always, never, or by a function of its arguments and the request to the model."""

DENIED = "The user did not allow this call"
UNKNOWN = "The outcome of this call is not known: it was ended in the middle, and may have had an effect"

logger = logging.getLogger("aibind")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    ``parameters`` is the JSON schema of its arguments. ``run`` is called with the decoded arguments as keywords and
    returns a JSON value; an exception that it raises is given to the model as the call's result.

    A tool whose ``run`` is None is run by the page: its call waits until the page has answered it with the result.
    With ``needs_approval`` a call waits until a user allows it: True, or a function, or coroutine function, of the
    decoded arguments and the request. A function that fails counts as True.
    """

    name: str
    description: str
    run: Callable[..., Awaitable[Any]] | None
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    needs_approval: NeedsApproval = False

    @property
    def declaration(self) -> Mapping[str, Any]:
        """The tool as chat completions describes one."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}

    @property
    def details(self) -> Mapping[str, Any] | None:
        """What a page is told of a call that waits."""
        return None if self.run is not None else {"runs": RUN_BY_PAGE}

    async def must_ask(self, call: ToolCall, request: ModelRequest) -> bool:
        """Return whether a call waits, for a user to allow it or for the page to run it.

        A call with arguments that cannot be used is not run in any case.
        """
        if self.needs_approval is False and self.run is not None:
            return False
        try:
            arguments = load_json(call.arguments or "{}")
        except (ValueError, RecursionError):
            return False
        if not is_object(arguments):
            return False
        if self.run is None or isinstance(self.needs_approval, bool):
            return True
        try:
            needed: object = self.needs_approval(arguments, request)
            return bool(await needed if inspect.isawaitable(needed) else needed)
        except Exception:
            logger.exception(
                "needs_approval of tool %s failed: the user is asked",
                self.name,
                extra=log_fields("tool.not_judged", tool=self.name),
            )
            return True


async def run_rounds(
    model: Model, request: ModelRequest, tools: Sequence[Tool], max_steps: int, so_far: Sequence[ModelEvent] = ()
) -> AsyncGenerator[ModelEvent]:
    """Ask a model, run the tools that it calls, and ask again with their results, ``max_steps`` times at most.

    Text, calls and results are yielded as they come; the last round's reason to stop and the usage of all rounds
    together come at the end, before the error of a model that fails. Calls of the last round, and all calls when there
    are no tools, are left to the client. Calls that the model gives a result for are not run. Where calls need
    approval, the others are run, and then the requests end the answer. ``so_far`` is what the model's first answer has
    said before.
    """
    by_name = {tool.name: tool for tool in tools}
    request = replace(request, tools=[tool.declaration for tool in tools])
    usage: Usage | None = None
    finish: Finish | None = None
    failure: Exception | None = None
    for step in range(1, max_steps + 1):
        rounds = [_round_of(request)]
        for event in so_far if step == 1 else ():
            _take(rounds, event)
        finish = None
        asks = False
        events = ask_model(model, request)
        try:
            async for event in events:
                if isinstance(event, ToolCall | ToolCallDelta) and event.id in request.approvals:
                    continue  # a framework tells once more what it was allowed to run
                if isinstance(event, Usage):
                    usage = _add(usage, event)
                elif isinstance(event, Finish):
                    finish = event
                else:
                    asks = asks or isinstance(event, ApprovalRequest)
                    _take(rounds, event)
                    yield event
        except Exception as error:
            failure = error
        finally:
            await close_iterator(events)
        open_calls = [] if rounds[-1].is_continued else rounds[-1].open_calls
        if failure is not None or asks or not open_calls or not by_name or step == max_steps:
            break
        waiting: list[ToolCall] = []
        for call in open_calls:
            tool = by_name.get(call.name)
            if tool is not None and await tool.must_ask(call, request):
                waiting.append(call)
                continue
            result = await _run(by_name, call)
            rounds[-1].take(result)
            yield result
        for call in waiting:
            yield ApprovalRequest(call.id, call.name, call.arguments, by_name[call.name].details)
        if waiting:
            break
        said = [message for one in rounds for message in one.messages()]
        request = replace(request, messages=[*request.messages, *said], approvals={})
    for last in (finish, usage):
        if last is not None:
            yield last
    if failure is not None:
        raise failure


async def resume_rounds(
    model: Model,
    request: ModelRequest,
    tools: Sequence[Tool],
    max_steps: int,
    answered: Sequence[AnsweredCall],
    is_stored: Callable[[], Awaitable[bool]],
) -> AsyncGenerator[ReplyEvent]:
    """Go on after calls that a user has answered: run those that are allowed, and ask the model with their results.

    ``request`` has the messages up to the calls. ``is_stored`` waits until all that was yielded is stored, and returns
    False when it never will: no call is run before its mark is stored, so that it can never be run twice. Calls of
    tools that are not among ``tools`` are the model's own.
    """
    by_name = {tool.name: tool for tool in tools}
    for call in answered:
        yield call
    results: list[ToolResult] = []
    approvals = {call.id: call.approval for call in answered if call.name not in by_name and call.result is None}
    for call in answered:
        if call.result is not None:
            result = ToolResult(call.id, call.name, call.result)
        elif call.approved:
            if call.id in approvals:
                continue
            yield ToolRunning(call.id, call.name)
            await _check(is_stored)
            result = await _run(by_name, ToolCall(call.id, call.name, call.arguments))
        elif call.id in approvals:
            continue
        else:
            result = ToolResult(call.id, call.name, (unknown_outcome if call.is_unknown else denied)(call.reason))
        results.append(result)
        yield result
    for call in answered:
        if call.id in approvals and call.approved:
            yield ToolRunning(call.id, call.name)
    await _check(is_stored)
    messages = [*request.messages, *Round(results=results, is_continued=True).messages()]
    rounds = run_rounds(model, replace(request, messages=messages, approvals=approvals), tools, max_steps)
    try:
        async for event in rounds:
            yield event
    finally:
        await close_iterator(rounds)


def denied(reason: str | None) -> str:
    """Return the result of a call that the user did not allow, as JSON text."""
    return compact_json({"error": DENIED, **({} if reason is None else {"reason": reason})})


def unknown_outcome(reason: str | None = None) -> str:
    """Return the result of a call whose process ended while it ran, as JSON text."""
    return compact_json({"error": UNKNOWN, **({} if reason is None else {"reason": reason})})


async def _check(is_stored: Callable[[], Awaitable[bool]]) -> None:
    if not await is_stored():
        raise ModelError("The reply was ended elsewhere")


def _round_of(request: ModelRequest) -> Round:
    """Return the round that a model begins: with the calls that it was allowed to run, if there are any."""
    calls = [ToolCall(call_id, "", "") for call_id in request.approvals]
    return Round(calls=calls, is_continued=bool(calls))


def _take(rounds: list[Round], event: ModelEvent) -> None:
    """Add what a model says to its last round, or begin another one after the results of calls that it ran itself."""
    if isinstance(event, ToolCallDelta | ApprovalRequest | CustomEvent | ReplyReference | Finish | Usage):
        return
    if isinstance(event, ToolResult):
        place_result(rounds, event)
    else:
        open_round(rounds).take(event)


async def _run(tools: Mapping[str, Tool], call: ToolCall) -> ToolResult:
    tool = tools.get(call.name)
    if tool is None:
        return ToolResult(call.id, call.name, compact_json({"error": f"There is no tool {call.name}"}))
    try:
        arguments = load_json(call.arguments or "{}")
        if tool.run is None:
            raise ValueError("The arguments are not a JSON object")
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
