"""A graph of LangGraph, which runs its tools and remembers the conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.sqlite import wrap_sqlite3

from . import Running, Script, load_example
from .langchain import ScriptedChatModel


@asynccontextmanager
async def run(script: Script) -> AsyncIterator[Running]:
    async with wrap_sqlite3(":memory:") as client:
        saver = SqliteCheckpointSaver(client)
        await saver.setup()
        model = ScriptedChatModel(messages=iter(()), script=script)
        handler = load_example("langgraph_agent").make_handler(model, saver)
        yield Running(handler)
        await handler.aclose()
