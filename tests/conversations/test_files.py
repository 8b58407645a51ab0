"""The files of the message store: kept once, deleted with their last message, and never a reference to nothing."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from aibind.conversations import FileReference, FileStore, MemoryConversationStore, StoredFile
from aibind.conversations.files import references_in
from aibind.errors import ConversationConflictError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteClient, SqliteMessageStore, migrate, wrap_sqlite3
from aibind.sqlite.file_tables import MAX_PART_BYTES, PENDING_MS
from testbed.counting import CountingClient
from tests.support.harnesses import MESSAGE_STORES, open_message_harness

ROOT = Path(__file__).parents[2]

PICTURE = StoredFile.of(b"\x89PNG picture", "image/png", "a picture.png")
SIZES = [0, 1, MAX_PART_BYTES - 1, MAX_PART_BYTES, MAX_PART_BYTES + 1, 7 * MAX_PART_BYTES + 5]


def ask(*files: StoredFile, text: str = "what is it?") -> dict[str, object]:
    return {"role": "user", "content": [{"type": "text", "text": text}, *(file.reference.to_part() for file in files)]}


async def send(store: SqliteMessageStore, session_id: str, *files: StoredFile) -> str:
    """Save a message with files at the end of a session, as the server does."""
    chat = await store.load(session_id)
    message_id = chat.append(ask(*files))
    await store.put_files(session_id, message_id, files)
    await store.save(session_id, chat)
    return message_id


async def stored(client: SqliteClient, files_table: str = "aibind_files") -> set[object]:
    return {row["sha256"] for row in (await client.execute(f"SELECT sha256 FROM {files_table}")).rows}


async def references(client: SqliteClient) -> list[tuple[object, object]]:
    rows = (await client.execute("SELECT session_id, pending_at FROM aibind_message_files ORDER BY session_id")).rows
    return [(row["session_id"], row["pending_at"] is not None) for row in rows]


async def let_an_hour_pass(client: SqliteClient) -> None:
    await client.execute("UPDATE aibind_message_files SET pending_at = pending_at - ?", (PENDING_MS,))


# --- references ---


def test_a_reference_is_a_part_of_a_message() -> None:
    part = PICTURE.reference.to_part()
    assert part == {
        "type": "file",
        "file": {
            "id": "sha256:" + PICTURE.reference.sha256,
            "name": "a picture.png",
            "mimeType": "image/png",
            "size": 12,
        },
    }
    assert FileReference.from_part(part) == PICTURE.reference
    nameless = StoredFile.of(b"", "a/b").reference
    assert "name" not in nameless.to_part()["file"]
    assert FileReference.from_part(nameless.to_part()) == nameless


@pytest.mark.parametrize(
    "part",
    [
        None,
        "sha256:",
        {"type": "text", "text": "sha256:" + "0" * 64},
        {"type": "file"},
        {"type": "file", "file": "sha256:" + "0" * 64},
        {"type": "file", "file": {"id": "file-abc"}},
        {"type": "file", "file": {"id": "sha256:" + "0" * 63}},
        {"type": "file", "file": {"id": "sha256:" + "A" * 64}},
        {"type": "file", "file": {"id": "sha256:" + "0" * 64 + "\n"}},
        {"type": "image_url", "file": {"id": "sha256:" + "0" * 64}},
    ],
)
def test_other_parts_are_no_references(part: object) -> None:
    assert FileReference.from_part(part) is None


def test_odd_fields_of_a_reference_are_replaced() -> None:
    part = {"type": "file", "file": {"id": "sha256:" + "0" * 64, "name": 7, "mimeType": None, "size": -1}}
    assert FileReference.from_part(part) == FileReference("0" * 64, "application/octet-stream", 0, None)


# --- kept ---


@pytest.mark.parametrize("backend", list(MESSAGE_STORES))
async def test_files_of_every_size_come_back(backend: str, tmp_path: Path) -> None:
    source = random.Random(7)
    files = [StoredFile.of(source.randbytes(size), "a/b", f"{size}.bin") for size in SIZES]
    hashes = [file.reference.sha256 for file in files]
    async with open_message_harness(backend, tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        assert isinstance(store, FileStore)
        await send(store, "s", *files)
        assert await other.read_files("s", hashes) == {file.reference.sha256: file.data for file in files}
        assert await other.read_files("s", []) == {}
        assert await other.read_files("another", hashes) == {}
        for file in files:
            assert await other.find_file("s", file.reference.sha256) == file
        assert await other.find_file("another", hashes[0]) is None
        assert await other.find_file("s", "0" * 64) is None


def test_the_other_stores_keep_no_files() -> None:
    assert not isinstance(MemoryConversationStore(), FileStore)


async def test_a_file_is_kept_once(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteMessageStore(client)
        await send(store, "a", PICTURE, PICTURE)
        puts = sum("INSERT INTO" in sql and "aibind_files" in sql for sql in client.log)
        await send(store, "a", PICTURE)
        renamed = StoredFile.of(PICTURE.data, "image/png", "another name.png")
        await send(store, "b", renamed)
        assert puts == sum("INSERT INTO" in sql and "aibind_files" in sql for sql in client.log) == 1
        assert (await local.execute("SELECT count(*) AS n FROM aibind_files")).rows == [{"n": 1}]
        assert await store.find_file("b", PICTURE.reference.sha256) == renamed


async def test_a_turn_without_attachments_costs_what_it_did(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteMessageStore(client)
        await send(store, "s", PICTURE)
        chat = await store.load("s")
        before = dict(client.figures)
        log = len(client.log)
        for text in ("question", 'a text about "sha256:" and its hash'):
            chat.append({"role": "user", "content": text})
            await store.save("s", chat)
        costs = {name: count - before[name] for name, count in client.figures.items()}
        assert costs == {"statements": 4, "round_trips": 2, "rows_read": 2, "rows_written": 4}
        assert not any("files" in sql for sql in client.log[log:])


async def test_the_cost_of_a_turn_with_an_attachment(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteMessageStore(client)
        chat = ChatHistory()
        message_id = chat.append(ask(PICTURE))
        await store.put_files("s", message_id, [PICTURE])
        assert (client.round_trips, client.statements, client.rows_written) == (2, 3, 2)
        await store.save("s", chat)
        assert (client.round_trips, client.statements, client.rows_written) == (3, 6, 5)
        await store.put_files("s", message_id, [])
        assert client.round_trips == 3


@pytest.mark.parametrize("message_id", ["nul\0", "half \ud83d", 'quote"', "back\\slash", "ü 👋", ""])
async def test_odd_ids_and_names(message_id: str, tmp_path: Path) -> None:
    file = StoredFile.of(b"data", "text/plain\r\nX-Evil: 1", "half \ud83d nul \0 ü\n👋.txt")
    async with open_message_harness("file", tmp_path) as harness:
        store = await harness.open(ttl_ms=None)
        chat = ChatHistory(generate_id=lambda: message_id)
        chat.append(ask(file))
        await store.put_files("s", message_id, [file])
        await store.save("s", chat)
        loaded = await store.load("s")
        assert loaded.to_json() == chat.to_json()
        found = await store.find_file("s", file.reference.sha256)
        assert found is not None
        assert (found.reference.name, found.reference.mime_type) == ("half ? nul  ü👋.txt", "text/plainX-Evil: 1")
        loaded.tree.remove(message_id)
        await store.save("s", loaded)
        assert await store.find_file("s", file.reference.sha256) is None


# --- deleted ---


@pytest.mark.parametrize("backend", list(MESSAGE_STORES))
async def test_a_file_goes_with_the_last_session_that_refers_to_it(backend: str, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        sha256 = PICTURE.reference.sha256
        for session_id in ("a", "b", "b"):
            await send(store, session_id, PICTURE)
        await other.delete("a")
        assert await store.read_files("a", [sha256]) == {}
        assert await store.read_files("b", [sha256]) == {sha256: PICTURE.data}
        await other.delete("b")
        client = store._client
        table = "my_files" if backend == "custom-tables" else "aibind_files"
        assert await stored(client, table) == set()


async def test_a_file_goes_with_the_last_message_that_is_removed(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        other = StoredFile.of(b"other", "text/plain")
        first = await send(store, "s", PICTURE)
        second = await send(store, "s", PICTURE, other)
        chat = await store.load("s")
        chat.tree.remove(second)
        await store.save("s", chat)
        assert await stored(client) == {PICTURE.reference.sha256}
        chat.tree.remove(first)
        await store.save("s", chat)
        assert await stored(client) == set()
        assert await references(client) == []


async def test_a_removal_that_another_went_on_from_keeps_the_file(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        first = await send(store, "s", PICTURE)
        mine, theirs = await store.load("s"), await store.load("s")
        mine.append(ask(text="went on"))
        await store.save("s", mine)
        theirs.tree.remove(first)
        await store.save("s", theirs)
        assert await store.find_file("s", PICTURE.reference.sha256) == PICTURE


async def test_a_summary_keeps_the_files_of_what_it_replaces(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await send(store, "s", PICTURE)
        chat = await store.load("s")
        chat.compact({"role": "system", "content": "in short"})
        await store.save("s", chat)
        assert await store.find_file("s", PICTURE.reference.sha256) == PICTURE


async def test_a_file_goes_with_the_last_session_that_expires(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        short, lasting = SqliteMessageStore(client, ttl_ms=1), SqliteMessageStore(client)
        brief = StoredFile.of(b"brief", "text/plain")
        for number in range(120):
            await send(short, f"short {number}", PICTURE, brief)
        await send(lasting, "lasting", PICTURE)
        await asyncio.sleep(0.01)
        assert await lasting.find_file("short 7", PICTURE.reference.sha256) is None
        assert await lasting.cleanup() == 120
        assert await stored(client) == {PICTURE.reference.sha256}
        assert await references(client) == [("lasting", False)]


async def test_a_deletion_is_one_transaction(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await send(store, "s", PICTURE)
        before = (await store.load("s")).to_json()
        await client.execute(
            "CREATE TRIGGER fail BEFORE DELETE ON aibind_sessions BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(Exception, match="no"):
            await store.delete("s")
        assert (await store.load("s")).to_json() == before
        assert await store.find_file("s", PICTURE.reference.sha256) == PICTURE


async def test_a_chat_copied_to_another_session_refers_to_the_same_file(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await send(store, "a", PICTURE)
        await store.save("b", await store.load("a"))
        await store.delete("a")
        assert await store.find_file("b", PICTURE.reference.sha256) == PICTURE


# --- not saved yet ---


async def test_a_file_whose_message_is_never_saved_goes_after_an_hour(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await store.put_files("s", "m", [PICTURE])
        await store.delete("s")
        await store.cleanup()
        assert await store.read_files("s", [PICTURE.reference.sha256]) == {PICTURE.reference.sha256: PICTURE.data}
        await let_an_hour_pass(client)
        await store.put_files("other", "m", [PICTURE])
        await store.cleanup()
        assert await references(client) == [("other", True)]
        assert await stored(client) == {PICTURE.reference.sha256}
        await let_an_hour_pass(client)
        await store.cleanup()
        assert await references(client) == []
        assert await stored(client) == set()


async def test_a_file_that_was_put_again_waits_another_hour(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await store.put_files("s", "m", [PICTURE])
        await let_an_hour_pass(client)
        await store.put_files("s", "m", [PICTURE])
        await store.cleanup()
        assert await stored(client) == {PICTURE.reference.sha256}


async def test_a_saved_file_is_never_swept(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        message_id = await send(store, "s", PICTURE)
        await store.put_files("s", message_id, [PICTURE])  # by a retry that came late
        await let_an_hour_pass(client)
        await store.cleanup()
        assert await references(client) == [("s", False)]
        assert await store.find_file("s", PICTURE.reference.sha256) == PICTURE


async def test_a_deletion_spares_a_file_whose_message_is_about_to_be_saved(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store, other = await harness.open(ttl_ms=None), await harness.open(ttl_ms=None)
        first = await send(store, "s", PICTURE)
        chat = ChatHistory()
        message_id = chat.append(ask(PICTURE))
        await store.put_files("new", message_id, [PICTURE])  # nothing to upload: the file is there
        removing = await other.load("s")
        removing.tree.remove(first)
        await other.save("s", removing)
        await other.delete("s")
        await other.delete("new")
        await store.save("new", chat)
        assert await other.find_file("new", PICTURE.reference.sha256) == PICTURE


async def test_a_save_that_stores_nothing_refers_to_nothing(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        first = await send(store, "s")
        chat = await store.load("s", limit=1)
        chat.append(ask(PICTURE))
        removing = await store.load("s")
        removing.tree.remove(first)
        await store.save("s", removing)
        with pytest.raises(Exception, match="removed by another process"):
            await store.save("s", chat)
        assert await references(client) == []


@pytest.mark.parametrize("backend", list(MESSAGE_STORES))
@pytest.mark.parametrize("deletes", ["session", "message"])
async def test_a_message_whose_file_was_deleted_meanwhile_does_not_come_back(
    backend: str, deletes: str, tmp_path: Path
) -> None:
    other = StoredFile.of(b"another", "a/b")
    async with open_message_harness(backend, tmp_path) as harness:
        store, elsewhere = await harness.open(ttl_ms=None), await harness.open(ttl_ms=None)
        first = await send(store, "s", PICTURE)
        chat = await store.load("s")
        message_id = chat.append(ask(other, text="and this?"))
        await store.put_files("s", message_id, [other])
        if deletes == "session":
            await elsewhere.delete("s")
        else:
            loaded = await elsewhere.load("s")
            loaded.tree.remove(first)
            await elsewhere.save("s", loaded)
        before = await store.load("s")
        with pytest.raises(ConversationConflictError, match="load the conversation"):
            await store.save("s", chat)
        assert (await store.load("s")).to_json() == before.to_json()
        assert await store.read_files("s", [PICTURE.reference.sha256]) == {}
        assert (await store.find_session("s") is None) == (deletes == "session")
        await send(store, "s", other)  # from here on, as ever
        assert await store.find_file("s", other.reference.sha256) == other


@pytest.mark.parametrize("backend", list(MESSAGE_STORES))
async def test_a_message_that_was_deleted_meanwhile_comes_back_with_a_file_that_another_has(
    backend: str, tmp_path: Path
) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        store = await harness.open(ttl_ms=None)
        await send(store, "s", PICTURE)
        await send(store, "another", PICTURE)
        chat = await store.load("s")
        chat.append({"role": "assistant", "content": "A picture."})
        await store.delete("s")
        await store.save("s", chat)
        assert (await store.load("s")).to_json() == chat.to_json()
        assert await store.find_file("s", PICTURE.reference.sha256) == PICTURE


@pytest.mark.parametrize("backend", ["file", "remote"])
async def test_puts_saves_and_deletions_at_once_leave_no_reference_to_nothing(backend: str, tmp_path: Path) -> None:
    files = [StoredFile.of(bytes([number]) * (MAX_PART_BYTES // 3 * number), "a/b") for number in range(1, 5)]
    source = random.Random(3)
    async with open_message_harness(backend, tmp_path) as harness:
        stores = [await harness.open(ttl_ms=None) for _ in range(4)]
        checked: list[int] = []

        async def live(number: int) -> None:
            store = stores[number % 4]
            for _ in range(6):
                session_id = f"s{number % 6}"
                asked = source.sample(files, 2)
                try:
                    await send(store, session_id, *asked)
                except ConversationConflictError:  # deleted meanwhile, with its files
                    continue
                if source.random() < 0.6:
                    await store.delete(f"s{source.randrange(6)}")
                await store.cleanup()
                chat = await store.load(session_id)
                wanted = {
                    part["file"]["id"].removeprefix("sha256:")
                    for message in chat.messages
                    for part in message["content"][1:]
                }
                found = await store.read_files(session_id, list(wanted))
                if (await store.load(session_id)).to_json() == chat.to_json():  # not deleted meanwhile
                    assert found.keys() == wanted
                    checked.append(len(wanted))

        await asyncio.gather(*map(live, range(12)))
        assert sum(checked) > 20
        for number in range(6):
            await stores[0].delete(f"s{number}")
        await let_an_hour_pass(stores[0]._client)  # for files of messages that could not be saved
        await stores[0].cleanup()
        assert await stored(stores[0]._client) == set()


async def test_a_file_whose_upload_broke_off_is_absent_until_it_is_put_again(tmp_path: Path) -> None:
    large = StoredFile.of(b"x" * (6 * MAX_PART_BYTES), "a/b")
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await client.execute(
            "CREATE TRIGGER fail BEFORE INSERT ON aibind_files WHEN NEW.part = 0 BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(Exception, match="no"):
            await store.put_files("s", "m", [large])
        assert len(await stored(client)) == 1
        assert await store.read_files("s", [large.reference.sha256]) == {}
        assert await store.find_file("s", large.reference.sha256) is None
        await client.execute("DROP TRIGGER fail")
        await store.put_files("s", "m", [large])
        assert await store.find_file("s", large.reference.sha256) == large


LIFE = """
import asyncio, random, sys
from contextlib import suppress
from pathlib import Path
from aibind.errors import ConversationConflictError
from aibind.sqlite import SqliteMessageStore, wrap_sqlite3
from tests.conversations.test_files import SHARED, send

