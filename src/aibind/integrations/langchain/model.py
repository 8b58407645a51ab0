"""A LangChain runnable or a LangGraph graph as a model."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable

from ..._closing import close_iterator
from ..._json import is_object
from ..._logging import log_fields
from ...errors import ModelError
from ...models.model import CustomEvent, Message, ModelEvent, ModelRequest, TextDelta, ToolCall, ToolResult
from .approvals import OpenCalls, decisions_of, is_review, requests_of
from .messages import to_langchain
from .reply import MessageReply

__all__ = ["LangChainModel"]

logger = logging.getLogger("aibind")

_MODES = ["messages", "custom", "updates"]

_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class LangChainModel:
    """A LangChain runnable, such as a chat model or a chain that ends with one, or a LangGraph graph, as a model.

    Text, reasoning, calls of tools, their results and the usage become the reply's events. So does what a graph's nodes
    write to its ``custom`` stream: a :class:`~aibind.models.CustomEvent` as it is, a mapping with one string key under
    that key, and anything else under the name ``custom``. An interrupt becomes an event ``interrupt``, and the
    session's next message resumes the graph with its text. One that asks for decisions on calls, as LangChain's
    human-in-the-loop middleware does, makes the reply wait for a user's answers, with which the graph is resumed.

    The runnable's input is the conversation as a list of messages, and a graph's is ``{"messages": […]}``;
    ``make_input`` makes another one. A graph with a checkpointer remembers the conversation itself, in the thread of
    the session: it is given the messages since its last answer alone, and no system prompt.

    Its config has under ``configurable`` the ``thread_id``, which is the session's id, with the owner's name before it
    if there is one, and ``session_id``, ``owner``, ``context``, ``system`` and ``settings`` of the request. A graph
    with a ``context_schema`` gets the request's context as its own, too. A chat model is bound to the request's tools
    and settings.

    A failure is logged, and raises ModelError with the HTTP status of the provider where the error has one. When the
    reply is stopped, the runnable's iterator is closed. Raises TypeError for anything but a runnable.
    """

    def __init__(
        self, runnable: Runnable[Any, Any], *, make_input: Callable[[ModelRequest], Any] | None = None
    ) -> None:
        if not isinstance(runnable, Runnable):
            raise TypeError(
                f"LangChainModel was given {type(runnable).__name__}: give a runnable, such as a chat model or a "
                "compiled graph"
            )
        self._runnable: Any = runnable
        self._make_input = make_input
        self._is_graph = hasattr(runnable, "aget_state") and hasattr(runnable, "stream_mode")

    def __repr__(self) -> str:
        return f"<LangChainModel {type(self._runnable).__name__}>"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """Answer a request."""
        reply = MessageReply()
        config = {"configurable": _configurable(request)}
        chunks: Any = None
        try:
            if self._is_graph:
                chunks = self._graph_stream(await self._graph_input(request, config), config, request)
                calls = OpenCalls()
                async for chunk in chunks:
                    for event in _graph_events(reply, chunk, calls):
                        yield event
            else:
                chunks = self._bound(request).astream(self._input(request, _messages(request)), config)
                async for chunk in chunks:
                    for event in _events(reply, chunk):
                        yield event
            for event in reply.end():
                yield event
        except ModelError:
            raise
        except Exception as error:
            logger.exception("A runnable failed", extra=log_fields("model.failed", session_id=request.session_id))
            raise _model_error(error) from error
        finally:
            await close_iterator(chunks)

    def _bound(self, request: ModelRequest) -> Any:
        """Return the runnable with the request's tools and settings."""
        runnable = self._runnable
        if not isinstance(runnable, BaseChatModel):
            if request.tools:
                raise ModelError("The request has tools, which only a chat model takes: give a chain its tools itself")
            return runnable
        bound: Any = runnable
        if request.tools:
            tools = [
                tool if "function" in tool else {"type": "function", "function": dict(tool)} for tool in request.tools
            ]
            bound = bound.bind_tools(tools)
        return bound.bind(**request.settings) if request.settings else bound

    def _input(self, request: ModelRequest, messages: list[BaseMessage]) -> Any:
        return messages if self._make_input is None else self._make_input(request)

    async def _graph_input(self, request: ModelRequest, config: dict[str, Any]) -> Any:
        if request.tools:
            raise ModelError("The request has tools, which only a chat model takes: give a graph its tools itself")
        if self._make_input is not None:
            return self._make_input(request)
        if not self._runnable.checkpointer or request.session_id is None:
            return {"messages": _messages(request)}
        new = to_langchain(_since_answer(request.messages))
        state = await self._runnable.aget_state(config)
        if state.interrupts and (new or request.approvals):
            from langgraph.types import Command  # here: a chain does not need LangGraph

            if request.approvals:
                return Command(resume=decisions_of(state.interrupts, request))
            return Command(resume=new[-1].text)
        return {"messages": new}

    def _graph_stream(self, given: Any, config: dict[str, Any], request: ModelRequest) -> Any:
        more: dict[str, Any] = {}
        if getattr(self._runnable, "context_schema", None) is not None and request.context is not None:
            more["context"] = request.context
        return self._runnable.astream(given, config, stream_mode=_MODES, subgraphs=True, **more)


