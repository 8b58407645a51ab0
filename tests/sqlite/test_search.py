"""Search over the message tables, compared with a search in Python, and through everything that happens to messages."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aibind.errors import SqliteError
from aibind.history import ChatHistory
from aibind.sqlite import (
    SearchHit,
    SqliteClient,
    SqliteMessageStore,
    SqliteResult,
    SqliteValue,
    Statement,
    TableNames,
    migrate,
    wrap_sqlite3,
)
from aibind.sqlite.search_text import MAX_TERM_CHARS, MAX_TERMS, fold, parse
from testbed.counting import CountingClient

DOCS, STATES, FTS = "aibind_messages_search", "aibind_messages_search_sessions", "aibind_messages_search_fts"

TEXTS = [
    "Die Donaudampfschifffahrt fährt über die Straße.",
    "Crème brûlée, naïve façade, C++ and user_id; it's “quoted”.",
    "你好世界，北京大学的学生。",
    "東京タワーと日本語のテキスト",
    "안녕하세요 세계, 한국어 문장",
    "Привет, мир! Ёлка и йога.",
    "Tiếng Việt có dấu",
    "مرحبا بالعالم والسلام",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "👍🏽 done 🎉 ❤️ 👨‍👩‍👧",
    "ＦＵＬＬ width ﬁne ½ ²",
    "x = a*b + \"c\" -- 'd' NEAR(e f) OR g^2",
    "a b",
    "",
]


class Unversed:
    """A client of an engine without FTS5."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self.shares_wakeups = client.shares_wakeups

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        return await self._client.execute(sql.replace("USING fts5", "USING fts_none"), args)

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        return await self._client.batch(
            [Statement(item.sql.replace("USING fts5", "USING fts_none"), item.args) for item in statements]
        )


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteClient]:
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        yield client


@pytest.fixture
def store(database: SqliteClient) -> SqliteMessageStore:
    return SqliteMessageStore(database)


@pytest.fixture(params=["fts5", "no fts5"])
def any_store(request: pytest.FixtureRequest, database: SqliteClient) -> SqliteMessageStore:
    return SqliteMessageStore(database if request.param == "fts5" else Unversed(database))


def chat_of(*texts: str) -> ChatHistory:
    chat = ChatHistory()
    for number, text in enumerate(texts):
        chat.append({"role": "user" if number % 2 == 0 else "assistant", "content": text})
    return chat


def marked(hits: Sequence[SearchHit]) -> list[list[str]]:
    return [[hit.snippet[start:end] for start, end in hit.matches] for hit in hits]


async def count(client: SqliteClient, table: str) -> int:
    return int(str((await client.execute(f"SELECT count(*) AS n FROM {table}")).rows[0]["n"]))


async def check_index(client: SqliteClient) -> None:
    """Compare the index with the texts, as far as FTS5 can."""
    await client.execute(f"INSERT INTO {FTS} ({FTS}) VALUES ('integrity-check')")


# --- what is found ---


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("schiff", ["schiff"]),
        ("DAMPF fahr", ["dampf", "fahr", "fähr"]),
        ("uber", ["über"]),
        ("strasse", ["Straße"]),
        ("creme brulee", ["Crème", "brûlée"]),
        ("c++", ["C++"]),
        ("user_id", ["user_id"]),
        ("USER-ID", ["user_id"]),
        ("it's", ["it's"]),
        ('"quoted"', ["quoted"]),
        ("世界", ["世界"]),
        ("学", ["学", "学"]),
        ("北京大学", ["北京大学"]),
        ("タワー", ["タワー"]),
        ("한국", ["한국"]),
        ("привет", ["Привет"]),
        ("елка", ["Ёлка"]),
        ("viet", ["Việt"]),
        ("dấu", ["dấu"]),
        ("عالم", ["عالم"]),
        ("दुनिया", ["दुनिया"]),
        ("ชาว", ["ชาว"]),
        ("🎉", ["🎉"]),
        ("❤", ["❤"]),
        ("👧", ["👧"]),
        ("full", ["ＦＵＬＬ"]),
        ("fine", ["ﬁne"]),
        ("near(e", ["NEAR(e"]),
        ("g^2", ["g^2"]),
    ],
)
async def test_a_term_is_found_in_every_script(any_store: SqliteMessageStore, query: str, found: list[str]) -> None:
    await any_store.save("s", chat_of(*TEXTS))
    assert marked(await any_store.search(query)) == [found]


