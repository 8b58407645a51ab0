"""Chats of the AI SDK and of assistant-ui over connections that break."""

from __future__ import annotations

import random

from tests.frontends.chat_server import Server, check_stored
from tests.frontends.cutting import COUNTED, QUESTION, Cut, breaking, over_cuts
from tests.frontends.driver import Driver, text_of

__all__ = ["read_assistant_ui_over_cuts", "read_chats_over_cuts"]

LONGEST = 2_800
"""Bytes after which a connection breaks at the latest: an answer has about 3,000."""


async def read_chats_over_cuts(driver: Driver, server: Server, version: int, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies with a version of the AI SDK, whose chat resumes by its own id."""

    async def read_one(name: str, places: random.Random, found: Cut) -> None:
        async with breaking(server.url, places, LONGEST, found) as url:
            chat = await driver.chat(f"{url}/api/chat", name, version)
            state = await chat.send(QUESTION)
            while not state["finished"] or state["finished"][-1].get("finishReason") != "stop":
                before = len(state["finished"])
                state = await chat.call("resumeStream")
                found.resumed += 1
                if state["status"] == "ready" and len(state["finished"]) == before:  # there was nothing to resume
                    state = await chat.call("regenerate")
                    found.asked_again += 1
            assert [text_of(message) for message in state["messages"]] == [QUESTION, COUNTED]
        await check_stored(server, state, name)

    return await over_cuts(f"ai {version}", read_one, count, seed)


async def read_assistant_ui_over_cuts(driver: Driver, server: Server, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies with assistant-ui's transport, which resumes by the id in the header of the answer."""

    async def read_one(name: str, places: random.Random, found: Cut) -> None:
        async with breaking(server.url, places, LONGEST, found) as url:
            api = f"{url}/api/chat"
            chat = await driver.chat(api, name, 7, resumeApi=f"{api}/resume")
            state = await chat.send(QUESTION)
            while not state["finished"] or state["finished"][-1].get("finishReason") != "stop":
                if state["pending"]:
                    state = await chat.call("resumeStream")
                    found.resumed += 1
                else:  # the header did not come
                    state = await chat.call("regenerate")
                    found.asked_again += 1
            assert [text_of(message) for message in state["messages"]] == [QUESTION, COUNTED]
        await check_stored(server, state, name)

    return await over_cuts("assistant-ui", read_one, count, seed)
