"""DurableStreamObject and ObjectRouter from outside: replies that outlive their clients, and end with their objects."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest

from aibind.streams import SseMessage, SseParser
from testbed.workerd.rig import Rig, RigError
from tests.object_kills import Game, endpoint_of_game, play
from tests.support.background_endpoint import served_in_thread

from .client import Reader, read_sse, stream_id_of, text_of

RUNS_ON = ("py314",)
EVERY = ("py314", "py313", "py314-2026-04-01", "py314-oldest")

STREAM = "/__aibind__/stream"


@pytest.fixture
def client(rig: Rig) -> Iterator[httpx2.Client]:
    rig.start()
    with rig.client("live") as client:
        yield client


def look(client: httpx2.Client, name: str) -> Any:
    return client.post(f"/object/CHATS/{name}/look").json()


def wait_for_end(client: httpx2.Client, name: str) -> Any:
    """Wait until an object has no reply under way, and return what it has."""
    deadline = time.monotonic() + 60
    while (seen := look(client, name))["active"]:
        assert time.monotonic() < deadline, f"The reply of {name} does not end: {seen}"
        time.sleep(0.1)
    return seen


def resume(client: httpx2.Client, stream_id: str, after: str = "0") -> list[SseMessage]:
    return read_sse(client.get(f"{STREAM}/resume", params={"id": stream_id, "after": after}))


def words_in(messages: list[SseMessage]) -> list[str]:
    """Return the words of a reply without the times at which they were said."""
    return [word.partition("@")[0] for word in text_of(messages).split()]


def words(count: int) -> list[str]:
    return [f"word{number}" for number in range(count)]


def ends_of(messages: list[SseMessage]) -> list[tuple[str, str]]:
    return [(message.event, message.data) for message in messages if message.event in ("error", "stopped", "done")]


@contextmanager
def reading(rig: Rig, prompt: str, session_id: str | None = None) -> Iterator[Reader]:
    body = {"prompt": prompt, **({"sessionId": session_id} if session_id else {})}
    with Reader(rig.urls["live"], STREAM, body) as reader:
        yield reader


def messages_of(reader: Reader) -> list[SseMessage]:
    """Read an answer, in chunks, to its end."""
    try:
        while b"event: done" not in reader.received[-200:]:
            reader.read_more()
    except (AssertionError, ConnectionError):
        pass  # cut off
    body = reader.received.partition(b"\r\n\r\n")[2]
    data = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        data += body[: int(size or b"0", 16)]
        body = body[int(size or b"0", 16) + 2 :]
    return SseParser().feed(data)


def test_a_reply_is_resumed_exactly_after_every_message(client: httpx2.Client) -> None:
    response = client.post(STREAM, json={"prompt": "30 100", "sessionId": "exact"})
    messages = read_sse(response)
    stream_id, whole = response.headers["x-stream-id"], text_of(messages)
    assert stream_id.startswith("c-exact.")
    assert (messages[0].event, messages[0].data) == ("stream-id", stream_id)
    assert words_in(messages) == words(30)
    assert ends_of(messages) == [("done", "")]
    assert text_of(resume(client, stream_id)) == whole
    seen, ids = "", 0
    for message in messages:
        if message.event:
            continue
        seen += message.data
        ids += 1
        assert seen + text_of(resume(client, stream_id, message.id)) == whole
    assert ids > 10
    seen = look(client, "c-exact")
    assert seen["asked"] == 1
    assert seen["repr"] == ["<Chat 'c-exact'>", "<ObjectRouter prefix='/p'>"]
    assert seen["stores"] == ["<DurableObjectStreamStore 's'>", "<SessionIndex client=<DurableObjectClient>>"]


def test_followers_who_come_at_any_time_read_the_same(rig: Rig, client: httpx2.Client) -> None:
    def follow(stream_id: str, wait_s: float) -> str:
        time.sleep(wait_s)
        with rig.client("live") as other:
            return text_of(resume(other, stream_id))

    with reading(rig, "120 60") as reader, ThreadPoolExecutor(12) as threads:
        stream_id = stream_id_of(reader.read_until("\nid: "))
        followers = [threads.submit(follow, stream_id, number / 5) for number in range(12)]
        whole = messages_of(reader)
        assert words_in(whole) == words(120)
        assert {one.result() for one in followers} == {text_of(whole)}
    name = stream_id.rpartition(".")[0]
    assert name.startswith("r-")
    assert look(client, name)["feeds"] == [], "nothing is left of followers who have all"


CROWD = 11
SLOW = (3,)
LEAVING = (5, 6)


def test_a_crowd_reads_the_same_whoever_leaves_or_falls_behind(rig: Rig, client: httpx2.Client) -> None:
    """Each word is more than the connection of a slow reader holds, and nobody waits for one."""
    with reading(rig, "200 60 7000") as reader, ExitStack() as stack, ThreadPoolExecutor(CROWD) as threads:
        stream_id = stream_id_of(reader.read_until("\nid: "))
        path = f"{STREAM}/resume?id={stream_id}&after=0"
        url = rig.urls["live"]
        watched = threads.submit(watch, client, stream_id.rpartition(".")[0])
        followers = [
            stack.enter_context(Reader(url, path, buffer_bytes=4096 if one in SLOW else None)) for one in range(CROWD)
        ]
        read = [threads.submit(messages_of, one) for place, one in enumerate(followers) if place not in SLOW + LEAVING]
        for place in LEAVING:
            while len(followers[place].received) < place * 200_000:
                followers[place].read_more()
            followers[place].close()
        whole = text_of(messages_of(reader))
        assert [word.partition("@")[0] for word in whole.split()] == words(200)
        assert {text_of(one.result()) for one in read} == {whole}
        assert any(one["alone"] and sum(one["crowds"]) > 1 for one in watched.result())
        for place in SLOW:
            assert text_of(messages_of(followers[place])) == whole


def test_a_crowd_of_slow_clients_reads_all(rig: Rig, client: httpx2.Client) -> None:
    """Nobody has room at first, at one and the same place."""
    with reading(rig, "60 60 7000") as reader, ExitStack() as stack:
        stream_id = stream_id_of(reader.read_until("\nid: "))
        path = f"{STREAM}/resume?id={stream_id}&after=0"
        followers = [stack.enter_context(Reader(rig.urls["live"], path, buffer_bytes=4096)) for _ in range(CROWD)]
        whole = text_of(messages_of(reader))
        assert [word.partition("@")[0] for word in whole.split()] == words(60)
        for follower in followers:
            assert text_of(messages_of(follower)) == whole


def test_a_crowd_reads_the_same_when_words_come_faster_than_they_are_sent(rig: Rig, client: httpx2.Client) -> None:
    with reading(rig, "1000 1000") as reader, ExitStack() as stack, ThreadPoolExecutor(40) as threads:
        stream_id = stream_id_of(reader.read_until("\nid: "))
        path = f"{STREAM}/resume?id={stream_id}&after=0"
        followers = [stack.enter_context(Reader(rig.urls["live"], path)) for _ in range(40)]
        read = [threads.submit(messages_of, one) for one in followers]
        whole = messages_of(reader)
        assert words_in(whole) == words(1000)
        assert {text_of(one.result()) for one in read} == {text_of(whole)}


def watch(client: httpx2.Client, name: str) -> list[Any]:
    """Return how the followers of an object's reply were fed, until it ended."""
    feeds = []
    while (seen := look(client, name))["active"]:
        feeds += seen["feeds"]
        time.sleep(0.05)
    return feeds