async def test_a_hit_tells_where_it_is(store: SqliteMessageStore) -> None:
    chat = chat_of("Where does the Thames rise?", "At Thames Head, in Gloucestershire.")
    await store.save("grace", chat)
    await store.rename("grace", "Rivers")
    newest, oldest = await store.search("thames")
    node = chat.tree.get(chat.tree.active_leaf_id or "")
    assert node is not None
    assert newest.created_at == node.created_at
    nodes = chat.tree.get_active_path().node_ids
    assert (oldest.message_id, newest.message_id) == nodes
    assert newest == SearchHit(
        session_id="grace",
        title="Rivers",
        message_id=nodes[1],
        role="assistant",
        snippet="At Thames Head, in Gloucestershire.",
        matches=((3, 9),),
        created_at=newest.created_at,
    )


async def test_all_terms_must_occur_in_any_order(any_store: SqliteMessageStore) -> None:
    await any_store.save("s", chat_of("red green blue", "green", "blue red"))
    assert [hit.snippet for hit in await any_store.search("red blue")] == ["blue red", "red green blue"]
    assert [hit.snippet for hit in await any_store.search("blue green red")] == ["red green blue"]
    assert await any_store.search("red yellow") == []


@pytest.mark.parametrize("query", ["", " \n\t", '"', "*", "()", "\0", "\ud800", "\ufeff", "\u0301", "…—!?"])
async def test_a_query_without_words_finds_nothing(store: SqliteMessageStore, query: str) -> None:
    await store.save("s", chat_of(*TEXTS, query))
    assert await store.search(query) == []


@pytest.mark.parametrize(
    "query",
    [
        "a AND", "NOT a", "OR", "a* b*", "NEAR(a, b)", "grams:a", '"a', "a\"\"b", "^a", "-a", "{a b}", "a;--", "'",
        "%_", "a\0b", "a\ud83d", "\udc4d a", "x" * 10_000, "a " * 10_000, "世" * 10_000, '" OR 1=1 --', "\\", "]]",
        "$1 ?1",
    ],
)  # fmt: skip
async def test_nothing_in_a_query_is_syntax(any_store: SqliteMessageStore, query: str) -> None:
    await any_store.save("s", chat_of("zzz", query))
    hits = await any_store.search(query)
    assert len(hits) == bool(parse(query))
    assert all(hit.matches for hit in hits)


def test_queries_are_limited() -> None:
    assert parse(" ".join(f"w{number:03}" for number in range(100))) == [f"w{n:03}" for n in range(MAX_TERMS)]
    assert parse("y" * 1_000) == ["y" * MAX_TERM_CHARS]
    assert parse("stream streams STREAM") == ["streams"]
    assert len(parse(" ".join(chr(0x4E00 + number) for number in range(5_000)))) == MAX_TERMS


async def test_a_limit_below_one_is_refused(store: SqliteMessageStore) -> None:
    with pytest.raises(ValueError, match="limit is 0"):
        await store.search("a", limit=0)


_letters = st.sampled_from("abAB éßﬁ жЖ 世界大 한국 のが 🎉👍🏽 -_\"'*+ \n\0\u00ad\u200d\u0301\ud83d٣ไท")
_texts = st.text(_letters, max_size=12)


