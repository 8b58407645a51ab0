"""Public names look public: in reprs and pickles, to typing, and without a private module to be seen."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
import subprocess
import sys
import types
import typing
from collections.abc import AsyncIterator, Callable
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

import pytest

import aibind.conversations
import aibind.models.chat
import aibind.models.endpoint
import aibind.models.responses
import aibind.server
import aibind.sqlite
import aibind.streams
import aibind.testing
from aibind import errors
from aibind.history import ChatHistory
from tests.test_package import PUBLIC, needs_what_is_missing

INSTALLED = {package: names for package, names in PUBLIC.items() if not needs_what_is_missing(package)}
NAMES = [(package, name) for package, names in INSTALLED.items() for name in names.split()]
NAMES += [("aibind.errors", name) for name in errors.__all__]
OBJECTS = {f"{package}.{name}": getattr(importlib.import_module(package), name) for package, name in NAMES}
CLASSES = {name: value for name, value in OBJECTS.items() if isinstance(value, type)}
FUNCTIONS = {name: value for name, value in OBJECTS.items() if inspect.isfunction(value)}
DATACLASSES = {name: value for name, value in CLASSES.items() if is_dataclass(value)}


def test_there_are_some_of_each() -> None:
    assert (len(CLASSES) > 50, len(FUNCTIONS) > 10, len(DATACLASSES) > 15) == (True, True, True)


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_a_public_name_says_its_public_package(name: str) -> None:
    value = OBJECTS[name]
    home = sys.modules[value.__module__]
    assert value.__module__ in {*PUBLIC, "aibind.errors"}
    assert value.__qualname__ in home.__all__
    assert getattr(home, value.__qualname__) is value
    if isinstance(value, type):
        assert repr(value) == f"<class '{value.__module__}.{value.__qualname__}'>"


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_a_public_name_is_pickled_as_such(name: str) -> None:
    data = pickle.dumps(OBJECTS[name])
    assert pickle.loads(data) is OBJECTS[name]
    assert OBJECTS[name].__module__.encode() in data


@pytest.mark.parametrize("name", CLASSES)
def test_the_hints_of_a_public_class_are_found(name: str) -> None:
    hints = typing.get_type_hints(CLASSES[name])
    assert hints.keys() >= inspect.get_annotations(CLASSES[name]).keys()
    assert not any(isinstance(hint, str) for hint in hints.values())
    for member in vars(CLASSES[name]).values():
        if inspect.isfunction(member) and member.__module__.startswith("aibind."):
            typing.get_type_hints(member)


def sample(hint: Any) -> Any:
    """Make a value of a type."""
    simple = {str: "text", int: 7, float: 1.5, bool: True, bytes: b"b", Any: "anything", types.NoneType: None}
    if isinstance(hint, TypeVar) or get_origin(hint) in (Callable, importlib.import_module("collections.abc").Callable):
        return print
    if get_origin(hint) is Literal:
        return get_args(hint)[-1]
    if get_origin(hint) in (typing.Union, types.UnionType):
        return sample(get_args(hint)[0])
    if (origin := get_origin(hint)) is not None:
        inner = [sample(argument) for argument in get_args(hint) if argument is not ...]
        if len(inner) == 2:
            return {inner[0]: inner[1]}
        return tuple(inner) if origin is tuple else inner
    if is_dataclass(hint):
        return make(hint)
    if hint in (ChatHistory, aibind.streams.LiveReader):  # compare by identity: a stand-in travels that does by value
        return "a stand-in"
    return simple[hint]


def make(kind: Any) -> Any:
    """Make a public data class's instance, whatever its fields are."""
    hints = typing.get_type_hints(kind)
    texts = {field.name: f"a_{field.name}" for field in fields(kind) if hints[field.name] is str}  # which may differ
    return kind(
        **{field.name: texts.get(field.name) or sample(hints[field.name]) for field in fields(kind) if field.init}
    )


@pytest.mark.parametrize("name", DATACLASSES)
def test_a_public_data_class_travels(name: str) -> None:
    value = make(DATACLASSES[name])
    copied = pickle.loads(pickle.dumps(value))
    assert type(copied) is DATACLASSES[name]
    for field in fields(value):
        one, other = getattr(value, field.name), getattr(copied, field.name)
        assert one.to_json() == other.to_json() if isinstance(one, ChatHistory) else one == other
    assert repr(value).startswith(f"{DATACLASSES[name].__name__}(")