def _configurable(request: ModelRequest) -> dict[str, Any]:
    session = request.session_id or uuid4().hex  # a graph with a checkpointer needs a thread
    thread = session if request.owner is None else f"{quote(request.owner, safe='@')}/{session}"
    return {
        "thread_id": thread,
        "session_id": request.session_id,
        "owner": request.owner,
        "context": request.context,
        "system": request.system,
        "settings": dict(request.settings),
    }


def _messages(request: ModelRequest) -> list[BaseMessage]:
    system = [request.system] if request.system else []
    if request.json_schema is not None:
        system.append("Answer with one JSON object and nothing else.")
        if request.json_schema:
            system.append(f"It must fit this JSON Schema:\n{json.dumps(request.json_schema, ensure_ascii=False)}")
    return [*([SystemMessage("\n\n".join(system))] if system else []), *to_langchain(request.messages)]


def _since_answer(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages since the model's last one."""
    for place in range(len(messages), 0, -1):
        if messages[place - 1].get("role") == "assistant":
            return messages[place:]
    return messages


def _graph_events(reply: MessageReply, chunk: Any, calls: OpenCalls) -> list[ModelEvent]:
    _, mode, data = chunk
    if mode == "messages":
        events = list(reply.add(data[0]))
        for event in events:
            if isinstance(event, ToolCall):
                calls.add(event)
            elif isinstance(event, ToolResult):
                calls.end(event.id)
        return events
    if mode == "custom":
        return [_custom(data)]
    if is_object(data) and "__interrupt__" in data:
        asked = cast("Sequence[Any]", data["__interrupt__"])
        return [event for one in asked for event in _interrupt_events(one, calls)]
    return []


def _interrupt_events(interrupt: Any, calls: OpenCalls) -> list[ModelEvent]:
    if is_review(interrupt.value):
        return list(requests_of(interrupt, calls))
    return [CustomEvent("interrupt", {"id": interrupt.id, "value": interrupt.value})]


def _custom(data: Any) -> ModelEvent:
    if isinstance(data, CustomEvent):
        return data
    if is_object(data) and len(data) == 1:
        ((name, value),) = data.items()
        try:
            return CustomEvent(name, value)
        except (TypeError, ValueError, AttributeError):
            pass
    return CustomEvent("custom", data)


def _events(reply: MessageReply, chunk: Any) -> list[ModelEvent]:
    if isinstance(chunk, str):
        return [TextDelta(chunk)] if chunk else []
    if isinstance(chunk, BaseMessage):
        return list(reply.add(chunk))
    raise ModelError(
        f"The runnable yielded {type(chunk).__name__}: end the chain with a chat model, or with StrOutputParser()"
    )


def _model_error(error: Exception) -> ModelError:
    status = getattr(error, "status_code", None)
    status = status if isinstance(status, int) else None
    answered = f" with status {status}" if status is not None else ""
    return ModelError(f"The runnable failed{answered}", status=status, retryable=status in _RETRYABLE)
