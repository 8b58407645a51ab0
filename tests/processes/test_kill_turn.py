"""kill -9 in the third round of a turn: the first two are in the conversation, and the next request holds them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.sqlite import SqliteConversationStore, SqliteMessageStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.endpoint import Endpoint, Exchange, Reply, delta, texts
from tests.support.sources import text_of
from tests.support.tools import check_request, round_messages, sent, tool_turn

SHORT_LEASE_MS = 1500
LONG_LEASE_MS = 60_000
QUESTION = {"role": "user", "content": "What is there?"}
BODY = {"prompt": QUESTION["content"], "sessionId": "s", "toolset": "eyes"}
ROUNDS = [*round_messages(1), *round_messages(2)]

pytestmark = pytest.mark.processes


async def read_until(url: str, last: str, seen: asyncio.Event) -> str:
    """Ask, and read until the server is killed; tell when the last text that comes has come. Return the stream's id."""
    parser, text = SseParser(), ""
    stream_id = ""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        try:
            async with client.stream("POST", f"{url}/stream", json=BODY) as response:
                stream_id = response.headers["x-stream-id"]
                async for data in response.aiter_raw():
                    text += text_of(parser.feed(data))
                    if text.endswith(last):
                        seen.set()
        except httpx2.HTTPError:
            pass
    return stream_id


@pytest.mark.timeout(200)
@pytest.mark.parametrize("rows", [False, True], ids=["json", "rows"])
@pytest.mark.parametrize("said", ["", "So far"], ids=["before its text", "in its text"])
@pytest.mark.parametrize("lease_ms", [SHORT_LEASE_MS, LONG_LEASE_MS], ids=["given up", "within its lease"])
async def test_a_turn_killed_in_its_third_round(rows: bool, said: str, lease_ms: int, tmp_path: Path) -> None:
    """Within the lease, the producer counts as alive: the next turn goes on from the rounds that are stored."""
    is_given_up = lease_ms == SHORT_LEASE_MS
    database = tmp_path / "chat.db"
    third = Reply([delta(content=said), delta(content="never")], stall_after=1)

    def script(exchange: Exchange) -> Reply:
        if exchange.body["messages"][-1]["content"] == "And now?":
            return Reply(texts("Nothing."))
        return tool_turn(exchange, last=third)

    async with Endpoint(script) as endpoint:
        server = partial(run_server, database, lease_ms=lease_ms, messages=rows or "", endpoint=endpoint.base_url)
        store: Any = SqliteMessageStore if rows else SqliteConversationStore
        with server() as (process, url):
            seen = asyncio.Event()
            reading = asyncio.ensure_future(read_until(url, said or "round 2, looking. ", seen))
            async with asyncio.timeout(60):
                await seen.wait()
                while len(endpoint.exchanges) < 3:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)  # for the round, and for the text of the third, to be stored
            process.kill()
            process.wait()
            stream_id = await reading
        async with wrap_sqlite3(database) as client:
            assert (await store(client).load("s")).messages == [QUESTION, *ROUNDS]

        with server() as (_, url):
            async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
                if is_given_up:
                    resumed = await http.get(f"{url}/stream/resume", params={"id": stream_id})
                    assert resumed.text.endswith(
                        "event: error\ndata: producer lost\n\nevent: done\nid: 9007199254740991\ndata: \n\n"
                    )
                body = {"prompt": "And now?", "sessionId": "s"}
                response = await http.post(f"{url}/stream", json=body)
                assert text_of(SseParser().feed(response.content)) == "Nothing."
        request = endpoint.exchanges[-1].body["messages"]
        check_request(request)
        told = [{"role": "assistant", "content": said}] if said and is_given_up else []
        assert request == sent([QUESTION, *ROUNDS, *told, {"role": "user", "content": "And now?"}])

        async with wrap_sqlite3(database) as client:
            chat = await store(client).load("s")
        end = [{"role": "assistant", "content": said}] if is_given_up else []
        now = [{"role": "user", "content": "And now?"}, {"role": "assistant", "content": "Nothing."}]
        assert chat.messages == [QUESTION, *ROUNDS, *end, *now]
        assert chat.size == len(chat.messages)
        node = chat.tree.get(chat.node_ids[len(ROUNDS) + 1])
        assert node is not None
        assert node.metadata.get("finish") == ("error" if is_given_up else None)
