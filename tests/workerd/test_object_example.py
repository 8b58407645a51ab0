"""examples/worker-durable-object, unchanged: a chat in objects, whose page survives reloads, tabs and restarts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from testbed.workerd.rig import Rig

from .client import Reader, read_sse, stream_id_of, text_of

RUNS_ON = EVERY = ("py314",)

STREAM = "/__aibind__/stream"
EXAMPLE = Path(__file__).parents[2] / "examples" / "worker-durable-object"


@pytest.fixture
def guest(prepared: Rig) -> Iterator[httpx2.Client]:
    """A browser that has opened the page, which makes it a guest."""
    with prepared.client("objects") as client:
        page = client.get("/")
        assert "aibind.js" in page.text
        assert client.cookies.get("guest")
        assert "Set-Cookie" not in client.get("/").headers
        yield client


def asking(rig: Rig, client: httpx2.Client, prompt: str, session_id: str) -> Reader:
    cookie = f"guest={client.cookies['guest']}"
    return Reader(rig.urls["objects"], STREAM, {"prompt": prompt, "sessionId": session_id}, {"Cookie": cookie})


def messages_of(client: httpx2.Client, session_id: str) -> list[tuple[str, str]]:
    answer = client.get(f"/__aibind__/sessions/{session_id}")
    return [(one["message"]["role"], one["message"]["content"]) for one in answer.json()["messages"]]


def listed(client: httpx2.Client) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = client.get("/__aibind__/sessions").json()["sessions"]
    return sessions


def wait_for_list(client: httpx2.Client, count: int) -> list[dict[str, Any]]:
    """The list is written after the response."""
    deadline = time.monotonic() + 30
    while len(found := listed(client)) != count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_send_reload_second_tab_and_stop(prepared: Rig, guest: httpx2.Client) -> None:
    first = read_sse(guest.post(STREAM, json={"prompt": "/short", "sessionId": "chat"}))
    assert messages_of(guest, "chat") == [("user", "/short"), ("assistant", text_of(first))]
    with asking(prepared, guest, "/long 2000", "chat") as reader:
        stream_id = stream_id_of(reader.read_until("\nid: ", 10))
    # Reloaded: the question is there, and the reply goes on. In a second tab as well.
    assert messages_of(guest, "chat")[2:] == [("user", "/long 2000")]
    with (
        guest.stream("GET", "/__aibind__/sessions/chat/stream") as tab,
        guest.stream("GET", f"{STREAM}/resume", params={"id": stream_id, "after": 1}) as other,
    ):
        received = tab.iter_text(), other.iter_text()
        for texts in received:
            assert "data:" in next(texts)
        assert guest.post(f"{STREAM}/stop", json={"id": stream_id}).json() == {"ok": True}
        for texts in received:
            assert "event: stopped" in "".join(texts)
    text = text_of(read_sse(guest.get(f"{STREAM}/resume", params={"id": stream_id})))
    assert messages_of(guest, "chat")[3:] == [("assistant", text)]
    assert len(text) > 10
    assert [one["title"] for one in wait_for_list(guest, 1)] == ["/short"]


def test_a_reply_goes_on_after_a_restart(prepared: Rig, guest: httpx2.Client) -> None:
    with asking(prepared, guest, "/long 2000", "restarted") as reader:
        stream_id = stream_id_of(reader.read_until("\nid: ", 60))
        prepared.kill()
    prepared.start()
    cookies = dict(guest.cookies)
    with prepared.client("objects") as again:
        again.cookies.update(cookies)
        with again.stream("GET", f"{STREAM}/resume", params={"id": stream_id}) as response:
            texts = response.iter_text()
            assert "data:" in next(texts)
            assert "data:" in next(texts)  # it goes on
            assert again.post(f"{STREAM}/stop", json={"id": stream_id}).json() == {"ok": True}
            assert "event: stopped" in "".join(texts)
        found = messages_of(again, "restarted")
        assert [role for role, _ in found] == ["user", "assistant"]
        assert found[1][1] == text_of(read_sse(again.get(f"{STREAM}/resume", params={"id": stream_id})))
        read_sse(again.post(STREAM, json={"prompt": "/short", "sessionId": "restarted"}))
        assert len(messages_of(again, "restarted")) == 4


def test_another_guest_has_other_conversations(prepared: Rig, guest: httpx2.Client) -> None:
    response = guest.post(STREAM, json={"prompt": "/short", "sessionId": "mine"})
    stream_id = response.headers["x-stream-id"]
    wait_for_list(guest, 1)
    with prepared.client("objects") as other:
        assert other.get(f"{STREAM}/resume", params={"id": stream_id}).status_code == 401
        other.get("/")
        assert other.get(f"{STREAM}/resume", params={"id": stream_id}).status_code == 404
        assert other.get("/__aibind__/sessions/mine").status_code == 404
        assert listed(other) == []
        forged = {"aibind-access": json.dumps({"owner": guest.cookies["guest"], "context": None})}
        assert other.get(f"{STREAM}/resume", params={"id": stream_id}, headers=forged).status_code == 404


def test_a_conversation_is_renamed_and_deleted(guest: httpx2.Client) -> None:
    read_sse(guest.post(STREAM, json={"prompt": "/short", "sessionId": "named"}))
    wait_for_list(guest, 1)
    assert guest.patch("/__aibind__/sessions/named", json={"title": "A name"}).status_code == 200
    deadline = time.monotonic() + 30
    while [one["title"] for one in listed(guest)] != ["A name"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert guest.delete("/__aibind__/sessions/named").status_code in (200, 204)
    wait_for_list(guest, 0)
    assert guest.get("/__aibind__/sessions/named").status_code == 404


def test_the_example_is_short_and_configured() -> None:
    source = (EXAMPLE / "src" / "entry.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 60
    config = json.loads(re.sub(r"^\s*//.*$", "", (EXAMPLE / "wrangler.jsonc").read_text(), flags=re.MULTILINE))
    assert config["compatibility_date"] == "2026-11-01"
    (binding,) = config["durable_objects"]["bindings"]
    assert config["migrations"][0]["new_sqlite_classes"] == [binding["class_name"]]
    bindings = {binding["name"], config["d1_databases"][0]["binding"], config["ai"]["binding"]}
    assert all(f"env.{name}" in source for name in bindings)
    migrations = {file.name: file.read_text() for file in (EXAMPLE / "migrations").iterdir()}
    assert migrations == {file.name: file.read_text() for file in (EXAMPLE.parent / "worker" / "migrations").iterdir()}
