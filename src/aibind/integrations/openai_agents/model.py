"""An agent of OpenAI's Agents SDK as a model: its run as the events of an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from agents import (
    Agent,
    AgentOutputSchemaBase,
    HandoffOutputItem,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelSettings,
    OutputGuardrailTripwireTriggered,
    RawResponsesStreamEvent,
    RunConfig,
    RunItemStreamEvent,
    Runner,
    ToolCallOutputItem,
)

from ..._closing import close_iterator
from ..._json import compact_json, is_object
from ..._kinds import kind_of
from ...errors import ModelError
from ...models.model import CustomEvent, Finish, MessageData, ModelEvent, ModelRequest, ToolCall, ToolResult, Usage
from ...models.responses.reply import ResponsesReply
from .._sdk import sdk_error
from .approvals import requests_of, resumed_state, state_data
from .items import KEY, answer_of, kept_items, to_items

__all__ = ["OpenAIAgentsModel"]

_SETTINGS = frozenset(field.name for field in fields(ModelSettings))
_BEGIN = "response.created"
_PLAIN = frozenset({"message", "function_call", "custom_tool_call"})
"""Items that need not be kept, unless another one precedes them, as reasoning does."""


class OpenAIAgentsModel:
    """An agent of OpenAI's Agents SDK as a model.

    The agent runs its own tools and handoffs, whose calls and results are events of the reply and messages of the
    conversation. What the conversation has is the run's input, with ``system`` first, and the settings of the request
    are its model settings. A handoff is a :class:`~aibind.models.CustomEvent` named ``handoff`` with the names ``from``
    and ``to``; a citation is one named ``citation``, and a tool that OpenAI runs one named ``server_tool``.

    A call that the run is interrupted for, to be approved, makes the reply wait for a user, and the run goes on from
    the answers. Meanwhile its state is in the conversation, under the key ``openai_run`` of the model's message.

    ``context`` is a function from a request to the run's context; without it that is the request's ``context``.
    ``max_turns`` is how often models may be asked in one run. ``run_config`` is the run's configuration; its model
    settings come before those of a request.

    Items of a response that chat completions do not have, such as encrypted reasoning, are kept in the conversation,
    under the key ``openai`` of the model's message, and are input of the next run. A request for JSON asks an agent
    whose output is text for that JSON, and gets the output of any other agent.

    A failure of the model's endpoint, a guardrail that was triggered, and a run of too many turns are a ModelError.
    Raises TypeError for anything but an agent.
    """

    def __init__(
        self,
        agent: Agent[Any],
        *,
        context: Callable[[ModelRequest], Any] | None = None,
        max_turns: int | None = 10,
        run_config: RunConfig | None = None,
    ) -> None:
        if not isinstance(agent, Agent):
            raise TypeError(f"agent is {kind_of(agent)}: give an Agent of the package openai-agents")
        self._agent = agent
        self._context = context
        self._max_turns = max_turns
        self._run_config = run_config or RunConfig()

    def __repr__(self) -> str:
        return f"OpenAIAgentsModel({self._agent.name!r})"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Run the agent. Closing the iterator cancels the run, with the request to the model."""
        if request.tools:
            raise ModelError("An agent runs its own tools: leave out toolset")
        reading = _Reading()
        agent = self._agent_for(request)
        context = self._context(request) if self._context is not None else request.context
        state = await resumed_state(agent, request, context)
        reading.expect(request)
        run = Runner.run_streamed(
            agent,
            _input(request) if state is None else state,
            context=context if state is None else None,
            max_turns=self._max_turns,
            run_config=self._config(request),
        )
        events = run.stream_events()
        try:
            async for event in events:
                for one in reading.take(event):
                    yield one
            if run.interruptions:
                yield state_data(run)
            for one in (*reading.flush(), *requests_of(run.interruptions), *reading.end()):
                yield one
        except Exception as error:
            failure = _failure(error, has_begun=reading.has_begun)
            if failure is None:
                raise
            raise failure from error
        finally:
            if not run.is_complete:
                run.cancel()
            await close_iterator(events)

    def _agent_for(self, request: ModelRequest) -> Agent[Any]:
        if request.json_schema is None or self._agent.output_type not in (None, str):
            return self._agent
        return self._agent.clone(output_type=_RequestedSchema(request.json_schema))

    def _config(self, request: ModelRequest) -> RunConfig:
        if not request.settings:
            return self._run_config
        given: dict[str, Any] = {name: value for name, value in request.settings.items() if name in _SETTINGS}
        others = {name: value for name, value in request.settings.items() if name not in _SETTINGS}
        settings = ModelSettings(**given)
        if others:
            settings.extra_body = others
        return replace(self._run_config, model_settings=settings.resolve(self._run_config.model_settings))


