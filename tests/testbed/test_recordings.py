"""Our recorded replies, and the recorder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.record import RecordError, main, record_reply
from tests.support.endpoint import Endpoint, Reply, every, failure, texts
from tests.support.recordings import join_recording, read_recording
from tests.support.write_recordings import FOLDER, RECORDINGS, render

KEY = "sk-a-key-that-is-written-nowhere"
CHAT = [name for name in RECORDINGS if name.startswith("chat-")]
RESPONSES = [name for name in RECORDINGS if name.startswith("responses-")]


def test_the_files_are_what_the_script_writes() -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(RECORDINGS)
    for name in RECORDINGS:
        assert (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8") == render(name)


def has_role_alone(chunk: dict[str, Any]) -> bool:
    delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
    return "role" in delta and not any(value for key, value in delta.items() if key != "role")


def deltas_with(field: str) -> Callable[[dict[str, Any]], bool]:
    return lambda chunk: any(choice["delta"].get(field) for choice in chunk["choices"])


SHAPES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "a first delta with a role alone": has_role_alone,
    "an empty delta": lambda chunk: any(choice["delta"] == {} for choice in chunk["choices"]),
    "an empty text": lambda chunk: any(choice["delta"].get("content") == "" for choice in chunk["choices"]),
    "a null text": lambda chunk: any(choice["delta"].get("content", "") is None for choice in chunk["choices"]),
    "reasoning": deltas_with("reasoning_content"),
    "a tool call": deltas_with("tool_calls"),
    "usage without choices": lambda chunk: bool(chunk.get("usage")) and not chunk["choices"],
    "usage with the finish reason": lambda chunk: bool(chunk.get("usage")) and bool(chunk["choices"]),
    "a provider's field": lambda chunk: "x_groq" in chunk,
    "padding": lambda chunk: "obfuscation" in chunk,
    "no finish reason": lambda chunk: any("finish_reason" not in choice for choice in chunk["choices"]),
    "a cut in an emoji": lambda chunk: any(
        choice["delta"].get("content", "")[-1:] == "\u200d"
        for choice in chunk["choices"]
        if choice["delta"].get("content")
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_are_there(shape: str) -> None:
    chunks = [json.loads(line) for name in CHAT for line in read_recording(name)]
    assert any(SHAPES[shape](chunk) for chunk in chunks)


def test_the_texts_are_there() -> None:
    joined = {name: join_recording(read_recording(name)) for name in CHAT}
    assert "| Step | Warm kitchen |" in joined["chat-markdown"].text
    assert "👩🏽‍🍳" in joined["chat-markdown"].text
    assert [json.loads(call[2])["place"] for call in joined["chat-tool-calls-in-pieces"].calls] == [
        "Ísafjörður",
        "São Tomé",
    ]
    reasons = {json.loads(line)["choices"][0]["finish_reason"] for line in read_recording("chat-length")}
    assert reasons == {None, "length"}
    assert all(one.usage for one in joined.values())


@pytest.mark.parametrize("size", [None, 7])
@pytest.mark.parametrize("name", RECORDINGS)
async def test_what_is_recorded_is_what_was_streamed(name: str, size: int | None) -> None:
    lines = read_recording(name)
    api: Any = "chat" if name in CHAT else "responses"
    reply = Reply(lines, done=api == "chat", newline="\r\n", comment="wait", split=every(size) if size else None)
    async with Endpoint(reply) as endpoint:
        recorded = await record_reply(endpoint.base_url, "some-model", "Hello?", api=api, api_key=KEY, more={"seed": 7})
        [exchange] = endpoint.exchanges
    assert recorded == lines
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.path == ("/v1/chat/completions" if api == "chat" else "/v1/responses")
    assert exchange.body["stream"] is True
    assert (exchange.body["model"], exchange.body["seed"]) == ("some-model", 7)
    assert "Hello?" in json.dumps(exchange.body["messages" if api == "chat" else "input"])


@pytest.mark.parametrize(
    ("api", "reply", "says"),
    [
        ("chat", failure(401, f"The key {KEY} is wrong"), r"answered 401: .*\[key\] is wrong"),
        ("chat", Reply(texts("a"), cut_after=2), "broke off"),
        ("chat", Reply(texts("a"), done=False), "broke off after 3 events"),
        ("responses", Reply(read_recording("responses-text")[:-1], done=False), "broke off after 35 events"),
    ],
)
async def test_a_reply_that_is_not_whole_is_not_recorded(api: Any, reply: Reply, says: str) -> None:
    async with Endpoint(reply) as endpoint:
        with pytest.raises(RecordError, match=says) as caught:
            await record_reply(endpoint.base_url, "m", "Hello?", api=api, api_key=KEY)
    assert KEY not in str(caught.value)


async def test_the_command_writes_the_file_and_not_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIBIND_API_KEY", KEY)
    lines = read_recording("chat-markdown")
    file, broken = tmp_path / "reply.jsonl", tmp_path / "broken.jsonl"
    async with Endpoint(Reply(lines), Reply(lines, cut_after=9)) as endpoint:
        options = ["--base-url", endpoint.base_url, "--model", "m", "--more", '{"temperature": 0}', "Hello?"]
        assert await asyncio.to_thread(main, [*options, str(file)]) == 0
        assert await asyncio.to_thread(main, [*options, str(broken)]) == 1
        assert endpoint.exchanges[0].headers["authorization"] == f"Bearer {KEY}"
        assert endpoint.exchanges[0].body["temperature"] == 0
    assert [line for line in file.read_text(encoding="utf-8").split("\n") if line] == lines
    assert not broken.exists()
    said = capsys.readouterr()
    assert f"{len(lines)} events" in said.out
    assert "broke off" in said.err
    assert KEY not in said.out + said.err + file.read_text(encoding="utf-8")
