from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import MultipleOf
from pydantic import BaseModel, Field

from aibind.errors import ModelError
from aibind.models import EchoModel, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCall, Usage
from aibind.server import prompts

from .helpers import ask, calls_of, collect, collect_all, collect_until_error, reasoning_of, text_of, usage_of

FAST = EchoModel(tokens_per_second=0)
TALK = ModelRequest(
    [
        {"role": "user", "content": "Tell me about lighthouses"},
        {"role": "assistant", "content": "They are bright, tall and lonely."},
        {"role": "user", "content": "And herons?\nI like *them*."},
    ]
)


async def test_a_reply_refers_to_the_conversation() -> None:
    text = text_of(await collect(FAST, TALK))
    assert "> And herons?\n> I like *them*." in text
    assert "message **number 2**" in text
    assert "*Tell me about lighthouses*" in text
    assert "6 words" in text
    assert "first thing" in text_of(await collect(FAST, ask("hello")))


async def test_a_reply_ends_with_its_reason_and_usage() -> None:
    *_, finish, usage = await collect_all(FAST)
    assert finish == Finish("stop")
    assert isinstance(usage, Usage)


async def test_a_reply_is_markdown_worth_looking_at() -> None:
    texts = [text_of(await collect(FAST, ask(f"What is {topic}?"))) for topic in ("rain", "ink", "salt", "a tide")]
    for text in texts:
        assert text.startswith("## ")
        assert text.count("\n\n") > 5
    everything = "\n".join(texts)
    for mark in ("```python\n", "\n| ", "\n1. ", "\n- ", "**", "`", "> ", "🪶"):
        assert mark in everything


@pytest.mark.parametrize(
    "prompt", ["", "hi", "What is the capital of Iceland?", "word " * 400, "你好，世界", "🙂" * 50, "a" * 5000]
)
async def test_a_reply_is_of_a_length_to_reload_in(prompt: str) -> None:
    events = await collect(FAST, ask(prompt))
    usage = events[-1]
    assert isinstance(usage, Usage)
    assert usage.output_tokens == len(events) - 1
    assert 150 <= usage.output_tokens <= 500
    pieces = [event.text for event in events[:-1] if isinstance(event, TextDelta) and event.text]
    assert len(pieces) == len(events) - 1
    assert sum(map(len, pieces)) / len(events) < 8  # tokens, not lines


async def test_the_same_request_gets_the_same_reply() -> None:
    first = await collect(EchoModel(tokens_per_second=0), TALK)
    assert first == await collect(FAST, TALK) == await collect(FAST, TALK)
    different = {text_of(await collect(FAST, ask(f"topic {number}"))).partition("\n\n>")[2][40:] for number in range(8)}
    assert len(different) == 8


async def test_a_model_that_varies_answers_anew_each_time() -> None:
    one, other = (EchoModel(tokens_per_second=0, vary=True) for _ in range(2))
    first, second = await collect(one, TALK), await collect(one, TALK)
    assert text_of(first) != text_of(second)
    assert [first, second] == [await collect(other, TALK), await collect(other, TALK)]


async def test_usage_counts_what_was_read() -> None:
    short, long = [usage_of(await collect(FAST, ask(text))) for text in ("one two", "one two three four five")]
    assert short is not None
    assert long is not None
    assert (short.input_tokens, long.input_tokens) == (2, 5)
    with_system = usage_of(await collect(FAST, ask("one two", system="be brief")))
    assert with_system is not None
    assert with_system.input_tokens == 4


@pytest.mark.parametrize("least", [1, 1000, 5000])
async def test_long_writes_at_least_so_many_tokens(least: int) -> None:
    usage = usage_of(await collect(FAST, ask(f"/long {least} about the sea")))
    assert usage is not None
    assert least <= usage.output_tokens <= max(least, 300) + 300


async def test_short_writes_a_paragraph() -> None:
    events = await collect(FAST, ask("/short what is salt"))
    assert len(events) < 60
    assert "\n" not in text_of(events)
    assert "What is salt" in text_of(events)


