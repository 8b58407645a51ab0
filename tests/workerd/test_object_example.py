"""examples/worker-durable-object, unchanged: a chat in objects, whose page survives reloads, tabs and restarts."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from testbed.workerd.prices import Operations, dollars_of, operations_of
from testbed.workerd.rig import Rig

from .client import Reader, read_sse, stream_id_of, text_of

RUNS_ON = EVERY = ("py314",)

STREAM = "/__aibind__/stream"
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "worker-durable-object"
GUIDE = ROOT / "docs" / "choosing-an-engine.md"


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


@dataclass(frozen=True, slots=True)
class Cost:
    """What the example was billed for, in its objects and in D1."""

    objects: Operations
    alarms: int
    d1: Operations


def count(rig: Rig, what: str) -> Cost:
    """Wait until the example is at rest; print and return what it has done since it was last counted."""
    objects, d1, alarms = Operations(), Operations(), 0
    is_at_rest = False
    while not is_at_rest:
        time.sleep(0.5)
        meter = rig.meter("objects", 0)
        more = operations_of(meter)
        more_d1 = Operations(rows_read=meter["rowsRead"], rows_written=meter["rowsWritten"])
        is_at_rest = more == more_d1 == Operations()
        objects, d1, alarms = objects + more, d1 + more_d1, alarms + meter["objects"]["alarms"]
    print(f"{what}: {objects}, {alarms} alarms, in D1 {d1}; {dollars_of(objects + d1):.1f} dollars a million")
    return Cost(objects, alarms, d1)


def rows_of_guide() -> list[int]:
    """Return the rows that a reply writes, by what they are for, as the guide has them."""
    page = GUIDE.read_text(encoding="utf-8")
    return [int(rows) for rows in re.findall(r"^\| (\d+)(?: more)? \| [^|]+ \|$", page, re.MULTILINE)]


def test_replies_cost_what_the_guide_says(prepared: Rig, guest: httpx2.Client) -> None:
    turn, text, alarms, removal, owner, listed = rows_of_guide()
    row = re.search(
        r"^\| aibind, an object a conversation.*\| ([\d.]+) \| (\d+) \|", GUIDE.read_text("utf-8"), re.MULTILINE
    )
    assert row is not None
    assert turn + text + alarms + removal == int(row[2])
    read_sse(guest.post(STREAM, json={"prompt": "/short", "sessionId": "counted"}))  # makes the tables
    count(prepared, "the first reply")
    for prompt in ("/short", "/long 60"):
        began = time.monotonic()
        response = guest.post(STREAM, json={"prompt": prompt, "sessionId": "counted"})
        text_s = time.monotonic() - began
        cost = count(prepared, f"{prompt}, {text_s:.1f} s")
        assert cost.objects.object_requests - cost.alarms == 1
        # A row of text at once and one a second, of which a busy machine skips some; alarms may have been set before.
        texts = cost.objects.rows_written - turn - owner
        assert 1 + int(text_s) // 2 <= texts <= 2 + int(text_s) + alarms
        assert cost.alarms or cost.objects.rows_read <= float(row[1])
        assert cost.d1 == Operations(rows_written=listed)
        guest.get(f"{STREAM}/resume", params={"id": response.headers["x-stream-id"]})
        cost = count(prepared, "resumed")
        assert cost.objects.object_requests - cost.alarms == 1
        assert cost.objects.rows_written == cost.alarms
        assert cost.d1 == Operations()


def test_send_reload_second_tab_and_stop(prepared: Rig, guest: httpx2.Client) -> None:
    count(prepared, "before")
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
    cost = count(prepared, "two replies, three looks, two tabs, a stop and a resume")
    assert cost.objects.object_requests - cost.alarms == 9
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
