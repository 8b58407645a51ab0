"""Messages of conversations and LangChain's: what goes one way comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("langchain_core")

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables.history import RunnableWithMessageHistory

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError
from aibind.history import ChatHistory
from aibind.integrations.langchain import StoredMessageHistory, from_langchain, to_langchain
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text("abcxyz_", min_size=1, max_size=8)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, values, max_size=3)
parts: Any = st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, texts)
    | st.builds(lambda data: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}, names)
    | st.builds(lambda text: {"type": "reasoning", "reasoning": text}, texts),
    min_size=1,
    max_size=3,
)
contents = texts | parts
ids = st.none() | names
calls: Any = st.lists(
    st.builds(
        lambda id, name, args: {"id": id, "name": name, "args": args, "type": "tool_call"}, names, names, objects
    ),
    max_size=2,
)
wrong_calls: Any = st.lists(
    st.builds(
        lambda id, name, args: {"id": id, "name": name, "args": args, "error": None, "type": "invalid_tool_call"},
        *(names, names, st.sampled_from(["{", "[1]", "not JSON", '"x"'])),
    ),
    max_size=1,
)
usages: Any = st.none() | st.builds(
    lambda i, o: {"input_tokens": i, "output_tokens": o, "total_tokens": i + o}, *(st.integers(0, 9),) * 2
)
messages: Any = st.one_of(
    st.builds(HumanMessage, content=contents, id=ids, name=ids, additional_kwargs=objects),
    st.builds(SystemMessage, content=contents, id=ids),
    st.builds(
        AIMessage,
        content=contents,
        id=ids,
        tool_calls=calls,
        invalid_tool_calls=wrong_calls,
        usage_metadata=usages,
        response_metadata=objects,
    ),
    st.builds(
        ToolMessage,
        content=contents,
        tool_call_id=names,
        name=ids,
        artifact=values,
        status=st.sampled_from(["success", "error"]),
    ),
    st.builds(ChatMessage, content=contents, role=st.sampled_from(["developer", "critic"])),
)


@given(st.lists(messages, max_size=5))
@settings(max_examples=60, deadline=None)
def test_langchains_messages_come_back_from_a_conversation(said: list[BaseMessage]) -> None:
    chat = ChatHistory()
    for message in from_langchain(said):
        chat.append(message)
    assert to_langchain(ChatHistory.from_json(chat.to_json()).messages) == said


stored_calls: Any = st.lists(
    st.builds(
        lambda id, name, args: {"id": id, "type": "function", "function": {"name": name, "arguments": args}},
        *(names, names, st.sampled_from(['{"a":1}', "{}", '{"b":[true,null,"ä"]}'])),
    ),
    min_size=1,
    max_size=2,
)
stored: Any = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "content": contents}, optional={"name": names, "extra": values}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": contents | st.none()},
        optional={"tool_calls": stored_calls, "reasoning": texts},
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": texts, "tool_call_id": names, "name": names}),
    st.fixed_dictionaries({"role": st.just("developer"), "content": texts}),
)


@given(st.lists(stored, max_size=5))
@settings(max_examples=60, deadline=None)
def test_stored_messages_come_back_from_langchain(said: list[Any]) -> None:
    assert from_langchain(to_langchain(said)) == said


def test_other_forms() -> None:
    flat = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "f", "arguments": '{"a": 1}'}]}
    (message,) = to_langchain([flat])
    assert cast("AIMessage", message).tool_calls == [{"id": "c", "name": "f", "args": {"a": 1}, "type": "tool_call"}]
    piece = AIMessageChunk(content="Hello", id="x")
    assert from_langchain([piece]) == [{"role": "assistant", "content": "Hello", "langchain": {"id": "x"}}]
    with pytest.raises(ModelError, match="Message 0 of the conversation has no role"):
        to_langchain([{"content": "x"}])
    with pytest.raises(ModelError, match="The content of message 0 is int"):
        to_langchain([{"role": "user", "content": 1}])
    with pytest.raises(TypeError, match="RemoveMessage is not a message of a conversation"):
        from_langchain([RemoveMessage(id="x")])


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
async def test_a_chain_with_a_stored_history(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        model = GenericFakeChatModel(messages=iter([AIMessage("One."), AIMessage("Two.")]))
        chain = RunnableWithMessageHistory(model, lambda session_id: StoredMessageHistory(store, session_id))
        config: Any = {"configurable": {"session_id": "s"}}
        for prompt in ("first", "second"):
            await chain.ainvoke([HumanMessage(prompt)], config)
        history = StoredMessageHistory(store, "s")
        assert [message.text for message in await history.aget_messages()] == ["first", "One.", "second", "Two."]
        await history.aadd_messages([])
        await history.aclear()
        assert await history.aget_messages() == []


def test_synchronous_methods_name_the_asynchronous_ones() -> None:
    history = StoredMessageHistory(MemoryConversationStore(), "s")
    with pytest.raises(NotImplementedError, match=r"await aget_messages\(\) instead of messages"):
        _ = history.messages
    with pytest.raises(NotImplementedError, match=r"await aadd_messages\(\)"):
        history.add_messages([])
    with pytest.raises(NotImplementedError, match=r"await aclear\(\)"):
        history.clear()
