"""A graph that asks a person to review calls: it waits, and is resumed with the decisions by another handler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

from aibind.integrations.langchain import LangChainModel
from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.server import StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseMessage, SseParser

CALLS = [
    {"id": "c1", "name": "remove", "args": {"path": "/a"}},
    {"id": "c2", "name": "remove", "args": {"path": "/b"}},
    {"id": "c3", "name": "remove", "args": {"path": "/c"}},
]


def make_graph(saver: Any, removed: list[str]) -> Any:
    def ask(_: Any) -> dict[str, Any]:
        return {
            "messages": [AIMessage("I will tidy up. ", tool_calls=[dict(call, type="tool_call") for call in CALLS])]
        }

    def review(_: Any) -> dict[str, Any]:
        actions = [{"name": call["name"], "args": call["args"], "description": "Gone for good"} for call in CALLS]
        decisions = interrupt({"action_requests": actions, "review_configs": []})["decisions"]
        results: list[ToolMessage] = []
        for call, decision in zip(CALLS, decisions, strict=True):
            if decision["type"] == "reject":
                results.append(ToolMessage(decision["message"], tool_call_id=call["id"], name="remove"))
                continue
            action: Any = decision["edited_action"] if decision["type"] == "edit" else call
            removed.append(action["args"]["path"])
            results.append(ToolMessage(action["args"]["path"], tool_call_id=call["id"], name="remove"))
        return {"messages": results}

    def tell(_: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("All done.")]}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("ask", ask).add_node("review", review).add_node("tell", tell)
    builder.add_edge(START, "ask").add_edge("ask", "review").add_edge("review", "tell").add_edge("tell", END)
    return builder.compile(checkpointer=saver)


async def read(reply: Any) -> list[SseMessage]:
    parser, messages = SseParser(), list[SseMessage]()
    async for piece in reply.body:
        messages += parser.feed(piece)
    return messages


async def test_a_graph_waits_for_decisions_and_is_resumed_with_them(tmp_path: Path) -> None:
    removed: list[str] = []
    async with wrap_sqlite3(tmp_path / "graph.db") as client:
        await migrate(client)
        saver = SqliteCheckpointSaver(client)
        await saver.setup()
        first, second = (
            StreamHandler(
                model=LangChainModel(make_graph(saver, removed)),
                resumable=True,
                store=SqliteStreamStore(client),
                conversations=SqliteMessageStore(client),
            )
            for _ in range(2)
        )
        events = await read(await first.stream({"prompt": "Tidy up", "sessionId": "s"}))
        asked = [json.loads(one.data) for one in events if one.event == "approval_request"]
        assert [(one["id"], one["details"]) for one in asked] == [
            (call["id"], {"description": "Gone for good"}) for call in CALLS
        ]
        assert sum(one.event == "tool_call" for one in events) == 3
        answers = {
            "c1": True,
            "c2": {"approved": False, "reason": "keep it"},
            "c3": {"approved": True, "args": {"path": "/d"}},
        }
        events = await read(await second.approvals.answer("s", {"approvals": answers}))
        assert removed == ["/a", "/d"]
        results = [json.loads(one.data) for one in events if one.event == "tool_result"]
        assert [(one["id"], one["result"]) for one in results] == [("c1", "/a"), ("c2", "keep it"), ("c3", "/d")]
        assert "".join(one.data for one in events if not one.event) == "All done."
        said = (await SqliteMessageStore(client).load("s")).messages
        assert [message["role"] for message in said] == ["user", "assistant", *["tool"] * 4, "assistant"]
        await second.aclose()
