"""WebSockets of DurableStreamObject: every reply of a conversation, and nothing in memory between two of them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from aibind.streams import SseMessage, SseParser
from testbed.workerd.rig import Rig

from .client import read_sse, text_of

RUNS_ON = EVERY = ("py314",)

STREAM = "/__aibind__/stream"


@pytest.fixture
def client(rig: Rig) -> Iterator[httpx2.Client]:
    rig.start()
    with rig.client("live") as client:
        yield client


def open_socket(rig: Rig, session_id: str, query: str = "") -> Connection:
    url = rig.urls["live"].replace("http://", "ws://")
    return connect(f"{url}/__aibind__/sessions/{session_id}/socket{query}", open_timeout=60)


def read_reply(socket: Connection, *, until: str = "done") -> list[SseMessage]:
    """Read until the end of a reply, or until an event or text has come."""
    parser, messages = SseParser(), list[SseMessage]()
    while not any(until in (message.event, message.data.partition("@")[0]) for message in messages):
        messages += parser.feed(str(socket.recv(timeout=60)).encode())
    return messages


def ask(client: httpx2.Client, session_id: str, prompt: str) -> list[SseMessage]:
    return read_sse(client.post(STREAM, json={"prompt": prompt, "sessionId": session_id}))


def test_a_socket_is_sent_every_reply_of_its_conversation(rig: Rig, client: httpx2.Client) -> None:
    with open_socket(rig, "watched") as socket, open_socket(rig, "watched") as other:
        for prompt in ("5 50", "4 50"):
            asked = ask(client, "watched", prompt)
            for one in (socket, other):
                seen = read_reply(one)
                assert (seen[0].event, seen[0].data) == ("stream-id", asked[0].data)
                assert text_of(seen) == text_of(asked)
        socket.send("ping")
        assert socket.recv(timeout=60) == "pong"


def test_a_socket_goes_on_where_another_was_closed(rig: Rig, client: httpx2.Client) -> None:
    with client.stream("POST", STREAM, json={"prompt": "60 30", "sessionId": "moved"}) as response:
        stream_id = response.headers["x-stream-id"]
    with open_socket(rig, "moved") as socket:
        first = read_reply(socket, until="word9")
    last = [message.id for message in first if message.id][-1]
    with open_socket(rig, "moved", f"?id={stream_id}&after={last}") as socket:
        rest = read_reply(socket)
    assert rest[0].event != "stream-id"
    whole = read_sse(client.get(f"{STREAM}/resume", params={"id": stream_id}))
    assert text_of(first) + text_of(rest) == text_of(whole)
    with open_socket(rig, "moved", f"?id={stream_id}&after={last}") as socket:  # it has ended meanwhile
        assert text_of(read_reply(socket)) == text_of(rest)


def test_a_socket_hibernates_between_replies(rig: Rig, client: httpx2.Client) -> None:
    """Its object is evicted, which shows in the constructor running again, and the socket is there."""
    ask(client, "asleep", "2 50")
    with open_socket(rig, "asleep") as socket:
        made_at = client.post("/object/CHATS/c-asleep/look").json()["made_at"]
        rig.evict("live", "Chat", "c-asleep")
        socket.send("ping")
        assert socket.recv(timeout=60) == "pong"
        asked = ask(client, "asleep", "3 50")
        assert text_of(read_reply(socket)) == text_of(asked)
        assert client.post("/object/CHATS/c-asleep/look").json()["made_at"] > made_at


def test_a_crash_ends_what_a_socket_was_being_sent(rig: Rig, client: httpx2.Client) -> None:
    with client.stream("POST", STREAM, json={"prompt": "2000 20", "sessionId": "broken"}) as response:
        stream_id = response.headers["x-stream-id"]
    with open_socket(rig, "broken") as socket:
        first = read_reply(socket, until="word30")
        client.post("/object/CHATS/c-broken/crash")
        with pytest.raises(ConnectionClosed):
            read_reply(socket)
    last = [message.id for message in first if message.id][-1]
    with open_socket(rig, "broken", f"?id={stream_id}&after={last}") as socket:
        rest = read_reply(socket)
    assert [(one.event, one.data) for one in rest if one.event] == [("error", "producer lost"), ("done", "")]


def test_a_request_that_is_no_socket_is_refused(rig: Rig, client: httpx2.Client) -> None:
    assert client.get("/__aibind__/sessions/x/socket").status_code in (404, 426)
    with pytest.raises(InvalidStatus):
        connect(rig.urls["live"].replace("http://", "ws://") + "/__aibind__/nothing", open_timeout=60)