@hypothesis_settings(max_examples=60)
@given(
    texts=st.lists(st.lists(_texts, min_size=1, max_size=5), min_size=1, max_size=4),
    queries=st.lists(st.text(_letters, min_size=1, max_size=4), min_size=1, max_size=6),
    has_fts=st.booleans(),
)
def test_results_are_those_of_a_search_through_all_texts(
    texts: list[list[str]], queries: list[str], has_fts: bool
) -> None:
    async def check() -> None:
        async with wrap_sqlite3(":memory:", threads=False) as client:
            await migrate(client)
            store = SqliteMessageStore(client if has_fts else Unversed(client))
            for number, contents in enumerate(texts):
                await store.save(str(number), chat_of(*contents))
            everything = list(itertools.chain(*texts))
            # Parts of the texts as well, since hardly any random query occurs.
            parts = [text[start:end] for text in everything for start, end in [(0, 2), (1, 4), (3, 6)]]
            for query in [*queries, *parts]:
                terms = parse(query)
                expected = [text for text in everything if terms and all(term in fold(text) for term in terms)]
                hits = await store.search(query, limit=1_000)
                assert len(hits) == len(expected), query
                assert all(hit.matches for hit in hits), query

    asyncio.run(check())


# --- owners, sessions, order ---


async def test_a_search_is_limited_to_an_owner_and_to_a_session(any_store: SqliteMessageStore) -> None:
    for session_id, owner in [("a1", "ada"), ("a2", "ada"), ("b1", "bob"), ("none", None)]:
        await any_store.save(session_id, chat_of(f"word in {session_id}"), owner=owner)

    async def find(owner: str | None = None, session_id: str | None = None) -> list[str]:
        return [hit.session_id for hit in await any_store.search("word", owner=owner, session_id=session_id)]

    assert await find("ada") == ["a2", "a1"]
    assert await find("bob") == ["b1"]
    assert await find("ada", "b1") == []
    assert await find("ada", "a1") == ["a1"]
    assert await find(None, "none") == ["none"]
    assert await find("nobody") == []
    assert sorted(await find()) == ["a1", "a2", "b1", "none"]


async def test_a_search_indexes_only_the_sessions_it_is_limited_to(
    store: SqliteMessageStore, database: SqliteClient
) -> None:
    await store.save("a", chat_of("word"), owner="ada")
    await store.save("b", chat_of("word", "word"), owner="bob")
    await store.search("word", owner="ada")
    assert await count(database, DOCS) == 1
    await store.search("word", session_id="b")
    assert await count(database, DOCS) == 3


@pytest.mark.parametrize("name", ["nul \0", 'quote"', "ü" * 100, ""])
async def test_owners_may_have_any_name(store: SqliteMessageStore, name: str) -> None:
    await store.save(name, chat_of("word"), owner=name)
    assert [hit.session_id for hit in await store.search("word", owner=name, session_id=name)] == [name]


async def test_the_newest_come_first_and_limit_cuts_the_rest(any_store: SqliteMessageStore) -> None:
    for number in range(5):
        await any_store.save(f"s{number}", chat_of(f"word {number}-0", f"word {number}-1"))
        await asyncio.sleep(0.003)  # saves within the same millisecond have no order among sessions
    chat = await any_store.load("s2")
    chat.append({"role": "user", "content": "word 2-2"})
    await any_store.save("s2", chat)
    found = [hit.snippet.removeprefix("word ") for hit in await any_store.search("word", limit=6)]
    assert found == ["2-2", "2-1", "2-0", "4-1", "4-0", "3-1"]
    chat = await any_store.load("s0")
    chat.append({"role": "user", "content": "word 0-2"})
    await any_store.save("s0", chat)
    assert [hit.snippet for hit in await any_store.search("word", limit=2)] == ["word 0-2", "word 2-2"]


# --- messages come and go ---