async def make_each() -> AsyncIterator[object]:
    """Make an instance of each public class that is not a data class, a protocol or an error."""
    chat = ChatHistory()
    chat.append({"role": "user", "content": "Hello"})
    yield chat
    yield chat.tree
    yield aibind.conversations.MemoryConversationStore()
    streams = aibind.streams.MemoryStreamStore()
    yield streams
    yield aibind.streams.SseParser()
    yield aibind.streams.WakeupSignals()
    yield aibind.streams.StreamWriter(streams, "s")
    stream = await aibind.streams.DurableStream.create(streams, words(), stream_id="d")
    yield stream
    yield stream.response().live
    reply = aibind.models.chat.ChatReply()
    yield reply
    yield aibind.models.endpoint.EndpointAnswer("text/event-stream", reply)
    yield aibind.models.endpoint.Redactor(["a secret"])
    yield aibind.models.responses.ResponsesReply()
    yield aibind.models.EchoModel()
    async with aibind.models.OpenAIModel("m", base_url="http://127.0.0.1/v1", api_key="a secret") as model:
        yield model
    if "aibind.integrations.anthropic" in INSTALLED:
        from anthropic import AsyncAnthropic

        from aibind.integrations.anthropic import AnthropicClientModel

        async with AsyncAnthropic(api_key="a secret", base_url="http://127.0.0.1") as client_of_anthropic:
            yield AnthropicClientModel(client_of_anthropic, "m")
    if "aibind.integrations.openai" in INSTALLED:
        from openai import AsyncOpenAI

        from aibind.integrations.openai import OpenAIClientModel

        async with AsyncOpenAI(api_key="a secret", base_url="http://127.0.0.1/v1") as client_of_openai:
            yield OpenAIClientModel(client_of_openai, "m")
    if "aibind.integrations.openai_agents" in INSTALLED:
        from agents import Agent

        from aibind.integrations.openai_agents import OpenAIAgentsModel, StoredSession

        yield OpenAIAgentsModel(Agent(name="m"))
        yield StoredSession(aibind.conversations.MemoryConversationStore(), "s")
    if "aibind.integrations.pydantic_ai" in INSTALLED:
        from aibind.integrations.pydantic_ai import PydanticAIModel

        yield PydanticAIModel("test")
    async with aibind.client.AsyncClient("http://127.0.0.1", headers={"Authorization": "secret"}) as asking:
        yield asking
        yield asking.resume("s")
    with aibind.client.Client("http://127.0.0.1") as waiting:
        yield waiting
        yield waiting.resume("s")
    async with aibind.sqlite.wrap_sqlite3(":memory:") as client:
        yield client
        faults = aibind.testing.Faults(7, rate=0.2)
        yield faults
        yield aibind.testing.FaultySqliteClient(client, faults)
        yield aibind.sqlite.SqliteStreamStore(client, chunks_table="my_chunks")
        if "aibind.integrations.pydantic_ai" in INSTALLED:
            from aibind.integrations.pydantic_ai import PydanticAIConversationStore

            yield PydanticAIConversationStore(client)
        if "aibind.integrations.langgraph" in INSTALLED:
            from aibind.integrations.langgraph import SqliteCheckpointSaver

            yield SqliteCheckpointSaver(client)
        if "aibind.integrations.langchain" in INSTALLED:
            from langchain_core.runnables import RunnableLambda

            from aibind.integrations.langchain import LangChainModel, StoredMessageHistory

            yield LangChainModel(RunnableLambda(lambda _: "x"))
            yield StoredMessageHistory(aibind.conversations.MemoryConversationStore(), "s")
        conversations = aibind.sqlite.SqliteConversationStore(client, table="my_conversations")
        yield conversations
        yield aibind.sqlite.SqliteMessageStore(client, messages_table="my_messages")
        handler = aibind.server.StreamHandler(
            models={"fast": aibind.models.EchoModel()}, resumable=True, conversations=conversations
        )
        yield handler
        yield aibind.server.Endpoints(handler)
        await handler.aclose()


async def words() -> AsyncIterator[str]:
    yield "one"


INSIDE_A_WORKER = {
    "D1Client",
    "DurableObjectClient",
    "DurableObjectStreamStore",
    "DurableStreamObject",
    "FaultyKV",
    "FetchTransport",
    "KVConversationStore",
    "ObjectRouter",
    "OpenAIFetchModel",
    "SessionIndex",
    "WorkersAIModel",
}
"""Classes whose reprs are tested where they can be made: tests/workerd/inside/imports.py, tests/workerd/live."""


async def test_the_repr_of_an_object_tells_what_it_is() -> None:
    shown = {type(made): repr(made) async for made in make_each()}
    for kind, text in shown.items():
        assert text.startswith((f"<{kind.__name__} ", f"{kind.__name__}("))
        assert " object at 0x" not in text
        assert "secret" not in text.replace("1 secrets", "")
        assert not re.search(r"aibind\.\w+\.", text)
    made = {kind.__name__ for kind in shown}
    needed = {
        kind.__name__
        for kind in CLASSES.values()
        if not (is_dataclass(kind) or inspect.isabstract(kind) or issubclass(kind, Exception))
        and not getattr(kind, "_is_protocol", False)
    }
    assert needed == made | INSIDE_A_WORKER
    assert "'my_chunks'" in shown[aibind.sqlite.SqliteStreamStore]
    assert "'my_conversations'" in shown[aibind.server.StreamHandler]


ASK_SQLITE = """
import asyncio
from aibind.sqlite import wrap_sqlite3

async def ask():
    async with wrap_sqlite3(":memory:") as client:
        print(type(client), type(await client.execute("SELECT 1")))

asyncio.run(ask())
"""
FIND_D1 = "import sys, aibind.cloudflare as c; c.wrap_d1; print(sys.modules['aibind.cloudflare.d1'].D1Client)"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (ASK_SQLITE, "<class 'aibind.sqlite.SqliteDatabase'> <class 'aibind.sqlite.SqliteResult'>"),
        (FIND_D1, "<class 'aibind.cloudflare.D1Client'>"),
        ("import aibind; print(aibind.MemoryStreamStore)", "<class 'aibind.streams.MemoryStreamStore'>"),
        ("from aibind import AibindError; print(AibindError)", "<class 'aibind.errors.AibindError'>"),
        ("from aibind.server import HttpResponse; print(HttpResponse)", "<class 'aibind.streams.HttpResponse'>"),
        ("from aibind.models import OpenAIModel; print(OpenAIModel)", "<class 'aibind.models.OpenAIModel'>"),
    ],
)
def test_an_object_looks_public_in_a_fresh_process(code: str, shown: str) -> None:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{shown}\n"


@pytest.mark.parametrize("package", ["aibind", "aibind.cloudflare", "aibind.sqlite"])
def test_a_lazy_package_loads_nothing_else(package: str) -> None:
    code = f"import sys, {package}; print(*(name for name in sys.modules if name.startswith('aibind')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) == {"aibind", package, "aibind._lazy", "aibind._public"}
