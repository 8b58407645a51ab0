"""An agent as a model: its run as the events of an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from pydantic_ai import Agent, AgentRunResult, AgentRunResultEvent, DeferredToolRequests, StructuredDict, messages
from pydantic_ai.exceptions import ModelHTTPError, UsageLimitExceeded
from pydantic_ai.models import Model as FrameworkModel
from pydantic_core import to_jsonable_python

from ..._json import compact_json
from ...errors import ModelError
from ...models.model import (
    CustomEvent,
    Finish,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .approvals import deferred_results, requests_of
from .messages import to_prompt, to_pydantic_ai

__all__ = ["PydanticAIModel"]

_REASONS = {"tool_call": "tool_calls"}


class PydanticAIModel:
    """An agent of pydantic-ai as a model, or a model of it, such as ``"openai:gpt-5"``, as an agent without tools.

    The agent runs its own tools, whose calls and results are events of the reply and messages of the conversation. What
    the conversation has is its message history, ``system`` is added to its instructions, and the settings of the
    request are its model settings. ``deps`` is a function from a request to the agent's dependencies; without it they
    are the request's ``context``. With ``call_deltas`` readers also receive the arguments of calls as they grow.

    Tools that need approval ask a user: the reply waits, and the run goes on from the answers. The agent's output types
    must then include ``DeferredToolRequests``.

    An output that is not text is JSON. A request for JSON asks an agent whose output is text for that JSON, and gets
    the output of any other agent.

    A status of the model's endpoint, and a usage limit that was reached, are a ModelError. Raises TypeError for
    anything but an agent, a model or a model's name.
    """

    def __init__(
        self,
        agent: Agent[Any, Any] | FrameworkModel | str,
        *,
        deps: Callable[[ModelRequest], Any] | None = None,
        call_deltas: bool = False,
    ) -> None:
        given: object = agent
        if not isinstance(given, Agent | FrameworkModel | str):
            raise TypeError(f"agent is of type {type(given).__name__}: give an Agent, a model, or a model's name")
        self._agent: Agent[Any, Any] = agent if isinstance(agent, Agent) else Agent(agent)
        self._deps = deps
        self._call_deltas = call_deltas

    def __repr__(self) -> str:
        return f"PydanticAIModel({self._agent.name or self._agent.model!r})"

    @property
    def model_name(self) -> str | None:
        """The name of the agent's model; None for an agent that is given one for each run."""
        model = self._agent.model
        return model.partition(":")[2] or model if isinstance(model, str) else getattr(model, "model_name", None)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Run the agent. Closing the iterator ends the run, with the request to the model."""
        if request.tools:
            raise ModelError("An agent of pydantic-ai runs its own tools: leave out toolset")
        *earlier, last = request.messages
        asks = last.get("role") == "user"
        options: dict[str, Any] = {
            "message_history": to_pydantic_ai(earlier if asks else request.messages),
            "instructions": request.system,
            "deps": self._deps(request) if self._deps is not None else request.context,
            "model_settings": dict(request.settings) or None,
            "conversation_id": request.session_id,
            "deferred_tool_results": deferred_results(request),
        }
        if request.json_schema is not None and self._agent.output_type is str:
            options["output_type"] = StructuredDict(dict(request.json_schema) or {"type": "object"})
        run: Any = self._agent.run_stream_events(to_prompt(last) if asks else None, **options)
        reading = _Reading(call_deltas=self._call_deltas)
        try:
            async with run as events:
                async for event in events:
                    for one in reading.take(event):
                        yield one
        except ModelHTTPError as error:
            retryable = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise ModelError(
                f"The model's endpoint answered {error.status_code}", status=error.status_code, retryable=retryable
            ) from error
        except UsageLimitExceeded as error:
            raise ModelError(str(error), code="usage_limit") from error


class _Reading:
    """The events of one run, as those of a model."""

    def __init__(self, *, call_deltas: bool) -> None:
        self._call_deltas = call_deltas
        self._calls: dict[int, messages.ToolCallPart] = {}  # those that grow, by their place in the response
        self._output_tool: str | None = None

    def take(self, event: Any) -> Iterator[ModelEvent]:
        """Yield what an event of the run is."""
        if isinstance(event, messages.PartStartEvent):
            yield from self._start(event)
        elif isinstance(event, messages.PartDeltaEvent):
            yield from self._grow(event)
        elif isinstance(event, messages.FinalResultEvent):
            self._output_tool = event.tool_name
        elif isinstance(event, messages.FunctionToolCallEvent):
            part = event.part
            yield ToolCall(part.tool_call_id, part.tool_name, part.args_as_json_str())
        elif isinstance(event, messages.FunctionToolResultEvent):
            yield _result(event.part)
        elif isinstance(event, messages.CustomEvent):
            data = to_jsonable_python(event)
            yield CustomEvent(event.name, {key: data[key] for key in data if key not in ("name", "event_kind")})
        elif isinstance(event, AgentRunResultEvent):
            yield from self._end(event.result)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    def _start(self, event: messages.PartStartEvent) -> Iterator[ModelEvent]:
        part = event.part
        self._calls.pop(event.index, None)
        if isinstance(part, messages.TextPart) and part.content:
            yield TextDelta(part.content)
        elif isinstance(part, messages.ThinkingPart) and part.content:
            yield ReasoningDelta(part.content)
        elif isinstance(part, messages.ToolCallPart) and self._call_deltas:
            self._calls[event.index] = part
            if part.args:
                text = part.args if isinstance(part.args, str) else part.args_as_json_str()
                yield ToolCallDelta(part.tool_call_id, part.tool_name, text)

    def _grow(self, event: messages.PartDeltaEvent) -> Iterator[ModelEvent]:
        delta = event.delta
        if isinstance(delta, messages.TextPartDelta) and delta.content_delta:
            yield TextDelta(delta.content_delta)
        elif isinstance(delta, messages.ThinkingPartDelta) and delta.content_delta:
            yield ReasoningDelta(delta.content_delta)
        elif isinstance(delta, messages.ToolCallPartDelta) and delta.args_delta and event.index in self._calls:
            call, piece = self._calls[event.index], delta.args_delta
            text = piece if isinstance(piece, str) else compact_json(piece)
            yield ToolCallDelta(call.tool_call_id, call.tool_name, text)

    def _end(self, result: AgentRunResult[Any]) -> Iterator[ModelEvent]:
        output = result.output
        if not isinstance(output, str | DeferredToolRequests) and self._output_tool is not None:
            yield TextDelta(compact_json(to_jsonable_python(output)))
        if isinstance(output, DeferredToolRequests):
            yield from requests_of(output)
        responses = [one for one in result.new_messages() if isinstance(one, messages.ModelResponse)]
        reason = responses[-1].finish_reason if responses else None
        if reason is not None and not (reason == "tool_call" and self._output_tool is not None):
            yield Finish(_REASONS.get(reason, reason))
        usage = result.usage
        yield Usage(usage.input_tokens, usage.output_tokens, responses[-1].model_name if responses else None)


def _result(part: Any) -> ToolResult:
    """Return a tool's result; of a call that failed or has to be repeated it is what the model is told."""
    content = to_jsonable_python(part.content)
    if getattr(part, "outcome", "retried") != "success":
        content = {"error": content}
    return ToolResult(part.tool_call_id, part.tool_name or "", compact_json(content))
