"""Two tabs of one session, each with another front end: the AI SDK, and AG-UI or CopilotKit."""

from __future__ import annotations

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.server import StreamHandler, create_agent_app, create_chat_app
from tests.frontends.agent_server import user
from tests.frontends.chat_server import Scripted
from tests.frontends.driver import running_driver, text_of
from tests.support.http import serve


@pytest.mark.parametrize("program", ["agent.mjs", "copilot.mjs"])
async def test_they_show_the_same_at_the_same_time(program: str) -> None:
    """Whichever of them has asked."""
    async with running_driver() as chats, running_driver(program) as agents:
        for asks in ("chat", "agent"):
            model = Scripted()
            handler = StreamHandler(model=model, resumable=True, conversations=MemoryConversationStore())
            async with serve(create_chat_app(handler)) as api, serve(create_agent_app(handler)) as url:
                chat = await chats.chat(f"{api}/api/chat", "t", 7)
                name = f"asked by {asks}"
                await agents.run("create", name=name, url=f"{url}/agent", threadId="t")
                if asks == "chat":
                    await chat.begin("sendMessage", {"text": "wait"})
                    await chat.wait_text(4)
                    await agents.run("connect", name=name, begin=True)
                else:
                    await agents.run("run", name=name, message=user("u1", "wait"), begin=True)
                    await agents.run("waitText", name=name, length=4)
                    await chat.begin("resumeStream")
                one = text_of((await chat.wait_text(4))["messages"][-1])
                other = (await agents.run("waitText", name=name, length=4))["text"]
                assert one == other == "Half"
                model.go.set()
                one = text_of((await chat.wait_idle())["messages"][-1])
                other = (await agents.run("waitText", name=name, length=1_000))["text"]
                assert one == other == "Half and half"
                assert len(model.requests) == 1
            await handler.aclose()
