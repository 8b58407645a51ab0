"""Search over the message tables on workerd's own D1, which has FTS5."""

from __future__ import annotations

from aibind.cloudflare import wrap_d1
from aibind.history import ChatHistory
from aibind.sqlite.message_store import SqliteMessageStore

from .bench import Bench, checks_of_each_kind, checks_once

check = checks_of_each_kind


def _chat_of(*texts: str) -> ChatHistory:
    chat = ChatHistory()
    for text in texts:
        chat.append({"role": "user", "content": text})
    return chat


@check
async def texts_of_every_script_are_found(bench: Bench) -> None:
    client = wrap_d1(bench.db)
    store = SqliteMessageStore(client)
    await store.save("s", _chat_of("Donaudampfschifffahrt", "你好世界", "Crème brûlée 🎉", 'c++ "quoted" user_id'))
    for query in ("schiff", "SCHIFF", "世界", "世", "🎉", "creme brulee", "c++", '"quoted"', "user_id", "q"):
        hits = await store.search(query)
        assert len(hits) == 1, (query, hits)
        assert hits[0].matches, query
    assert len(await store.search("e")) == 2
    for query in ("", '"', "\0", "NEAR(a b", "\ud800", "x" * 10_000, "zz " * 10_000, " ".join(map(str, range(99)))):
        assert await store.search(query) == [], query[:20]
    found = await client.execute("SELECT name FROM sqlite_schema WHERE name = 'aibind_messages_search_fts'")
    assert len(found.rows) == 1


@check
async def turns_are_indexed_and_what_is_deleted_leaves_the_index(bench: Bench) -> None:
    client = wrap_d1(bench.db)
    store = SqliteMessageStore(client)
    for number in range(5):
        await store.save(f"s{number}", _chat_of(*[f"word {number}"] * 50), owner="ada")
    assert len(await store.search("word", limit=1_000)) == 250
    chat = await store.load("s2")
    chat.append({"role": "user", "content": "another word"})
    await store.save("s2", chat)
    assert [hit.snippet for hit in await store.search("word", owner="ada", limit=1)] == ["another word"]
    for number in range(5):
        await store.delete(f"s{number}")
    while (await client.execute("SELECT 1 FROM aibind_messages_search LIMIT 1")).rows:
        assert await store.search("word") == []
    await client.execute(
        "INSERT INTO aibind_messages_search_fts (aibind_messages_search_fts) VALUES ('integrity-check')"
    )


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def a_message_of_5_mb_and_a_conversation_of_20_mb_are_found(bench: Bench) -> None:
    store = SqliteMessageStore(wrap_d1(bench.db))
    text = "first " + "The quick brown fox. Съешь же ещё. " * 110_000 + "x" * 1_000_000 + " last"
    assert len(text) > 4_800_000
    await store.save("large", _chat_of("before", text))
    hits = await store.search("first last ещё")
    assert [hit.session_id for hit in hits] == ["large"]
    assert hits[0].snippet.startswith("first")
    await store.delete("large")
    await store.save("long", _chat_of(*[f"number {number} " + "lorem ipsum " * 42_000 for number in range(40)]))
    assert [hit.snippet[:9] for hit in await store.search("number 17")] == ["number 17"]