async def test_a_save_does_not_touch_the_index(database: SqliteClient) -> None:
    store = SqliteMessageStore(database)
    chat = chat_of("one")
    await store.save("s", chat)
    await store.search("one")
    counting = CountingClient(database)
    counted = SqliteMessageStore(counting)
    chat = await counted.load("s")
    chat.append({"role": "user", "content": "two"})
    before = counting.statements
    await counted.save("s", chat)
    assert counting.statements - before == 2
    assert await count(database, DOCS) == 1
    assert len(await store.search("two")) == 1


async def test_a_search_of_an_index_that_lacks_nothing_is_one_call(database: SqliteClient) -> None:
    await SqliteMessageStore(database).save("s", chat_of("one"))
    counting = CountingClient(database)
    store = SqliteMessageStore(counting)
    await store.search("one")
    before = counting.round_trips
    assert len(await store.search("one")) == 1
    assert counting.round_trips - before == 1


async def test_removed_messages_are_not_found_and_leave_the_index(
    store: SqliteMessageStore, database: SqliteClient
) -> None:
    chat = chat_of("word first", "word second", "word third")
    await store.save("s", chat)
    assert len(await store.search("word")) == 3
    chat.tree.remove(chat.tree.get_active_path().node_ids[1])
    await store.save("s", chat)
    assert [hit.snippet for hit in await store.search("word")] == ["word first"]
    assert await count(database, DOCS) == 1
    await check_index(database)


@pytest.mark.parametrize("how", ["remove", "delete", "expire"])
async def test_nothing_of_what_is_removed_stays_in_the_index(
    how: str, store: SqliteMessageStore, database: SqliteClient
) -> None:
    chat = ChatHistory()
    for number in range(300):
        chat.append({"role": "user", "content": f"a secret {number}"})
    short = SqliteMessageStore(database, ttl_ms=1) if how == "expire" else store
    await short.save("s", chat)
    await store.save("other", ChatHistory.from_json(chat.to_json()))
    assert len(await store.search("secret", limit=1000)) in {300, 600}
    match how:
        case "remove":
            chat.tree.clear()
            await store.save("s", chat)
        case "delete":
            await store.delete("s")
        case _:
            await asyncio.sleep(0.01)
            assert await store.cleanup() == 1
    rows = await database.execute("SELECT count(*) AS n FROM aibind_messages_search")
    assert rows.rows == [{"n": 300}]
    assert len(await store.search("secret", limit=1000)) == 300


async def test_many_removed_messages_do_not_hide_others(store: SqliteMessageStore, database: SqliteClient) -> None:
    await store.save("old", chat_of("word kept"))
    chat = chat_of(*[f"word {number}" for number in range(700)])
    await store.save("s", chat)
    assert len(await store.search("word")) == 20
    chat.tree.remove(chat.tree.get_active_path().node_ids[1])
    await store.save("s", chat)
    assert [hit.snippet for hit in await store.search("word", limit=2)] == ["word 0", "word kept"]
    assert await count(database, DOCS) == 2
    await check_index(database)


async def test_deleted_conversations_are_not_found_and_leave_the_index(
    store: SqliteMessageStore, database: SqliteClient
) -> None:
    await store.save("s", chat_of(*TEXTS, "gone " * 60_000), owner="ada")
    await store.save("t", chat_of("other"))
    assert len(await store.search("gone", owner="ada")) == 1
    await store.delete("s")
    assert await store.search("gone", owner="ada") == []
    for table, rows in [(DOCS, 0), (STATES, 0)]:
        assert await count(database, table) == rows
    assert len(await store.search("other")) == 1
    found = await database.execute(f'SELECT count(*) AS n FROM {FTS} WHERE {FTS} MATCH \'"gon" OR "世界"\'')
    assert found.rows[0]["n"] == 0
    await check_index(database)