def test_a_reply_without_a_client_is_completed(rig: Rig, client: httpx2.Client) -> None:
    with reading(rig, "60 20", "left") as reader:
        stream_id = stream_id_of(reader.read_until("\nid: ", 2))
    wait_for_end(client, "c-left")
    messages = resume(client, stream_id)
    assert words_in(messages) == words(60)
    assert ends_of(messages) == [("done", "")]
    history = client.get("/__aibind__/sessions/left").json()["messages"]
    assert [one["message"]["role"] for one in history] == ["user", "assistant"]
    assert history[1]["message"]["content"] == text_of(messages)


def test_stop_closes_the_model_at_once(rig: Rig, client: httpx2.Client) -> None:
    with reading(rig, "2000 20", "stopped") as reader:
        stream_id = stream_id_of(reader.read_until("\nid: ", 5))
        assert client.post(f"{STREAM}/stop", json={"id": stream_id}).json() == {"ok": True}
        seen = look(client, "c-stopped")
        assert seen["active"] == []
        assert seen["closed_at"] is not None
        messages = messages_of(reader)
    assert ends_of(messages) == [("stopped", ""), ("done", "")]
    assert resume(client, stream_id)[-1].event == "done"
    assert text_of(resume(client, stream_id)) == text_of(messages)


def test_a_reply_ends_with_its_object(rig: Rig, client: httpx2.Client) -> None:
    """Nothing waits for a lease: the object knows when it comes to life that nobody else produces its streams."""
    with reading(rig, "2000 20", "crashed") as reader:
        stream_id = stream_id_of(reader.read_until("word30@"))
        made_at = look(client, "c-crashed")["made_at"]
        client.post("/object/CHATS/c-crashed/crash")
        seen = words_in(messages_of(reader))
    began = time.monotonic()
    messages = resume(client, stream_id)
    assert time.monotonic() < began + 10
    assert ends_of(messages) == [("error", "producer lost"), ("done", "")]
    kept = words_in(messages)
    assert words(2000)[: len(kept) - 1] == kept[:-1]
    assert 5 < len(kept) <= len(seen) + 1
    assert look(client, "c-crashed")["made_at"] > made_at
    again = read_sse(client.post(STREAM, json={"prompt": "3 100", "sessionId": "crashed"}))
    assert words_in(again) == words(3)
    history = client.get("/__aibind__/sessions/crashed").json()["messages"]
    assert [one["message"]["role"] for one in history] == ["user", "assistant", "user", "assistant"]
    assert history[1]["message"]["content"] == text_of(messages)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_object_that_ends_at_any_moment_leaves_an_exact_prefix(rig: Rig, seed: int) -> None:
    rig.start()
    assert play(Game(rig), "abort", random.Random(seed), seed) == []


