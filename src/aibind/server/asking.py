"""The models of a handler, asked with its settings and within its limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import _observing
from ..models.model import Message, Model, ModelEvent, ModelRequest
from .access import Access, owner_of
from .bounded import bounded
from .limits import Limits
from .models import Models, ask_model
from .reply_events import AnsweredCall, ReplyEvent, with_waiting_end
from .tools import Tool, resume_rounds, run_rounds

__all__ = ["Asking"]


class Asking:
    """Asks a handler's models: ``settings`` reach each of them, and ``limits`` end what they answer."""

    def __init__(self, models: Models, settings: Mapping[str, Any] | None, limits: Limits) -> None:
        self._models = models
        self._settings = dict(settings or {})
        self._limits = limits

    def pick(self, key: str | None) -> Model:
        """Return the model of a key (None: the default). Raises RequestError for an unknown key."""
        return self._models.pick(key)

    def request(
        self,
        messages: Sequence[Message],
        access: Access | None,
        model: str | None,
        session_id: str | None = None,
        *,
        system: str | None,
    ) -> ModelRequest:
        """Return the request that reaches a model: with context and owner of ``access``. ``model`` is its key."""
        return ModelRequest(
            messages,
            system=system,
            context=None if access is None else access.context,
            session_id=session_id,
            owner=owner_of(access),
            settings=self._settings,
            model=model,
        )

    def answer(self, model: Model, request: ModelRequest) -> AsyncGenerator[ReplyEvent]:
        """Yield a model's answer."""
        return self._reply(ask_model(model, request), model, request)

    def answer_with_tools(
        self, model: Model, request: ModelRequest, tools: Sequence[Tool], max_steps: int
    ) -> AsyncGenerator[ReplyEvent]:
        """Yield a model's answer, running the tools that it calls, in at most ``max_steps`` rounds."""
        return self._reply(run_rounds(model, request, tools, max_steps), model, request)

    @property
    def can_resume(self) -> bool:
        """Whether any of the models can go on with an answer that another process began."""
        return self._models.can_resume

    def answer_from(
        self,
        model: Model,
        request: ModelRequest,
        tools: Sequence[Tool],
        max_steps: int,
        said: Sequence[Message],
        so_far: Sequence[ModelEvent],
    ) -> AsyncGenerator[ReplyEvent]:
        """Yield the rest of an answer that another process began.

        ``said`` are the messages of its rounds that are over, and ``so_far`` what the model has said since.
        """
        rounds_over = sum(message["role"] == "assistant" for message in said)
        request = replace(request, messages=[*request.messages, *said])
        if not tools:
            return self._reply(ask_model(model, request), model, request)
        steps = max(1, max_steps - rounds_over)
        return self._reply(run_rounds(model, request, tools, steps, so_far), model, request)

    def go_on(
        self,
        model: Model,
        request: ModelRequest,
        tools: Sequence[Tool],
        max_steps: int,
        answered: Sequence[AnsweredCall],
        is_stored: Callable[[], Awaitable[bool]],
    ) -> AsyncGenerator[ReplyEvent]:
        """Yield the rest of an answer whose calls a user has answered: see :func:`resume_rounds`."""
        rest = resume_rounds(model, request, tools, max_steps, answered, is_stored)
        return self._reply(rest, model, request)

    def _reply(
        self, events: AsyncGenerator[ReplyEvent], model: Model, request: ModelRequest
    ) -> AsyncGenerator[ReplyEvent]:
        events = bounded(events, self._limits)
        if _observing.observer is not None:
            events = _observing.observer.reply(events, request, model)
        return with_waiting_end(events)
