"""Pages of AG-UI and of CopilotKit over connections that break: each comes back by connecting to its thread."""

from __future__ import annotations

import random
from typing import Any

from tests.frontends.agent_server import user
from tests.frontends.cutting import COUNTED, QUESTION, Cut, breaking, over_cuts
from tests.frontends.driver import Driver

__all__ = ["read_agents_over_cuts", "read_copilot_over_cuts"]

LONGEST = 4_500
"""Bytes after which a connection breaks at the latest: an answer has about 5,000."""


async def read_agents_over_cuts(driver: Driver, url: str, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies with AG-UI's client; ``url`` is that of the agents."""

    async def read_one(name: str, places: random.Random, found: Cut) -> None:
        async with breaking(url.removesuffix("/agent"), places, LONGEST, found) as address:
            await driver.run("create", name=name, url=f"{address}/agent", threadId=name)
            page = await driver.run("run", name=name, message=user("u1", QUESTION))
            while not _is_whole(page, is_finished=_has_finished(page)):
                page = await driver.run("connect", name=name)
                found.resumed += 1
                if page["error"] is None and page["messages"] == []:  # the question did not arrive
                    page = await driver.run("run", name=name, message=user("u1", QUESTION))
                    found.asked_again += 1
        stored = await driver.run("connect", name=name)
        assert _said(stored) == _said(page) == [QUESTION, COUNTED]

    return await over_cuts("AG-UI", read_one, count, seed)


async def read_copilot_over_cuts(driver: Driver, url: str, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies with CopilotKit's core; ``url`` is that of the agents."""

    async def read_one(name: str, places: random.Random, found: Cut) -> None:
        async with breaking(url.removesuffix("/agent"), places, LONGEST, found) as address:
            await driver.run("create", name=name, url=url, runUrl=f"{address}/agent", threadId=name)
            done = 0
            page = await driver.run("run", name=name, message=user("u1", QUESTION))
            while not _is_whole(page, is_finished=page["done"] > done):
                done = page["done"]
                page = await driver.run("connect", name=name)
                found.resumed += 1
                if page["done"] > done and not any(one["role"] == "assistant" for one in page["messages"]):
                    done = page["done"]
                    page = await driver.run("run", name=name, message=user("u1", QUESTION))
                    found.asked_again += 1
        stored = await driver.run("connect", name=name)
        assert _said(stored) == _said(page) == [QUESTION, COUNTED]

    return await over_cuts("CopilotKit", read_one, count, seed)


def _is_whole(page: dict[str, Any], *, is_finished: bool) -> bool:
    return is_finished and any(message["role"] == "assistant" for message in page["messages"])


def _has_finished(page: dict[str, Any]) -> bool:
    return any(event["type"] == "RUN_FINISHED" for event in page["events"])


def _said(page: dict[str, Any]) -> list[str]:
    return [message.get("content", "") for message in page["messages"]]
