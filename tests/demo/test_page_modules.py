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
  const { SseParser } = await import("/static/sse.js");
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
