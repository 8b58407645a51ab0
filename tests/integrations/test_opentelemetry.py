"""Spans and metrics, with the SDK's exporters in memory."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from aibind import _observing
from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError
from aibind.integrations.opentelemetry import instrument, uninstrument
from aibind.models import Finish, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall, ToolResult, Usage
from aibind.server import HttpResponse, StreamHandler
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamEnd, StreamEvent, StreamWriter
from tests.support.models import PATIENCE_S, ScriptedModel
from tests.support.sources import read_all, text_of

EVENTS: list[ModelEvent] = [
    ReasoningDelta("Hm"),
    TextDelta("Let me "),
    TextDelta("look."),
    ToolCall("c1", "temperature", '{"place":"Bern"}'),
    ToolResult("c1", "temperature", "21"),
    TextDelta("It is 21."),
    Finish("length"),
    Usage(7, 5, "m-2026"),
]


class Recorded:
    """What was exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])

    def start(self, **options: Any) -> None:
        instrument(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def metrics(self) -> dict[str, list[Any]]:
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    recorded = Recorded()
    recorded.start()
    yield recorded
    uninstrument()
    recorded.meters.shutdown()
    recorded.tracers.shutdown()


async def read(reply: HttpResponse[Any]) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return text_of(await read_all(reply.body))


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_reply_is_a_span(recorded: Recorded, resumable: bool) -> None:
    handler = StreamHandler(
        model=ScriptedModel(*EVENTS),
        resumable=resumable,
        conversations=MemoryConversationStore(),
        settings={"temperature": 0.5, "stop": "x"},
    )
    tracer = recorded.tracers.get_tracer("test")
    with tracer.start_as_current_span("POST /stream"):
        reply = await handler.stream({"prompt": "How warm is it?", "sessionId": "s1"})
        assert await read(reply) == "Let me look.It is 21."
    span, request = recorded.spans
    assert span.parent is not None
    assert span.parent.span_id == request.context.span_id
    assert (span.name, span.kind, span.status.status_code) == (
        "chat ScriptedModel",
        trace.SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    attributes = dict(span.attributes or {})
    assert 0 <= attributes.pop("gen_ai.response.time_to_first_chunk") < PATIENCE_S  # type: ignore[operator]
    stream_id = reply.headers.get("X-Stream-Id")
    assert attributes == {
        **({"aibind.stream.id": stream_id} if resumable else {}),
        "aibind.reply.end": "done",
        "gen_ai.conversation.id": "s1",
        "gen_ai.operation.name": "chat",
        "gen_ai.output.type": "text",
        "gen_ai.provider.name": "ScriptedModel",
        "gen_ai.request.model": "ScriptedModel",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.response.model": "m-2026",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
    }
    metrics = recorded.metrics()
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk"):
        (point,) = metrics[name]
        assert (point.count, point.attributes["gen_ai.request.model"]) == (1, "ScriptedModel")
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in metrics["gen_ai.client.token.usage"]}
    assert tokens == {"input": 7, "output": 5}
    if resumable:
        assert metrics["aibind.stream.flush.duration"][0].count >= 1
        assert metrics["aibind.stream.chunks"][0].value >= 5
        assert metrics["aibind.stream.flush.size"][0].value > 50
        assert metrics["aibind.follower.lag"][0].count >= 1


async def test_messages_are_reported_on_request_alone(recorded: Recorded) -> None:
    handler = StreamHandler(model=ScriptedModel(*EVENTS))
    body = {"prompt": "How warm is it?", "system": "Be brief"}
    await read(await handler.stream(body))
    recorded.start(capture_messages=True)
    await read(await handler.stream(body))
    without, span = recorded.spans
    assert "How warm" not in str(without.to_json())
    assert "It is 21" not in str(without.to_json())
    attributes: Any = span.attributes
    assert json.loads(attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief"}]
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "How warm is it?"}]}
    ]
    (output,) = json.loads(attributes["gen_ai.output.messages"])
    assert (output["role"], output["finish_reason"]) == ("assistant", "length")
    assert output["parts"] == [
        {"type": "reasoning", "content": "Hm"},
        {"type": "text", "content": "Let me look."},
        {"type": "tool_call", "id": "c1", "name": "temperature", "arguments": {"place": "Bern"}},
        {"type": "tool_call_response", "id": "c1", "response": 21},
        {"type": "text", "content": "It is 21."},
    ]