async def test_help_lists_every_command() -> None:
    text = text_of(await collect(FAST, ask("/help")))
    assert all(command in text for command in ("/short", "/long", "/think", "/tools", "/fail"))


async def test_think_reasons_first() -> None:
    events = await collect(FAST, ask("/think is a heron patient?"))
    kinds = [type(event) for event in events]
    answer = kinds.index(TextDelta)
    assert answer > 10
    assert set(kinds[:answer]) == {ReasoningDelta}
    assert ReasoningDelta not in kinds[answer:]
    assert "patient" in reasoning_of(events)


async def test_fail_raises_after_some_text() -> None:
    events, error = await collect_until_error(FAST, ask("/fail please"))
    assert isinstance(error, ModelError)
    assert error.code == "echo_failure"
    assert "/fail" in str(error)
    assert len(events) > 50


async def test_tools_calls_the_first_tool_with_fitting_arguments() -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    }
    tools = [{"name": "weather", "description": "…", "parameters": parameters}, {"name": "other"}]
    events = await collect(FAST, ask("/tools in Reykjavik", tools=tools))
    [call] = calls_of(events)
    assert call.name == "weather"
    assert json.loads(call.arguments)["days"] >= 1
    assert [type(event) for event in events[-2:]] == [ToolCall, Usage]
    assert Finish("tool_calls") in await collect_all(FAST, ask("/tools in Reykjavik", tools=tools))
    [unasked] = calls_of(await collect(FAST, ask("/tools hi")))
    assert (unasked.name, json.loads(unasked.arguments)) == ("echo", {"text": "/tools hi"})
    assert unasked.id != call.id
    assert not calls_of(await collect(FAST, ask("hello", tools=tools)))


async def test_a_tools_result_is_answered_not_called_for_again() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "/tools in Reykjavik"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "name": "weather", "arguments": "{}"}]},
        {"role": "tool", "tool_call_id": "1", "content": "rain, 4 °C"},
    ]
    events = await collect(FAST, ModelRequest(messages, tools=[{"name": "weather"}]))
    assert "rain, 4 °C" in text_of(events)
    assert not calls_of(events)


async def test_a_system_prompt_may_ask_for_a_title_a_summary_or_more() -> None:
    transcript = ask("user: Tell me about lighthouses\n\nassistant: They are bright.\n\nuser: And herons?").messages
    for messages in (TALK.messages, transcript):
        for system in ("Write a short title for this conversation.", prompts.TITLE):
            assert text_of(await collect(FAST, ModelRequest(messages, system=system))) == "Tell me about lighthouses"
        for system in ("Summarize the conversation.", prompts.COMPACT):
            summary = text_of(await collect(FAST, ModelRequest(messages, system=system)))
            assert "2 questions: “Tell me about lighthouses”; “And herons" in summary
            assert "\n" not in summary
    more = text_of(await collect(FAST, ask("The tide went out", system=prompts.COMPLETE)))
    assert more.startswith(" ")
    assert len(more) < 80


async def test_other_system_prompts_change_nothing() -> None:
    for system in ("You are a helpful assistant. Complete tasks with care.", "Titles are bold.", "Be brief."):
        assert text_of(await collect(FAST, ask("hello", system=system))).startswith("## ")


@pytest.mark.parametrize(
    "content",
    [None, 5, [], [{"type": "text", "text": "look at this"}, {"type": "image_url", "image_url": {"url": "data:,"}}]],
)
async def test_content_that_is_not_plain_text_is_taken(content: Any) -> None:
    text = text_of(await collect(FAST, ModelRequest([{"role": "user", "content": content}])))
    assert ("look at this" in text) == ("1 file" in text) == (bool(content) and content != 5)


async def test_an_empty_conversation_is_answered() -> None:
    assert text_of(await collect(FAST, ModelRequest([])))


# --- pace ------------------------------------------------------------------------------------------------------------


