"""KVConversationStore against workerd's own KV."""

from __future__ import annotations

import json
import time
from typing import Any

from aibind.cloudflare import KVConversationStore
from aibind.errors import (
    ConversationError,
    ConversationTooLargeError,
    CorruptConversationError,
    OverloadedError,
    TransientError,
)
from aibind.history import ChatHistory
from aibind.testing.checks import raises

from .bench import Bench, checks_of_each_kind

check = checks_of_each_kind


def _chat(*texts: str) -> ChatHistory:
    chat = ChatHistory()
    for text in texts:
        chat.append({"role": "user", "content": text})
    return chat


@check
async def the_key_and_the_value_are_javascripts(bench: Bench) -> None:
    chat = _chat("hello", "wörld 👋")
    await KVConversationStore(bench.kv).save("session", chat)
    assert await bench.raw.KV.get("aibind:conv:session") == chat.to_json()
    await KVConversationStore(bench.kv, prefix="mine").save("session", chat)
    assert await bench.raw.KV.get("mine:session") == chat.to_json()
    await bench.raw.KV.put("aibind:conv:other", json.dumps(json.loads(chat.to_json()), separators=(",", ":")))
    assert (await KVConversationStore(bench.kv).load("other")).messages == chat.messages


@check
async def a_value_expires(bench: Bench) -> None:
    began = time.time()
    await KVConversationStore(bench.kv, ttl_sec=60).save("expiring", _chat("a"))
    await KVConversationStore(bench.kv).save("expiring by default", _chat("a"))
    found = {
        key["name"]: key["expiration"] for key in (await bench.raw.KV.list()).to_py()["keys"] if "expiration" in key
    }
    now = time.time()
    assert began + 58 <= found["aibind:conv:expiring"] <= now + 62
    assert began + 1798 <= found["aibind:conv:expiring by default"] <= now + 1802


@check
async def a_corrupt_value_is_an_error_that_names_its_key(bench: Bench) -> None:
    store = KVConversationStore(bench.kv)
    tree = '{"version":1,"nodes":{},"rootIds":["gone"],"activeLeafId":null}'
    for value in ("", "{", "null", "[]", '{"version":2}', tree, "text", "\0"):
        await bench.raw.KV.put("aibind:conv:corrupt", value)
        with raises(CorruptConversationError) as raised:
            await store.load("corrupt")
        assert raised.error is not None
        assert '"aibind:conv:corrupt"' in str(raised.error)
        assert raised.error.session_id == "corrupt"
        assert await bench.raw.KV.get("aibind:conv:corrupt") == value


@check
async def a_time_to_live_that_kv_refuses_is_refused_first(bench: Bench) -> None:
    for ttl_sec in (59, 1, 0, -1):
        with raises(ValueError) as raised:
            KVConversationStore(bench.kv, ttl_sec=ttl_sec)
        assert "60 seconds" in str(raised.error)


@check
async def a_long_key_is_refused_first(bench: Bench) -> None:
    store = KVConversationStore(bench.kv)
    room = 512 - len("aibind:conv:")
    await store.save("x" * room, _chat("fits"))
    assert (await store.load("x" * room)).size == 1
    for session_id in ("x" * (room + 1), "é" * (room // 2 + 1), "\ud800"):
        for operation in (store.load(session_id), store.save(session_id, _chat("x")), store.delete(session_id)):
            with raises(ConversationError) as raised:
                await operation
            assert raised.error is not None
            assert raised.error.session_id == session_id
            assert "bytes" in str(raised.error) or "surrogate" in str(raised.error)


@check
async def a_conversation_over_25_mib_is_refused_first(bench: Bench) -> None:
    store = KVConversationStore(bench.kv)
    await store.save("large", _chat("before"))
    with raises(ConversationTooLargeError) as raised:
        await store.save("large", _chat("é" * (13 * 1024 * 1024)))
    assert "26,214,400" in str(raised.error)
    assert "compact()" in str(raised.error)
    assert (await store.load("large")).messages == [{"role": "user", "content": "before"}]


@check
async def a_large_conversation_is_kept(bench: Bench) -> None:
    store = KVConversationStore(bench.kv)
    chat = _chat("é" * (3 * 1024 * 1024))
    await store.save("large", chat)
    assert (await store.load("large")).to_json() == chat.to_json()


@check
async def anything_else_is_refused(bench: Bench) -> None:
    for value in (None, "KV", object(), bench.raw, 7):
        with raises(TypeError) as raised:
            KVConversationStore(value)
        assert "getWithMetadata()" in str(raised.error)


class FailingNamespace:
    """Rejects call after call as told, then passes on to the real one."""

    def __init__(self, messages: list[str], namespace: Any) -> None:
        self._messages = messages
        self._namespace = namespace
        self.calls = 0

    async def _call(self, method: str, *args: Any) -> Any:
        from js import Error, Promise

        self.calls += 1
        if self._messages:
            await Promise.reject(Error.new(self._messages.pop(0)))
        return await getattr(self._namespace, method)(*args)

    async def get(self, *args: Any) -> Any:
        return await self._call("get", *args)

    async def put(self, *args: Any) -> Any:
        return await self._call("put", *args)

    async def delete(self, *args: Any) -> Any:
        return await self._call("delete", *args)


def _failing(
    bench: Bench, messages: list[str], patience_s: float = 10.0
) -> tuple[KVConversationStore, FailingNamespace]:
    store = KVConversationStore(bench.raw.KV, patience_s=patience_s)
    namespace = FailingNamespace(messages, bench.raw.KV)
    store._kv = namespace
    return store, namespace


@check
async def too_many_writes_wait_a_second(bench: Bench) -> None:
    store, namespace = _failing(bench, ["KV PUT failed: 429 Too Many Requests"])
    began = time.time()
    await store.save("busy", _chat("kept"))
    assert namespace.calls == 2
    assert time.time() - began >= 0.9
    assert (await store.load("busy")).size == 1


@check
async def moments_of_failure_pass(bench: Bench) -> None:
    store, namespace = _failing(bench, [])
    for run in (lambda: store.save("s", _chat("a")), lambda: store.load("s"), lambda: store.delete("s")):
        namespace.calls = 0
        namespace._messages = ["KV GET failed: 500 Internal Server Error", "Network connection lost."]
        await run()
        assert namespace.calls == 3


@check
async def lasting_failure_is_an_error(bench: Bench) -> None:
    cases: tuple[tuple[type[Exception], str, int], ...] = (
        (OverloadedError, "KV PUT failed: 429 Too Many Requests", 1),
        (TransientError, "KV PUT failed: 503 Service Unavailable", 1),
        (ConversationTooLargeError, "KV PUT failed: 413 Value length of 30000000 exceeds limit of 26214400.", 1),
        (ConversationError, "KV PUT failed: 400 Invalid expiration_ttl of 5.", 1),
        (ConversationError, "something new", 1),
    )
    for kind, message, calls in cases:
        store, namespace = _failing(bench, [message] * 9, patience_s=0.0)
        with raises(Exception) as raised:
            await store.save("s", _chat("a"))
        assert type(raised.error) is kind, raised.error
        assert message in str(raised.error)
        assert namespace.calls == calls
