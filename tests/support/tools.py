"""Turns of several rounds: an endpoint that calls tools, and what a request with their results must be like."""

from __future__ import annotations

import json
from typing import Any

from aibind.server import Tool
from tests.support.endpoint import Exchange, Reply, delta, texts, usage

ROUNDS = 3


async def look(at: str) -> dict[str, str]:
    """Return what there is to be seen."""
    return {"seen": f"{at} – blå"}


TOOLSETS = {"eyes": [Tool("look", "Looks at something", look, {"type": "object"})]}


def since_question(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages past the last question."""
    last = max(number for number, message in enumerate(messages) if message["role"] == "user")
    return messages[last + 1 :]


def call_round(number: int, *, calls: int = 1, reason: str = "tool_calls") -> list[str]:
    """Make the chunks of a round that reasons, says something and calls the tool so many times."""
    called = [
        {"index": index, "id": f"c{number}{index}", "function": {"name": "look", "arguments": f'{{"at": "{number}"}}'}}
        for index in range(calls)
    ]
    return [
        delta(role="assistant", content="", reasoning_content=f"thought {number} "),
        delta(reasoning_content="and on"),
        delta(content=f"round {number}, "),
        delta(content="looking. "),
        *(delta(tool_calls=[one]) for one in called),
        delta(reason),
        usage(10, number),
    ]


def tool_turn(exchange: Exchange, *, last: Reply | None = None, rounds: int = ROUNDS) -> Reply:
    """Answer with calls in all rounds but the last."""
    number = 1 + sum(message["role"] == "assistant" for message in since_question(exchange.body["messages"]))
    if number < rounds:
        return Reply(call_round(number, calls=number))
    return last or Reply([*texts("That ", "is all."), usage(10, number)])


def round_messages(number: int) -> list[dict[str, Any]]:
    """Return the messages of such a round as a conversation has them."""
    ids = [f"c{number}{index}" for index in range(number)]
    called = {"name": "look", "arguments": f'{{"at":"{number}"}}'}
    result = json.dumps({"seen": f"{number} – blå"}, ensure_ascii=False, separators=(",", ":"))
    return [
        {
            "role": "assistant",
            "content": f"round {number}, looking. ",
            "tool_calls": [{"id": call_id, "type": "function", "function": called} for call_id in ids],
            "reasoning": f"thought {number} and on",
        },
        *({"role": "tool", "tool_call_id": call_id, "name": "look", "content": result} for call_id in ids),
    ]


def sent(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as they are sent to an endpoint: without what chat completions does not have."""
    return [{key: value for key, value in message.items() if key != "reasoning"} for message in messages]


def check_request(messages: list[dict[str, Any]]) -> None:
    """Check what endpoints check: each call is answered right after it, and each result has its call."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])  # ValueError for a result without its call
            continue
        assert not waiting, f"not answered: {waiting}"
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        for call in message.get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert not waiting, f"not answered: {waiting}"
