"""A LangGraph graph as a model: durable replies, and a state that survives in the same file.

python examples/langgraph_agent.py
"""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from aibind.integrations.langchain import LangChainModel
from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.server import StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser

MODEL = GenericFakeChatModel(messages=iter([AIMessage("The Danube."), AIMessage("2,850 km.")]))  # yours instead


async def answer(state: MessagesState) -> dict[str, Any]:
    """Answer with the chat model: its tokens are streamed from inside the node."""
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


async def main() -> None:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        saver = SqliteCheckpointSaver(client)
        await saver.setup()
        graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").add_edge("answer", END)
        model = LangChainModel(graph.compile(checkpointer=saver))
        store, conversations = SqliteStreamStore(client), SqliteMessageStore(client)
        handler = StreamHandler(model=model, resumable=True, store=store, conversations=conversations)
        for prompt in ("Which river flows through Vienna?", "How long is it?"):
            reply = await handler.stream({"prompt": prompt, "sessionId": "me"})
            assert not isinstance(reply.body, bytes)  # it is streamed
            parser = SseParser()
            messages = [message async for data in reply.body for message in parser.feed(data)]
            print(prompt, "".join(message.data for message in messages if not message.event))
        await handler.aclose()


if __name__ == "__main__":
    asyncio.run(main())
