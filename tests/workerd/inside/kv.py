"""KVConversationStore against workerd's own KV."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aibind.cloudflare import KVConversationStore
from aibind.errors import (
    ConversationConflictError,
    ConversationError,
    ConversationTooLargeError,
    CorruptConversationError,
    OverloadedError,
    TransientError,
)
from aibind.history import ChatHistory
from aibind.models import EchoModel
from aibind.server import StreamHandler
from aibind.testing.checks import raises

from .bench import Bench, checks_of_each_kind, checks_once

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
    await KVConversationStore(bench.kv).save("kept", _chat("a"))
    await KVConversationStore(bench.kv, ttl_sec=None).save("kept", _chat("b"))
    found = {
        key["name"]: key["expiration"] for key in (await bench.raw.KV.list()).to_py()["keys"] if "expiration" in key
    }
    now = time.time()
    assert began + 58 <= found["aibind:conv:expiring"] <= now + 62
    assert began + 1798 <= found["aibind:conv:expiring by default"] <= now + 1802
    assert "aibind:conv:kept" not in found
    assert (await KVConversationStore(bench.kv).load("kept")).size == 2


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
        with raises(CorruptConversationError):
            await store.save("corrupt", _chat("over it"))
        assert await bench.raw.KV.get("aibind:conv:corrupt") == value


@check
async def a_time_to_live_that_kv_refuses_is_refused_first(bench: Bench) -> None:
    for ttl_sec in (59, 1, 0, -1):
        with raises(ValueError) as raised:
            KVConversationStore(bench.kv, ttl_sec=ttl_sec)
        assert "60 seconds" in str(raised.error)


@check
async def a_wait_out_of_bounds_is_refused_first(bench: Bench) -> None:
    for verify_s in (-0.1, 61, float("inf"), float("nan")):
        with raises(ValueError) as raised:
            KVConversationStore(bench.kv, verify_s=verify_s)
        assert f"verify_s is {verify_s}" in str(raised.error)


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


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def a_conversation_over_25_mib_is_refused_first(bench: Bench) -> None:
    store = KVConversationStore(bench.kv)
    await store.save("large", _chat("before"))
    with raises(ConversationTooLargeError) as raised:
        await store.save("large", _chat("é" * (13 * 1024 * 1024)))
    assert "26,214,400" in str(raised.error)
    assert "compact()" in str(raised.error)
    other = await store.load("large")
    assert other.messages == [{"role": "user", "content": "before"}]
    other.append({"role": "user", "content": "é" * (8 * 1024 * 1024)})
    await KVConversationStore(bench.kv, verify_s=None).save("large", _chat("é" * (5 * 1024 * 1024)))
    stored = await bench.raw.KV.get("aibind:conv:large")
    with raises(ConversationTooLargeError):
        await store.save("large", other)  # neither side is, but both together are
    assert await bench.raw.KV.get("aibind:conv:large") == stored


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
        self.methods: list[str] = []
        self.before: dict[int, Callable[[], Awaitable[object]]] = {}
        """What others do before the call of a number, the first being 0."""

    @property
    def calls(self) -> int:
        return len(self.methods)

    async def _call(self, method: str, *args: Any) -> Any:
        from js import Error, Promise

        if meanwhile := self.before.pop(self.calls, None):
            await meanwhile()
        self.methods.append(method)
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
    bench: Bench, messages: list[str], patience_s: float = 10.0, **options: Any
) -> tuple[KVConversationStore, FailingNamespace]:
    store = KVConversationStore(bench.raw.KV, patience_s=patience_s, **options)
    namespace = FailingNamespace(messages, bench.raw.KV)
    store._kv = namespace
    return store, namespace


# --- saves that cross ---


def _say(chat: ChatHistory, text: str) -> None:
    chat.append({"role": "user", "content": text})


def _texts(chat: ChatHistory) -> set[str]:
    return {node["message"]["content"] for node in json.loads(chat.to_json())["nodes"].values()}


def _path(chat: ChatHistory) -> list[str]:
    return [message["content"] for message in chat.messages]


@check
async def a_save_is_a_read_a_write_and_a_read(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=0.01)
    chat = _chat("one")
    for _ in range(3):
        namespace.methods.clear()
        await store.save("cost", chat)
        assert namespace.methods == ["get", "put", "get"]
        _say(chat, "more")
    namespace.methods.clear()
    store._verify_s = None
    await store.save("cost", chat)
    assert namespace.methods == ["get", "put"]


@check
async def a_turn_of_the_handler_is_six_reads_and_two_writes(bench: Bench) -> None:
    """The figures of the page about Cloudflare."""
    for verify_s, reads in ((0.01, 6), (None, 4)):
        store, namespace = _failing(bench, [], verify_s=verify_s)
        for _ in range(2):
            handler = StreamHandler(model=EchoModel(), conversations=store)
            namespace.methods.clear()
            reply = await handler.stream({"prompt": "/short", "sessionId": f"turns {verify_s}"})
            assert not isinstance(reply.body, bytes)
            async for _ in reply.body:
                pass
            await handler.aclose()
            assert sorted(namespace.methods) == ["get"] * reads + ["put"] * 2


@check
async def what_was_saved_since_the_load_is_merged(bench: Bench) -> None:
    for verify_s in (0.01, None):
        one, two = (KVConversationStore(bench.kv, prefix=f"since {verify_s}", verify_s=verify_s) for _ in range(2))
        mine = _chat("start")
        await one.save("s", mine)
        other = await two.load("s")
        _say(mine, "mine")
        _say(other, "other")
        await one.save("s", mine)
        await two.save("s", other)
        assert _texts(other) == {"start", "mine", "other"}
        assert _path(other) == ["start", "other"]
        assert (await one.load("s")).to_json() == other.to_json()
        unknown = _chat("not loaded")
        await one.save("s", unknown)
        assert _texts(await two.load("s")) == {"start", "mine", "other", "not loaded"}
        assert _path(unknown) == ["not loaded"]


@check
async def a_loaded_chat_can_be_compacted(bench: Bench) -> None:
    store = KVConversationStore(bench.kv, verify_s=0.01)
    await store.save("long", _chat("one", "two"))
    chat = await store.load("long")
    chat.compact({"role": "system", "content": "short"})
    await store.save("long", chat)
    assert _texts(await store.load("long")) == {"short"}
    elsewhere = await store.load("long")
    await store.save("copy", _chat("other"))
    await store.save("copy", elsewhere)  # it was loaded, but not from this session
    assert _texts(await store.load("copy")) == {"short", "other"}


@check
async def a_save_that_is_overwritten_is_merged_and_repeated(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=0.01)
    chat = _chat("start")
    await store.save("met", chat)
    theirs = ChatHistory.from_json(chat.to_json())
    _say(theirs, "theirs")
    _say(chat, "mine")
    namespace.methods.clear()
    namespace.before = {2: lambda: bench.raw.KV.put("aibind:conv:met", theirs.to_json())}
    await store.save("met", chat)
    assert namespace.methods == ["get", "put", "get"] * 2
    assert _texts(await store.load("met")) == _texts(chat) == {"start", "mine", "theirs"}
    assert _path(chat) == ["start", "mine"]


@check
async def a_save_that_another_took_in_is_not_repeated(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=0.01)
    chat = _chat("start")

    async def go_on() -> None:
        theirs = ChatHistory.from_json(await bench.raw.KV.get("aibind:conv:taken"))
        _say(theirs, "below")
        await bench.raw.KV.put("aibind:conv:taken", theirs.to_json())

    namespace.before = {2: go_on}
    await store.save("taken", chat)
    assert namespace.methods == ["get", "put", "get"]
    assert _texts(chat) == {"start", "below"}
    assert _path(chat) == ["start"]
    _say(chat, "mine")
    await store.save("taken", chat)
    assert _texts(await store.load("taken")) == {"start", "below", "mine"}


@check
async def an_old_value_in_a_cache_is_not_written_over_what_is_new(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=0.01)
    chat = _chat("start")
    await store.save("cached", chat)
    old = chat.to_json()
    _say(chat, "mine")
    namespace.methods.clear()
    namespace.before = {2: lambda: bench.raw.KV.put("aibind:conv:cached", old)}  # as if the read did not see the write
    await store.save("cached", chat)
    assert namespace.methods == ["get", "put", "get"]


@check
async def a_conversation_that_is_deleted_meanwhile_stays_deleted(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=0.01)
    namespace.before = {2: lambda: bench.raw.KV.delete("aibind:conv:gone")}
    chat = _chat("a")
    await store.save("gone", chat)
    assert (await store.load("gone")).is_empty
    await store.save("gone", chat)
    assert (await store.load("gone")).messages == chat.messages


@check
async def a_write_that_is_retried_merges_again(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=None)
    chat, theirs = _chat("mine"), _chat("theirs")

    async def fail() -> None:
        namespace._messages = ["KV PUT failed: 503 Service Unavailable"]
        await bench.raw.KV.put("aibind:conv:retried", theirs.to_json())

    namespace.before = {1: fail}
    await store.save("retried", chat)
    assert namespace.methods == ["get", "put", "get", "put"]
    assert _texts(await store.load("retried")) == {"mine", "theirs"}


@check
async def a_save_that_is_always_overwritten_is_an_error(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=0.0)
    chat = _chat("mine")

    def overwrite(number: int) -> Callable[[], Awaitable[object]]:
        return lambda: bench.raw.KV.put("aibind:conv:busy", _chat(f"theirs {number}").to_json())

    namespace.before = {number: overwrite(number) for number in range(2, 60, 3)}
    with raises(ConversationConflictError) as raised:
        await store.save("busy", chat)
    assert "save it again" in str(raised.error)
    assert namespace.methods == ["get", "put", "get"] * 8
    namespace.before = {}
    await store.save("busy", chat)
    assert "mine" in _texts(await store.load("busy"))


# --- failures ---


@check
async def too_many_writes_wait_a_second(bench: Bench) -> None:
    store, namespace = _failing(bench, ["KV PUT failed: 429 Too Many Requests"], verify_s=None)
    began = time.time()
    await store.save("busy", _chat("kept"))
    assert namespace.methods == ["get", "get", "put"]
    assert time.time() - began >= 0.9
    assert (await store.load("busy")).size == 1


@check
async def moments_of_failure_pass(bench: Bench) -> None:
    store, namespace = _failing(bench, [], verify_s=None)
    for run, calls in (
        (lambda: store.save("s", _chat("a")), 4),
        (lambda: store.load("s"), 3),
        (lambda: store.delete("s"), 3),
    ):
        namespace.methods.clear()
        namespace._messages = ["KV GET failed: 500 Internal Server Error", "Network connection lost."]
        await run()
        assert namespace.calls == calls, namespace.methods


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