@pytest.mark.parametrize("error", [ModelError("Too many requests", status=429), RuntimeError("key sk-secret")])
async def test_a_failure_is_the_spans_status(recorded: Recorded, error: Exception) -> None:
    await read(await StreamHandler(model=ScriptedModel("Half", error)).stream({"prompt": "x"}))
    (span,) = recorded.spans
    attributes: Any = span.attributes
    assert (attributes["error.type"], attributes["aibind.reply.end"]) == (type(error).__name__, "error")
    assert span.status.status_code == StatusCode.ERROR
    assert span.status.description == ("Too many requests" if isinstance(error, ModelError) else None)
    assert attributes.get("http.response.status_code") == (429 if isinstance(error, ModelError) else None)
    assert "secret" not in str(span.to_json())
    (point,) = recorded.metrics()["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == type(error).__name__


async def test_a_stop_ends_the_span(recorded: Recorded) -> None:
    handler = StreamHandler(model=ScriptedModel(*["word "] * 10_000, rate=200), resumable=True)
    reply = await handler.stream({"prompt": "x"})
    async for data in reply.body:  # type: ignore[union-attr]
        if b"word" in data:
            await handler.stop({"id": reply.headers["X-Stream-Id"]})
    (span,) = recorded.spans
    assert (span.attributes or {})["aibind.reply.end"] == "stopped"
    assert span.status.status_code == StatusCode.UNSET


async def test_calls_within_a_reply_are_its_children(recorded: Recorded) -> None:
    """Also across the pieces of an answer, and without touching the context of who reads them."""
    tracer = recorded.tracers.get_tracer("framework")

    async def model(request: ModelRequest) -> AsyncIterator[str]:
        with tracer.start_as_current_span("call"):
            yield "one "
            with tracer.start_as_current_span("inner"):
                yield "two "
        with tracer.start_as_current_span("second call"):
            yield "three"

    before = trace.get_current_span()
    assert await read(await StreamHandler(model=model).stream({"prompt": "x"})) == "one two three"
    assert trace.get_current_span() is before
    spans = {span.name: span for span in recorded.spans}
    reply = next(span for name, span in spans.items() if name.startswith("chat"))
    parents = {name: span.parent.span_id for name, span in spans.items() if span.parent is not None}
    assert parents == {
        "call": reply.context.span_id,
        "inner": spans["call"].context.span_id,
        "second call": reply.context.span_id,
    }


async def test_the_spans_of_a_framework_are_children(recorded: Recorded) -> None:
    pydantic_ai: Any = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.instrumented import InstrumentationSettings
    from pydantic_ai.models.test import TestModel

    from aibind.integrations.pydantic_ai import PydanticAIModel

    agent = pydantic_ai.Agent(TestModel())
    settings = InstrumentationSettings(tracer_provider=recorded.tracers, meter_provider=recorded.meters)
    pydantic_ai.Agent.instrument_all(settings)
    try:
        await read(await StreamHandler(model=PydanticAIModel(agent), resumable=True).stream({"prompt": "x"}))
    finally:
        pydantic_ai.Agent.instrument_all(instrument=False)
    by_id = {span.context.span_id: span for span in recorded.spans}
    (reply,) = [span for span in recorded.spans if span.parent is None]
    assert reply.name == "chat test"
    assert (reply.attributes or {})["gen_ai.response.model"] == "test"
    assert len(by_id) > 1
    assert all(span.parent.span_id in by_id for span in recorded.spans if span.parent is not None)


async def test_takeovers_and_lost_leases_are_counted(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aibind")
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        store = SqliteStreamStore(client, lease_ms=1)
        await store.create("lost")
        await asyncio.sleep(0.01)
        assert await store.give_up("lost") == StreamEnd("error", "producer lost")
        writer = StreamWriter(SqliteStreamStore(client), "taken", flush_interval_ms=0)
        await writer.open()
        await store.fail("taken", "someone else")
        await writer.write(StreamEvent("", "late"))
        await writer.end(StreamEnd("done"))
    metrics = recorded.metrics()
    assert [point.value for point in metrics["aibind.stream.takeovers"]] == [1]
    (point,) = metrics["aibind.stream.lease.losses"]
    assert point.attributes == {"aibind.reason": "ended"}
    record: Any = next(record for record in caplog.records if "not this producer" in record.message)
    assert (record.aibind_event, record.aibind_stream_id, record.aibind_reason) == (
        "stream.lease_lost",
        "taken",
        "ended",
    )


async def test_lag_of_followers_elsewhere(recorded: Recorded) -> None:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        handler = StreamHandler(
            model=ScriptedModel(*["word "] * 20, rate=200), resumable=True, store=SqliteStreamStore(client)
        )
        elsewhere = StreamHandler(model=ScriptedModel(), resumable=True, store=SqliteStreamStore(client))
        reply = await handler.stream({"prompt": "x"})
        assert await read(await elsewhere.resume(reply.headers["X-Stream-Id"], None)) == "word " * 20
        await handler.aclose()
    assert recorded.metrics()["aibind.follower.lag"][0].sum > 0


async def test_nothing_is_observed_otherwise() -> None:
    """Only instrument() loads OpenTelemetry, and without it there is no observer to ask."""
    assert _observing.observer is None
    recorded = Recorded()
    recorded.start()
    uninstrument()
    await read(await StreamHandler(model=ScriptedModel(*EVENTS), resumable=True).stream({"prompt": "x"}))
    assert recorded.spans == []
    assert recorded.metrics() == {}
    program = (
        "import sys, aibind.integrations.opentelemetry, aibind.server, aibind.sqlite\n"
        "assert not any(name.partition('.')[0] == 'opentelemetry' for name in sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def instructions(observed: bool) -> int:
    """Count the lines of aibind that a reply runs, which do not depend on the machine's pace."""
    source = str(Path(_observing.__file__).parent)
    count = 0

    def trace_lines(frame: Any, kind: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(source):
            return None
        count += kind == "line"
        return trace_lines

    async def run() -> None:
        handler = StreamHandler(model=ScriptedModel(*["word "] * 200), resumable=True, store=MemoryStreamStore())
        reply = await handler.stream({"prompt": "x"})
        await read_all(reply.body)  # type: ignore[arg-type]

    recorded = Recorded()
    if observed:
        recorded.start()
    sys.settrace(trace_lines)
    try:
        asyncio.run(run())
    finally:
        sys.settrace(None)
        uninstrument()
    return count


def test_it_costs_nothing_where_it_is_off() -> None:
    """Without an observer a reply of 200 words asks for one a few times: for itself, its writes and its follower."""
    asked: list[int] = []

    class Asked:
        @property
        def observer(self) -> None:
            asked.append(1)

    names = ("aibind.server.asking", "aibind.streams.writer", "aibind.streams.durable", "aibind.streams.following")
    modules = [sys.modules[name] for name in (*names, "aibind.streams.base")]
    for module in modules:
        module._observing = Asked()  # type: ignore[attr-defined]
    try:
        off = instructions(observed=False)
    finally:
        for module in modules:
            module._observing = _observing  # type: ignore[attr-defined]
    assert 3 <= len(asked) <= 20
    assert off + 2 * 200 < instructions(observed=True)


def test_the_events_of_the_log_are_documented() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "observability.md").read_text(encoding="utf-8").split("## Logs")[1]
    sources = [path.read_text(encoding="utf-8") for path in (root / "src" / "aibind").rglob("*.py")]
    events = {event for source in sources for event in re.findall(r'log_fields\(\s*"([a-z_.]+)"', source)}
    assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", page)) == events
