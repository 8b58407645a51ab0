"""The page's own modules, in the browser that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

FIXTURES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "sse.json").read_text())
# The recorded parser also dispatches a message that the end of the stream cut off, which the standard discards.
CASES = [case for case in FIXTURES["consume"] if case["text"].endswith("\n\n")]

PARSE = """async (pieces) => {
  const { SseParser } = await import("/__aibind__/aibind.js");
  return pieces.map((texts) => {
    const messages = [];
    const parser = new SseParser((message) => messages.push(message));
    texts.forEach((text) => parser.push(text));
    return messages;
  });
}"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"][:30]))
def test_recorded_streams_wherever_they_are_cut(page: Page, case: dict[str, Any]) -> None:
    text = case["text"]
    ways = [[text], list(text), *([text[:cut], text[cut:]] for cut in range(1, len(text)))]
    for messages in page.evaluate(PARSE, ways):
        assert messages == case["messages"]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("\ufeffdata: bom\n\n", ["bom"]),
        ("data: a\r\ndata: b\r\n\r\ndata: c\r\rdata:d\n\n", ["a\nb", "c", "d"]),
        (": a comment\n\nevent: none\n\ndata\n\n", [""]),
        ("data: cut off", []),
    ],
)
def test_the_standard_is_followed(page: Page, text: str, data: list[str]) -> None:
    for messages in page.evaluate(PARSE, [[text], list(text)]):
        assert [message["data"] for message in messages] == data


TURNS = """async ([messages, live]) => {
  const { turnsOf } = await import("/static/turns.js");
  return turnsOf(messages, live);
}"""


def stored(number: int, message: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a message as the server's pages have it."""
    return {"id": f"m{number}", "message": message, "metadata": metadata, "alternatives": [f"m{number}"]}


CALL = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": '{"zone":"UTC"}'}}
ROUNDS = [
    stored(1, {"role": "user", "content": "What time is it?"}, streamId="s"),
    stored(
        2, {"role": "assistant", "content": "Let me see. ", "tool_calls": [CALL], "reasoning": "A clock"}, streamId="s"
    ),
    stored(3, {"role": "tool", "tool_call_id": "c", "name": "clock", "content": '"noon"'}, streamId="s"),
    stored(
        4,
        {"role": "assistant", "content": "It is noon.", "reasoning": " helps."},
        streamId="s",
        usage={"inputTokens": 9, "outputTokens": 4},
    ),
    stored(5, {"role": "user", "content": [{"type": "text", "text": "Thanks"}, {"type": "image_url"}]}),
    stored(6, {"role": "assistant", "content": None}, streamId="t", finish="error", error="no more"),
]


def test_all_messages_of_an_answer_are_one_turn(page: Page) -> None:
    turns = page.evaluate(TURNS, [ROUNDS, None])
    assert [(turn["id"], turn["role"], turn["content"]) for turn in turns] == [
        ("m1", "user", "What time is it?"),
        ("m2", "assistant", "Let me see. It is noon."),
        ("m5", "user", "Thanks\n"),
        ("m6", "assistant", ""),
    ]
    answer, failed = turns[1], turns[3]
    assert answer["reasoning"] == "A clock helps."
    assert answer["usage"]["outputTokens"] == 4
    assert answer["tools"] == [
        {"event": "tool_call", "id": "c", "name": "clock", "args": {"zone": "UTC"}},
        {"event": "tool_result", "id": "c", "name": "clock", "result": "noon"},
    ]
    assert (answer["finish"], failed["finish"], failed["error"]) == ("done", "error", "no more")


def test_rounds_of_the_reply_that_is_followed_are_left_to_it(page: Page) -> None:
    turns = page.evaluate(TURNS, [ROUNDS[:3], "s"])
    assert [turn["id"] for turn in turns] == ["m1"]
