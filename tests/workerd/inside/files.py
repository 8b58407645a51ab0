"""Files of the message store on workerd's own D1."""

from __future__ import annotations

from typing import Any

from aibind.cloudflare import wrap_d1
from aibind.conversations import StoredFile
from aibind.history import ChatHistory
from aibind.models import EchoModel
from aibind.server import StreamHandler
from aibind.sqlite import SqliteMessageStore
from aibind.sqlite.file_tables import MAX_PART_BYTES
from testbed.counting import CountingClient

from .bench import Bench, checks_of_each_kind, checks_once

check = checks_of_each_kind

LARGE = StoredFile.of(bytes(range(256)) * 20_480, "video/mp4", "5 MiB ü.mp4")
SMALL = StoredFile.of(b"\0\xff picture", "image/png")


async def _send(store: SqliteMessageStore, session_id: str, *files: StoredFile) -> None:
    chat = await store.load(session_id)
    message_id = chat.append({"role": "user", "content": [file.reference.to_part() for file in files]})
    await store.put_files(session_id, message_id, files)
    await store.save(session_id, chat)


async def _count(client: CountingClient, table: str) -> Any:
    return (await client.execute(f"SELECT count(*) AS n FROM {table}")).rows[0]["n"]


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def a_file_of_five_megabytes_comes_back(bench: Bench) -> None:
    client = CountingClient(wrap_d1(bench.db))
    store = SqliteMessageStore(client)
    await _send(store, "s", LARGE, SMALL, StoredFile.of(b"", "a/b"))
    assert await _count(client, "aibind_files") == len(LARGE.data) // MAX_PART_BYTES + 3
    found = await store.find_file("s", LARGE.reference.sha256)
    assert found is not None
    assert found == LARGE
    both = await store.read_files("s", [SMALL.reference.sha256, LARGE.reference.sha256, "0" * 64])
    assert both == {file.reference.sha256: file.data for file in (LARGE, SMALL)}
    largest = (await client.execute("SELECT max(length(data)) AS n FROM aibind_files")).rows[0]["n"]
    assert largest == MAX_PART_BYTES


@check
async def a_file_is_kept_once_and_deleted_with_its_last_message(bench: Bench) -> None:
    client = CountingClient(wrap_d1(bench.db))
    store = SqliteMessageStore(client)
    await _send(store, "a", SMALL)
    before = client.figures
    await _send(store, "b", SMALL)
    assert not any("INSERT" in sql and '"aibind_files"' in sql for sql in client.log[before["statements"] :])
    await store.delete("a")
    assert await store.read_files("b", [SMALL.reference.sha256]) == {SMALL.reference.sha256: SMALL.data}
    chat = await store.load("b")
    chat.tree.remove(chat.node_ids[0])
    await store.save("b", chat)
    assert await _count(client, "aibind_files") == 0
    assert await _count(client, "aibind_message_files") == 0


@check
async def a_file_that_waits_for_its_message_is_swept_after_an_hour(bench: Bench) -> None:
    client = CountingClient(wrap_d1(bench.db))
    store = SqliteMessageStore(client)
    await store.put_files("s", "m", [SMALL])
    await store.cleanup()
    assert await _count(client, "aibind_files") == 1
    await client.execute("UPDATE aibind_message_files SET pending_at = pending_at - 3600000")
    await store.cleanup()
    assert await _count(client, "aibind_files") == 0


@check
async def sessions_that_expire_take_their_files_along(bench: Bench) -> None:
    client = CountingClient(wrap_d1(bench.db))
    store = SqliteMessageStore(client, ttl_ms=1000)
    await _send(store, "s", SMALL)
    await client.execute("UPDATE aibind_sessions SET expires_at = 1")
    assert await store.find_file("s", SMALL.reference.sha256) is None
    assert await store.cleanup() == 1
    assert await _count(client, "aibind_files") == 0


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def a_turn_with_an_attachment(bench: Bench) -> None:
    client = CountingClient(wrap_d1(bench.db))
    store = SqliteMessageStore(client)
    handler = StreamHandler(model=EchoModel(), conversations=store)
    body = {"prompt": "Look", "sessionId": "s", "attachments": [{"mimeType": "image/png", "data": "aGk="}]}
    for fields in (body, {"prompt": "And now?", "sessionId": "s"}):
        reply = await handler.stream(fields)
        assert not isinstance(reply.body, bytes)
        async for _ in reply.body:
            pass
    chat = await store.load("s")
    assert "You attached 1 file" in chat.messages[1]["content"]
    part = chat.messages[0]["content"][1]["file"]
    served = await handler.file("s", part["id"])
    assert (served.body, served.headers["Content-Type"]) == (b"hi", "image/png")


@check
async def a_turn_with_a_file_is_billed_for_these_rows(bench: Bench) -> None:
    """Of each save, a message with two indexes and the session are four. Of a file, it, its reference and theirs."""
    client = CountingClient(wrap_d1(bench.db))
    store = SqliteMessageStore(client)
    chat = ChatHistory()
    message_id = chat.append({"role": "user", "content": [SMALL.reference.to_part()]})
    await store.put_files("s", message_id, [SMALL])
    put = client.rows_written
    await store.save("s", chat)
    question = client.rows_written - put
    chat.append({"role": "assistant", "content": "a bird"})
    await store.save("s", chat)
    answer = client.rows_written - put - question
    assert (put, question, answer) == (4, 5, 4)