class _RequestedSchema(AgentOutputSchemaBase):
    """The JSON schema of a request as the type of an agent's output."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema) or {"type": "object"}

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return str(self._schema.get("title", "answer"))

    def json_schema(self) -> dict[str, Any]:
        return self._schema

    def is_strict_json_schema(self) -> bool:
        return False  # strict mode accepts only a part of JSON Schema

    def validate_json(self, json_str: str) -> Any:
        return json.loads(json_str)


class _Reading:
    """The events of one run, as those of a model. Each response of the run's models is read as a reply."""

    def __init__(self) -> None:
        self.has_begun = False
        self._reply: ResponsesReply | None = None
        self._items: list[dict[str, Any]] = []  # of the responses since the last result
        self._names: dict[str, str] = {}  # of the tools, by the ids of their calls
        self._results: list[ToolResult] = []  # which come after what the run's state adds to the message of their calls
        self._finish: Finish | None = None
        self._usage: Usage | None = None

    def expect(self, request: ModelRequest) -> None:
        """Note the calls of an earlier run that are to be run."""
        for message in request.messages if request.approvals else ():
            for call in message.get("tool_calls") or ():
                self._names[str(call["id"])] = str(call["function"]["name"])

    def flush(self) -> Iterator[ModelEvent]:
        """Yield the results that were held back."""
        yield from self._results
        self._results = []

    def take(self, event: Any) -> Iterator[ModelEvent]:
        """Yield what an event of the run is."""
        if isinstance(event, RawResponsesStreamEvent):
            yield from self._take_raw(_json_of(event.data))
        elif isinstance(event, RunItemStreamEvent):
            item: Any = event.item
            if isinstance(item, ToolCallOutputItem | HandoffOutputItem):
                yield from self._take_output(_json_of(item.raw_item))
            if isinstance(item, HandoffOutputItem):
                yield from self.flush()
                yield CustomEvent("handoff", {"from": item.source_agent.name, "to": item.target_agent.name})

    def end(self) -> Iterator[ModelEvent]:
        """Yield the last response's reason to stop and the usage of all."""
        if self._finish is not None:
            yield self._finish
        if self._usage is not None:
            yield self._usage

    def _take_raw(self, message: dict[str, Any]) -> Iterator[ModelEvent]:
        self.has_begun = True
        yield from self.flush()
        if self._reply is None or message.get("type") == _BEGIN:
            self._reply = ResponsesReply()
        reply = self._reply
        yield from reply.take(message)
        if message.get("type") == "response.output_item.done":
            self._items.append(message["item"])
        if reply.done:
            self._reply = None
            yield from self._end_response(reply)

    def _end_response(self, reply: ResponsesReply) -> Iterator[ModelEvent]:
        events = reply.end()
        if any(item.get("type") not in _PLAIN for item in self._items):
            yield MessageData(KEY, kept_items(self._items, answer_of(self._items)))
        for event in events:
            if isinstance(event, Finish):
                self._finish = event
            elif isinstance(event, Usage):
                before = self._usage or Usage()
                self._usage = Usage(
                    before.input_tokens + event.input_tokens, before.output_tokens + event.output_tokens
                )
            else:
                if isinstance(event, ToolCall):
                    self._names[event.id] = event.name
                yield event
        if reply.failure is not None:
            raise reply.failure

    def _take_output(self, item: dict[str, Any]) -> Iterator[ModelEvent]:
        call_id = str(item.get("call_id"))
        self._items = []
        if call_id not in self._names:  # of a kind that is an event, such as a shell
            yield CustomEvent("server_tool", item)
            return
        output = item.get("output")
        result = output if isinstance(output, str) else compact_json(output)
        self._results.append(ToolResult(call_id, self._names[call_id], result))


def _input(request: ModelRequest) -> Any:
    items = to_items(request.messages)
    if not items:
        raise ModelError("There is nothing to answer: the request has no messages")
    return [*([{"role": "system", "content": request.system}] if request.system else []), *items]


def _failure(error: Exception, *, has_begun: bool) -> ModelError | None:
    if isinstance(error, ModelError):
        return error
    if isinstance(error, MaxTurnsExceeded):
        return ModelError(f"The agent was stopped: {error.message}", code="max_turns")
    if isinstance(error, InputGuardrailTripwireTriggered | OutputGuardrailTripwireTriggered):
        return ModelError("A guardrail of the agent stopped the answer", code="guardrail")
    return sdk_error(error, has_begun=has_begun)


def _json_of(value: Any) -> dict[str, Any]:
    return dict(value) if is_object(value) else value.to_dict(mode="json", warnings=False)