@pytest.mark.parametrize("kind", ["abort", "kill"])
def test_a_reply_goes_on_when_its_object_has_ended(rig: Rig, kind: str) -> None:
    rig.start()
    with served_in_thread(endpoint_of_game()) as endpoint:
        assert play(Game(rig, endpoint), kind, random.Random(3), 1) == []


def test_an_eviction_in_mid_reply_loses_nothing(rig: Rig) -> None:
    """workerd lets the producer end, and then drops at once what SQLite has not committed."""
    if rig.setting.release.name == "oldest":
        pytest.skip("The oldest workerd evicts nothing on request")
    rig.start()
    assert play(Game(rig, words=100), "evict", random.Random(4), 1) == []


def test_a_repeated_request_finds_its_reply(client: httpx2.Client) -> None:
    def ask(**body: str) -> httpx2.Response:
        return client.post(STREAM, json={"prompt": "5 100", **body}, headers={"Idempotency-Key": "once"})

    first, again = ask(), ask()
    assert first.headers["x-stream-id"] == again.headers["x-stream-id"]
    assert text_of(read_sse(first)) == text_of(read_sse(again))
    assert ask(sessionId="repeated").headers["x-stream-id"] != first.headers["x-stream-id"]
    assert ask(prompt="6 100").status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", STREAM, b"{", 400),
        ("POST", STREAM, b"{}", 400),
        ("GET", f"{STREAM}/resume", b"", 400),
        ("GET", f"{STREAM}/resume?id=unknown", b"", 404),
        ("GET", f"{STREAM}/resume?id=r-00000000000000000000000000000000.{'0' * 36}", b"", 404),
        ("POST", f"{STREAM}/stop", b'{"id": "unknown"}', 200),
        ("GET", "/__aibind__/sessions", b"", 501),
        ("GET", "/__aibind__/sessions/unknown", b"", 404),
        ("GET", "/__aibind__/nothing", b"", 404),
        ("GET", "/elsewhere", b"", 404),
        ("GET", "/__aibind__/aibind.js", b"", 200),
    ],
)
def test_every_request_gets_a_clear_answer(
    client: httpx2.Client, method: str, path: str, body: bytes, status: int
) -> None:
    response = client.request(method, path, content=body)
    assert response.status_code == status, response.text
    assert "Traceback" not in response.text


def test_pages_of_other_sites_change_nothing(client: httpx2.Client) -> None:
    headers = {"Origin": "https://elsewhere.example", "Content-Type": "application/json"}
    assert client.post(STREAM, json={"prompt": "1 1"}, headers=headers).status_code == 403


def test_an_object_without_a_model_says_so(rig: Rig) -> None:
    with pytest.raises(RigError, match="override make_model"):
        rig.ask("live", "/bare/", {})


def test_an_object_removes_itself_when_nothing_is_left(client: httpx2.Client) -> None:
    response = client.post("/brief/stream", json={"prompt": "3 100", "sessionId": "not kept"})
    assert words_in(read_sse(response)) == words(3)
    stream_id = response.headers["x-stream-id"]
    name = stream_id.rpartition(".")[0]
    assert name.startswith("h-"), "a session's id that is no plain name is hashed"
    deadline = time.monotonic() + 60
    assert client.post(f"/object/BRIEF/{name}/tables").json() != []
    while client.post(f"/object/BRIEF/{name}/tables").json() != []:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert client.get("/brief/stream/resume", params={"id": stream_id}).status_code == 404
    again = client.post("/brief/stream", json={"prompt": "4 100", "sessionId": "not kept"})
    assert words_in(read_sse(again)) == words(4)