async def test_a_conversation_made_again_is_another_one(store: SqliteMessageStore, database: SqliteClient) -> None:
    for number, owner in enumerate(["ada", "bob", "ada"]):
        chat = chat_of(*[f"word {number}"] * (4 - number))
        await store.save("s", chat, owner=owner)
        assert {hit.snippet for hit in await store.search("word", owner=owner)} == {f"word {number}"}
        assert {hit.snippet for hit in await store.search("word")} == {f"word {number}"}
        await asyncio.sleep(0.003)  # a session is known by its id and the time at which it was made
        await store.delete("s")
        if number == 1:
            await store.search("word")
    assert await store.search("word") == []
    assert await count(database, DOCS) == 0


async def test_expired_conversations_are_not_found(database: SqliteClient) -> None:
    store = SqliteMessageStore(database, ttl_ms=60_000)
    await store.save("s", chat_of("word"))
    assert len(await store.search("word")) == 1
    await database.execute("UPDATE aibind_sessions SET expires_at = 1")
    assert await store.search("word") == []
    assert await store.cleanup() == 1
    assert await store.search("word") == []
    assert await count(database, DOCS) == 0


async def test_alternatives_and_what_a_summary_replaced_are_found(store: SqliteMessageStore) -> None:
    chat = chat_of("word question", "word answer")
    await store.save("s", chat)
    await store.search("word")
    question, answer = chat.tree.get_active_path().node_ids
    chat.edit(answer, {"role": "assistant", "content": "word better answer"})
    chat.edit(question, {"role": "user", "content": "word better question"})
    await store.save("s", chat)
    assert len(await store.search("word")) == 4
    chat.compact({"role": "system", "content": "word summary"})
    chat.append({"role": "user", "content": "word next"})
    await store.save("s", chat)
    assert [hit.snippet for hit in await store.search("word", limit=2)] == ["word next", "word summary"]
    assert len(await store.search("word")) == 6


async def test_turns_of_several_writers_are_all_indexed(database: SqliteClient) -> None:
    store = SqliteMessageStore(database)
    await store.save("s", chat_of("word"))
    await store.search("word")
    chats = [await store.load("s") for _ in range(4)]
    for number, chat in enumerate(chats):
        chat.append({"role": "user", "content": f"word {number}"})
        await store.save("s", chat)
        if number == 1:
            await store.search("word")
    assert len(await store.search("word")) == 5


async def test_random_changes_between_searches(database: SqliteClient) -> None:
    source = random.Random(5)
    store = SqliteMessageStore(database)
    for step in range(150):
        session_id = f"s{source.randrange(3)}"
        chat = await store.load(session_id)
        ids = list(json.loads(chat.to_json())["nodes"])
        message = {"role": "user", "content": source.choice(["red", "green blue", "blue", "世界 red"]) + f" {step}"}
        match source.randrange(8):
            case 0 if ids:
                chat.edit(source.choice(ids), message)
            case 1 if ids:
                chat.tree.remove(source.choice(ids))
            case 2 if ids:
                chat.tree.set_active_leaf(source.choice(ids))
            case 3 if source.random() < 0.3:
                await store.delete(session_id)
                chat = ChatHistory()
                await asyncio.sleep(0.002)
            case _:
                chat.append(message)
                chat.append({**message, "content": "blue"})
        await store.save(session_id, chat)
        if source.random() < 0.4:
            for query in ("red", "blue", "世", "green blue"):
                rows = (await database.execute("SELECT data FROM aibind_messages")).rows
                contents = [
                    next(iter(json.loads("{" + str(row["data"]) + "}").values()))["message"]["content"] for row in rows
                ]
                expected = sorted(text for text in contents if all(term in text for term in query.split()))
                assert sorted(hit.snippet for hit in await store.search(query, limit=1_000)) == expected
    await check_index(database)


async def test_an_index_that_was_dropped_is_made_again(store: SqliteMessageStore, database: SqliteClient) -> None:
    await store.save("s", chat_of("word"))
    await store.search("word")
    for table in (FTS, DOCS, STATES):
        await database.execute(f"DROP TABLE {table}")
    assert len(await store.search("word")) == 1
    await database.execute(f"DROP TABLE {FTS}")
    assert len(await store.search("word")) == 1


