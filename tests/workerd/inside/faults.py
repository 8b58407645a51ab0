"""Clients with faults inside the Worker: a KV namespace that loses calls and answers."""

from __future__ import annotations

from aibind.cloudflare import KVConversationStore, wrap_d1
from aibind.errors import OverloadedError, TransientError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteMessageStore
from aibind.testing import Fault, Faults, FaultyKV, FaultySqliteClient
from aibind.testing.checks import raises

from .bench import Bench, checks_of_each_kind


def _say(chat: ChatHistory, text: str) -> None:
    chat.append({"role": "user", "content": text})


@checks_of_each_kind
async def a_faulty_namespace_fails_before_or_after_its_effect(bench: Bench) -> None:
    cases: list[tuple[Fault, type[TransientError], bool]] = [
        ("before", TransientError, False),
        ("after", TransientError, True),
        ("drop", TransientError, False),
        ("late", TransientError, True),
        ("overload", OverloadedError, False),
    ]
    for fault, kind, is_there in cases:
        faults = Faults(script=[fault], max_delay_s=0.01, timeout_s=0.01)
        store = KVConversationStore(FaultyKV(bench.kv, faults), prefix=fault, patience_s=0.0, verify_s=None)
        chat = ChatHistory()
        _say(chat, "hello")
        with raises(TransientError) as raised:
            await store.save("s", chat)
        assert type(raised.error) is kind, raised.error
        await faults.wait_settled()
        assert (await bench.raw.KV.get(f"{fault}:s") == chat.to_json()) is is_there
        assert faults.struck == {fault: 1}
        await store.save("s", chat)
        assert await bench.raw.KV.get(f"{fault}:s") == chat.to_json()
        await store.delete("s")


@checks_of_each_kind
async def a_faulty_namespace_reads_and_lists(bench: Bench) -> None:
    faults = Faults()
    namespace = FaultyKV(bench.kv, faults)
    await namespace.put("listed", "text")
    assert await namespace.get("listed") == "text"
    assert [key["name"] for key in (await bench.raw.KV.list()).to_py()["keys"]] == ["listed"]
    await namespace.list()
    await namespace.get_with_metadata("listed")
    await namespace.delete("listed")
    assert faults.calls == 5
    faults.down = True
    with raises(TransientError):
        await KVConversationStore(namespace, patience_s=0.0).load("s")


@checks_of_each_kind
async def turns_in_a_faulty_namespace_are_there_once(bench: Bench) -> None:
    for seed in range(5):
        faults = Faults(
            seed, rate=0.4, kinds=["before", "after", "delay", "duplicate", "drop"], max_delay_s=0.0, timeout_s=0.01
        )
        store = KVConversationStore(FaultyKV(bench.kv, faults), prefix=f"seed {seed}", verify_s=None)
        texts = [f"turn {number}" for number in range(6)]
        for text in texts:
            chat = await store.load("s")
            _say(chat, text)
            await store.save("s", chat)
            await faults.wait_settled()
        assert [message["content"] for message in (await store.load("s")).messages] == texts, seed
        assert faults.struck.total() > 0


@checks_of_each_kind
async def turns_on_a_faulty_d1_are_there_once(bench: Bench) -> None:
    for seed in range(5):
        faults = Faults(seed, rate=0.4, max_delay_s=0.01, timeout_s=0.01)
        store = SqliteMessageStore(FaultySqliteClient(wrap_d1(bench.db), faults))
        chat = ChatHistory()
        texts = [f"turn {number}" for number in range(6)]
        for text in texts:
            _say(chat, text)
            while True:
                try:
                    await store.save(f"seed {seed}", chat)
                except TransientError:
                    await faults.wait_settled()
                else:
                    break
        await faults.wait_settled()
        stored = await SqliteMessageStore(wrap_d1(bench.db)).load(f"seed {seed}")
        assert [message["content"] for message in stored.messages] == texts, seed
        assert stored.size == len(texts)