class _Clock:
    """Stands in for the event loop's clock: sleeping takes longer than asked for, as on a busy machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self._sleep = asyncio.sleep
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        monkeypatch.setattr("aibind.models.echo.tokens.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.now += seconds + 0.004
        await self._sleep(0)


async def test_the_pace_does_not_drift_when_sleeps_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    start = clock.now
    times = [clock.now - start async for _ in EchoModel(tokens_per_second=100).stream(ask("/long 500 x"))]
    assert times[0] == 0
    for number, at in enumerate(times[:-2]):
        assert number / 100 <= at + 1e-6 < number / 100 + 0.005


async def test_a_slow_reader_does_not_slow_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    start = clock.now
    count = 0
    async for _ in EchoModel(tokens_per_second=10).stream(ask("hello")):
        count += 1
        if count == 5:
            clock.now += 5  # busy meanwhile: 50 tokens are overdue, and come at once
        if count == 50:
            break
    assert clock.now - start < 5.6


async def test_an_unpaced_reply_lets_others_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    events = await collect(FAST)
    task.cancel()
    assert turns >= len(events) - 1


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_a_rate_that_makes_no_sense_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="tokens_per_second"):
        EchoModel(tokens_per_second=rate)


# --- structured output -----------------------------------------------------------------------------------------------


class Mood(Enum):
    CALM = "calm"
    STORMY = "stormy"


class Berth(BaseModel):
    number: int = Field(ge=3, lt=8)
    depth: float = Field(gt=1.5, le=2)
    tags: list[Literal["deep", "cheap"]] = Field(min_length=2, max_length=2)


class Harbour(BaseModel):
    name: str = Field(min_length=30, max_length=40)
    code: str = Field(max_length=3)
    mood: Mood
    kind: Literal["port"]
    open: bool
    berths: list[Berth]
    nearest: Harbour | None = None
    others: list[Harbour] = []
    place: tuple[float, float]
    even: Annotated[int, MultipleOf(2), Field(ge=5)]
    below: int = Field(lt=-3)
    either: int | str
    notes: dict[str, str]


async def structured(schema: Any, prompt: str = "what is a harbour?") -> Any:
    events = await collect(FAST, ask(prompt, json_schema=schema))
    assert isinstance(events[-1], Usage)
    assert len(events) > 3
    return json.loads(text_of(events))


@pytest.mark.parametrize("prompt", ["what is a harbour?", "", "x", "one two three four five six"])
async def test_structured_output_fits_its_schema(prompt: str) -> None:
    value = await structured(Harbour.model_json_schema(), prompt)
    harbour = Harbour.model_validate(value)
    assert harbour.berths
    assert value.keys() >= {"name", "nearest", "others"}


async def test_structured_output_comes_in_pieces_and_is_deterministic() -> None:
    request = ask("hi", json_schema=Harbour.model_json_schema())
    first = await collect(FAST, request)
    assert len(first) > 100
    assert first == await collect(FAST, request)


async def test_an_empty_schema_gets_an_object() -> None:
    assert isinstance(await structured({}), dict)


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        ({"type": "string", "enum": ["a", "b"]}, lambda value: value in ("a", "b")),
        ({"const": {"fixed": 1}}, lambda value: value == {"fixed": 1}),
        ({"type": ["null", "integer"]}, lambda value: isinstance(value, int)),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 5}, lambda value: len(value) >= 5),
        ({"type": "array", "maxItems": 0}, lambda value: value == []),
        ({"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False}, lambda value: len(value) == 2),
        ({"properties": {"x": {"type": "null"}}}, lambda value: value == {"x": None}),
        ({"required": ["y"]}, lambda value: isinstance(value["y"], str)),
        ({"type": "string", "format": "date"}, lambda value: value.count("-") == 2),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.25}, lambda value: 0 < value < 0.25),
        ({"type": "integer", "maximum": -50}, lambda value: value <= -50),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}]}, lambda value: value == {"a": 1}),
        ({"allOf": [{"properties": {name: {"const": 1}}} for name in "ab"]}, lambda value: value == {"a": 1, "b": 1}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 7}}}, lambda value: value == 7),
        ({"$ref": "#"}, lambda value: True),
        ({"properties": {"me": {"$ref": "#"}}, "required": ["me"]}, lambda value: "me" in value["me"]["me"]),
    ],
)
async def test_each_keyword_is_kept(schema: Any, fits: Callable[[Any], bool]) -> None:
    value = json.loads(text_of(await collect(FAST, ask("what is a harbour?", json_schema=schema))))
    assert fits(value), value


@pytest.mark.parametrize("schema", [{"properties": 5}, {"type": "number", "multipleOf": 0}, {"allOf": [True]}])
async def test_a_schema_that_makes_no_sense_is_a_model_error(schema: Any) -> None:
    _, error = await collect_until_error(FAST, ask("hi", json_schema=schema))
    assert isinstance(error, ModelError)
    assert "JSON Schema" in str(error)


# --- imports ---------------------------------------------------------------------------------------------------------


def test_importing_the_models_imports_no_third_party_module_and_no_random() -> None:
    code = (
        "import sys, asyncio, json\n"
        "before = set(sys.modules)\n"
        "import aibind.models.echo.tokens, aibind.models.echo.reply, aibind.models.echo.json\n"
        "import aibind.models as models\n"
        "models.EchoModel\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))\n"
        "print(sorted(set(dir(models)) & {'OpenAIModel'}))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["['aibind']", "['OpenAIModel']"]


def test_the_http_extra_is_asked_for_by_name() -> None:
    code = "import sys; sys.modules['httpx2'] = None\nimport aibind.models\naibind.models.OpenAIModel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "aibind[http]"' in done.stderr.splitlines()[-1]


def test_an_unknown_name_is_an_attribute_error() -> None:
    import aibind.models

    with pytest.raises(AttributeError, match="NoSuchModel"):
        aibind.models.NoSuchModel  # noqa: B018 - the access is the test


TWICE = {"$ref": "#"}
LARGE_SCHEMAS: dict[str, Any] = {
    "two references to itself": {"properties": {"a": TWICE, "b": TWICE}, "required": ["a", "b"]},
    "a list of itself": {"items": TWICE, "minItems": 9},
    "a long list": {"type": "array", "minItems": 10**9},
    "a long text": {"type": "string", "minLength": 10**9},
    "many names": {"type": "object", "required": [f"n{number}" for number in range(100_000)]},
    "many choices": {"anyOf": [{"type": "null"}] * 100_000},
    "a long reference": {"$ref": "#" + "/a" * 1_000_000},
    "steps that are too small": {"type": "number", "minimum": 1, "multipleOf": 5e-324},
    "numbers that are too large": {"type": "integer", "minimum": 10**4000},
}


@pytest.mark.parametrize("schema", LARGE_SCHEMAS.values(), ids=LARGE_SCHEMAS)
async def test_a_schema_that_would_take_too_long_is_a_model_error(schema: Any) -> None:
    request = ModelRequest([{"role": "user", "content": "go"}], json_schema=schema)
    with pytest.raises(ModelError, match="cannot make sense of this JSON Schema"):
        await collect(FAST, request)


async def test_a_schema_that_may_end_does() -> None:
    node = {"type": "object", "properties": {name: {"$ref": "#"} for name in "abcdefgh"}, "required": []}
    assert json.dumps(await structured(node)).count("{") < 10_000
    assert await structured({"allOf": [TWICE, TWICE], "required": ["a"], "properties": {"a": TWICE, "b": TWICE}})
    deep: Any = {"type": "string"}
    for _ in range(500):
        deep = {"type": "array", "items": deep}
    assert isinstance(await structured(deep), list)


async def test_a_long_conversation_is_counted_without_reading_all_of_it() -> None:
    usage = usage_of(await collect(FAST, ask("/short " + "word " * 200_000)))
    assert usage is not None
    assert 200_000 < usage.input_tokens < 300_000


async def test_a_long_reply_is_made_up_as_it_is_read() -> None:
    reply = FAST.stream(ask("/long 100000"))
    tokens = [await anext(reply) for _ in range(50)]
    await reply.aclose()
    assert len(tokens) == 50