async def test_an_index_made_without_fts5_is_made_again_with_it(database: SqliteClient) -> None:
    unversed = SqliteMessageStore(Unversed(database))
    await unversed.save("s", chat_of("word"))
    assert len(await unversed.search("word")) == 1
    assert len(await SqliteMessageStore(database).search("word")) == 1
    await check_index(database)


async def test_the_index_is_named_after_the_messages(database: SqliteClient) -> None:
    await migrate(database, TableNames(sessions_table="my_sessions", messages_table="my_messages"))
    store = SqliteMessageStore(database, sessions_table="my_sessions", messages_table="my_messages")
    other = SqliteMessageStore(database)
    await store.save("s", chat_of("word"))
    assert (len(await store.search("word")), len(await other.search("word"))) == (1, 0)
    assert await count(database, "my_messages_search") == 1


# --- texts ---


async def test_text_parts_are_searched_and_nothing_else(store: SqliteMessageStore) -> None:
    chat = ChatHistory()
    chat.append(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "first part"},
                {"type": "image_url", "image_url": {"url": "data:secret"}},
                {"type": "text", "text": "second part"},
                "odd",
            ],
        }
    )
    chat.append({"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "secret"}}]})
    chat.append({"role": "assistant", "parts": [{"type": "text", "text": "third part"}, {"type": "reasoning"}]})
    chat.append({"content": 7})
    chat.append({"content": "no role part"})
    await store.save("s", chat)
    found = await store.search("part")
    assert [(hit.role, hit.snippet) for hit in found] == [
        (None, "no role part"),
        ("assistant", "third part"),
        ("user", "first part second part"),
    ]
    assert len(await store.search("first second")) == 1
    assert await store.search("secret") == []


@pytest.mark.parametrize("filler", ["lorem ipsum ", "世界人民 ", "ﬁß é́ "])
async def test_a_snippet_is_short_and_shows_the_first_match(store: SqliteMessageStore, filler: str) -> None:
    await store.save("s", chat_of(filler * 50 + "Nadel\nim\tHeuhaufen " + filler * 50, "Nadel " + filler * 50))
    at_start, inside = await store.search("nadel")
    assert inside.snippet.startswith("…")
    assert inside.snippet.endswith("…")
    assert not at_start.snippet.startswith("…")
    assert "Nadel im Heuhaufen" in inside.snippet
    for hit in (at_start, inside):
        assert 60 <= len(hit.snippet) <= 102
        assert [hit.snippet[start:end] for start, end in hit.matches] == ["Nadel"]


async def test_a_message_of_5_mb_is_searched(store: SqliteMessageStore, database: SqliteClient) -> None:
    text = "first " + "The quick brown fox. Съешь же ещё. " * 70_000 + "middle " + "x" * 2_500_000 + " last"
    assert len(text) > 4_900_000
    await store.save("s", chat_of("before", text, "after"))
    for query in ("first", "middle", "last", "first last middle", "ещё x", "fox. съешь"):
        assert [hit.role for hit in await store.search(query)] == ["assistant"], query
    assert await store.search("first second") == []
    await store.delete("s")
    assert await store.search("first") == []
    assert await count(database, DOCS) == 0
    await check_index(database)


async def test_terms_are_found_at_every_place_of_a_long_message(store: SqliteMessageStore) -> None:
    """Also where its text is cut into rows."""
    words = [f"w{number}e" for number in range(60_000)]
    await store.save("s", chat_of(" ".join(words)))
    for word in [*words[28_500:29_500:50], *words[27_000:31_000:37], words[0], words[-1]]:
        assert len(await store.search(word)) == 1, word
        assert len(await store.search(f"{word} {words[7]}")) == 1
    assert await store.search("w60000e") == []


async def test_a_message_with_too_many_pieces_to_index_is_compared_itself(
    store: SqliteMessageStore, database: SqliteClient
) -> None:
    source = random.Random(1)
    text = "".join(chr(source.randrange(0x4E00, 0x9FFF)) for _ in range(120_000))
    await store.save("s", chat_of("before", text))
    for start in (0, 50_000, 119_990):
        assert len(await store.search(text[start : start + 5])) == 1
    assert await store.search("absent") == []
    await store.delete("s")
    await store.search("absent")
    assert await count(database, DOCS) == 0
    await check_index(database)


async def test_a_conversation_of_20_mb_is_searched(store: SqliteMessageStore) -> None:
    await store.save("s", chat_of(*[f"number {number} " + "lorem ipsum dolor " * 28_000 for number in range(40)]))
    assert [hit.snippet[:9] for hit in await store.search("number 17")] == ["number 17"]
    assert len(await store.search("dolor", limit=50)) == 40


async def test_rows_that_are_no_messages_are_passed_over(store: SqliteMessageStore, database: SqliteClient) -> None:
    await store.save("s", chat_of("word", "word"))
    await database.execute("UPDATE aibind_messages SET data = 'no json' WHERE seq = 0")
    assert len(await store.search("word")) == 1


# --- several processes, and databases that cannot be written ---


async def test_concurrent_searches_index_each_message_once(path: Path) -> None:
    async with wrap_sqlite3(path) as one, wrap_sqlite3(path) as other:
        await migrate(one)
        stores = [SqliteMessageStore(client) for client in (one, other, one, other)]
        for number in range(30):
            await stores[0].save(f"s{number}", chat_of(*[f"word {number}"] * 40))
        found = await asyncio.gather(*(store.search("word", limit=5_000) for store in stores))
        assert [len(hits) for hits in found] == [1_200] * 4
        assert await count(one, DOCS) == 1_200
        await stores[0].delete("s3")
        found = await asyncio.gather(*(store.search("word", limit=5_000) for store in stores))
        assert [len(hits) for hits in found] == [1_160] * 4
        await asyncio.gather(*(store.search("word") for store in stores))
        assert await count(one, DOCS) == 1_160
        await check_index(one)


async def test_saves_during_searches_are_found_by_the_next(path: Path) -> None:
    async with wrap_sqlite3(path) as one, wrap_sqlite3(path) as other:
        await migrate(one)
        writer, reader = SqliteMessageStore(one), SqliteMessageStore(other)

        async def write(session_id: str) -> None:
            chat = ChatHistory()
            for number in range(40):
                chat.append({"role": "user", "content": f"word {number}"})
                await writer.save(session_id, chat)

        async def read() -> None:
            for _ in range(40):
                await reader.search("word")

        await asyncio.gather(write("a"), write("b"), read(), read())
        assert len(await reader.search("word", limit=1_000)) == 80
        assert await count(one, DOCS) == 80
        await check_index(one)


async def test_a_search_that_was_cancelled_is_continued_by_the_next(path: Path) -> None:
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await store.save("s", chat_of(*[f"word {number}" for number in range(5_000)]))
        task = asyncio.create_task(store.search("word"))
        while not (await client.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (DOCS,))).rows:
            await asyncio.sleep(0)
        while not await count(client, DOCS):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(await store.search("word", limit=10_000)) == 5_000
        assert await count(client, DOCS) == 5_000
        await check_index(client)


async def test_a_database_that_can_only_be_read_is_searched_as_far_as_it_is_indexed(path: Path) -> None:
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        await store.save("s", chat_of("word"))
        await store.search("word")
        await store.save("t", chat_of("other"))
    async with wrap_sqlite3(path) as client:
        await client.execute("PRAGMA query_only = ON")
        store = SqliteMessageStore(client)
        assert len(await store.search("word", session_id="s")) == 1
        with pytest.raises(SqliteError, match="only be read"):
            await store.search("word")
