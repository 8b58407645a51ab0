"""Replies as spans, and streams as metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from ..._closing import close_iterator
from ...errors import AibindError, ModelError
from ...models.model import CustomEvent, Finish, ModelEvent, ModelRequest, ReplyReference, Usage
from .content import OutputParts, input_messages, output_messages, system_instructions
from .metrics import Metrics

__all__ = ["Telemetry"]

_PROVIDERS = {
    "AnthropicClientModel": "anthropic",
    "OpenAIClientModel": "openai",
    "OpenAIModel": "openai",
    "WorkersAIModel": "cloudflare.workers_ai",
}
"""The providers, by the classes of models; another class is its own."""

_SETTINGS = {
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_tokens": "gen_ai.request.max_tokens",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
}

_stream_id: ContextVar[str | None] = ContextVar("aibind_stream_id", default=None)


class Telemetry:
    """The observer that reports to OpenTelemetry."""

    def __init__(self, tracer: Tracer, metrics: Metrics, *, capture_messages: bool) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._captures = capture_messages

    async def reply(
        self, events: AsyncGenerator[ModelEvent], request: ModelRequest, model: object
    ) -> AsyncGenerator[ModelEvent]:
        """Yield a model's answer, within a span of it."""
        attributes = _attributes(request, model)
        name = f"chat {attributes['gen_ai.request.model']}"
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        reply = _Reply(span, self._metrics, attributes, captures=self._captures and span.is_recording())
        reply.begin(request)
        context = set_span_in_context(span)
        try:
            while True:
                event, context = await _next(events, context)
                if event is None:
                    break
                reply.add(event)
                yield event
        except (GeneratorExit, asyncio.CancelledError):
            reply.end("stopped")
            raise
        except BaseException as error:
            reply.fail(error)
            raise
        else:
            reply.end("done")
        finally:
            token = attach(context)
            try:
                await close_iterator(events)
            finally:
                detach(token)
            span.end()

    def begin_stream(self, stream_id: str) -> None:
        """Keep the id of the stream that the current task produces."""
        _stream_id.set(stream_id)

    def note_flush(self, chunks: int, chars: int, seconds: float) -> None:
        """Count a write."""
        self._metrics.flush_duration.record(seconds)
        self._metrics.flush_size.add(chars)
        self._metrics.chunks.add(chunks)

    def note_lost_lease(self, reason: str) -> None:
        """Count a lease that was lost."""
        self._metrics.lost_leases.add(1, {"aibind.reason": reason})

    def note_takeover(self, outcome: str) -> None:
        """Count a stream whose producer was lost."""
        self._metrics.takeovers.add(1, {"aibind.outcome": outcome})

    def note_lag(self, chars: int) -> None:
        """Record what had gathered for a follower."""
        self._metrics.lag.record(chars)


class _Reply:
    """One reply: what its span and the metrics of it are to have."""

    def __init__(self, span: Span, metrics: Metrics, attributes: dict[str, Any], *, captures: bool) -> None:
        self._span = span
        self._metrics = metrics
        self._attributes = {
            key: attributes[key] for key in ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
        }
        self._output = OutputParts() if captures else None
        self._began = time.perf_counter()
        self._has_begun = False
        self._reason: str | None = None

    def begin(self, request: ModelRequest) -> None:
        """Note what was asked, where that is wanted."""
        if self._output is not None:
            self._span.set_attribute("gen_ai.input.messages", input_messages(request.messages))
            if request.system:
                self._span.set_attribute("gen_ai.system_instructions", system_instructions(request.system))

    def add(self, event: ModelEvent) -> None:
        """Note an event of the answer."""
        if not self._has_begun and not isinstance(event, Usage | Finish | CustomEvent | ReplyReference):
            self._has_begun = True
            seconds = time.perf_counter() - self._began
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
            self._metrics.first_chunk.record(seconds, self._attributes)
        if isinstance(event, Finish):
            self._reason = event.reason
        elif isinstance(event, Usage):
            self._use(event)
        elif self._output is not None:
            self._output.add(event)

    def end(self, how: str) -> None:
        """Note how the reply ended."""
        self._span.set_attribute("aibind.reply.end", how)
        if self._reason is not None:
            self._span.set_attribute("gen_ai.response.finish_reasons", [self._reason])
        if self._output is not None:
            reason = self._reason or ("stop" if how == "done" else how)
            self._span.set_attribute("gen_ai.output.messages", output_messages(self._output.parts, reason))
        self._metrics.duration.record(time.perf_counter() - self._began, self._attributes)

    def fail(self, error: BaseException) -> None:
        """Note a failure: its class, the status of the endpoint, and of our own errors the message, as readers see."""
        self._attributes["error.type"] = type(error).__name__
        self._span.set_attribute("error.type", type(error).__name__)
        if isinstance(error, ModelError) and error.status is not None:
            self._span.set_attribute("http.response.status_code", error.status)
        self._span.set_status(StatusCode.ERROR, str(error) if isinstance(error, AibindError) else None)
        self.end("error")

    def _use(self, usage: Usage) -> None:
        for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            self._span.set_attribute(f"gen_ai.usage.{kind}_tokens", tokens)
            self._metrics.tokens.record(tokens, {**self._attributes, "gen_ai.token.type": kind})
        if usage.model is not None:
            self._span.set_attribute("gen_ai.response.model", usage.model)


async def _next(events: AsyncGenerator[ModelEvent], context: Context) -> tuple[ModelEvent | None, Context]:
    """Return the next event (None: the end) of what runs in a context, and the context that it has left.

    The context is that of the caller again while the caller has the event.
    """
    token = attach(context)
    try:
        event = await anext(events, None)
        return event, get_current()
    finally:
        detach(token)


def _attributes(request: ModelRequest, model: object) -> dict[str, Any]:
    kind = type(model).__name__
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(kind, kind),
        "gen_ai.request.model": str(getattr(model, "model_name", None) or request.model or kind),
        "gen_ai.output.type": "text" if request.json_schema is None else "json",
    }
    if request.session_id is not None:
        attributes["gen_ai.conversation.id"] = request.session_id
    if (stream_id := _stream_id.get()) is not None:
        attributes["aibind.stream.id"] = stream_id
    for name, value in request.settings.items():
        if name in _SETTINGS and isinstance(value, int | float):
            attributes[_SETTINGS[name]] = value
    return attributes
