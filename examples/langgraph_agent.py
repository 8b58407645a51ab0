"""A LangGraph graph as a durable reply: its tools, and a state that survives in a SQLite file.

python examples/langgraph_agent.py
"""

import asyncio
from operator import itemgetter
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from aibind.integrations.langchain import LangChainModel
from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.server import StreamHandler
from aibind.sqlite import wrap_sqlite3


async def temperature(place: str) -> int:
    """Return the temperature at a place, in degrees Celsius."""
    return 21 if place else 0


def make_handler(chat_model: Any, saver: SqliteCheckpointSaver) -> StreamHandler:
    """Make a handler whose model is a graph; bind the tool to a real model: ``model.bind_tools([temperature])``."""
    answer = itemgetter("messages") | chat_model | (lambda message: {"messages": message})
    graph = StateGraph(MessagesState).add_node("answer", answer).add_node("tools", ToolNode([temperature]))
    graph.add_edge(START, "answer").add_edge("tools", "answer").add_conditional_edges("answer", tools_condition)
    return StreamHandler(model=LangChainModel(graph.compile(saver)), resumable=True)


async def main() -> None:
    async with wrap_sqlite3(":memory:") as client:
        saver = SqliteCheckpointSaver(client)
        await saver.setup()
        model = GenericFakeChatModel(messages=iter([AIMessage("The Danube.")]))  # or yours
        reply = await make_handler(model, saver).stream({"prompt": "Which river?", "sessionId": "me"})
        async for data in reply.body:
            print(data.decode(), end="")


if __name__ == "__main__":
    asyncio.run(main())