async def live(path, seed):
    source = random.Random(seed)
    async with wrap_sqlite3(path) as client:
        store = SqliteMessageStore(client)
        for number in range(10_000):
            with suppress(ConversationConflictError):  # deleted meanwhile, with its files
                await send(store, f"s{source.randrange(5)}", *source.sample(SHARED, 2))
            if source.random() < 0.5:
                await store.delete(f"s{source.randrange(5)}")
            print(number, flush=True)

asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
"""

SHARED = [StoredFile.of(bytes([number]) * (MAX_PART_BYTES // 2 * number), "a/b") for number in range(1, 5)]


@pytest.mark.processes
async def test_processes_that_are_killed_leave_no_reference_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "aibind.db"
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        lives = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", LIFE, str(path), str(seed), stdout=asyncio.subprocess.PIPE, cwd=ROOT
            )
            for seed in range(3)
        ]
        for life in lives:
            assert life.stdout is not None
            for _ in range(15):
                assert await life.stdout.readline()
            life.kill()
            await life.communicate()
        assert [life.returncode for life in lives] == [-9, -9, -9]
        store = SqliteMessageStore(client)
        sizes = {file.reference.sha256: len(file.data) for file in SHARED}
        checked = 0
        for session in await store.list_sessions():
            chat = await store.load(session.session_id)
            for message in chat.messages:
                wanted = [reference.sha256 for reference in references_in(message)]
                found = await store.read_files(session.session_id, wanted)
                assert {sha256: len(data) for sha256, data in found.items()} == {
                    sha256: sizes[sha256] for sha256 in wanted
                }
                checked += len(wanted)
            await store.delete(session.session_id)
        assert checked > 0
        await let_an_hour_pass(client)
        await store.cleanup()
        assert await stored(client) == set()
        assert await references(client) == []
