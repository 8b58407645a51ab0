"""The AI SDK's chat in Node, driven from here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from testbed.node import find_node, install_packages

__all__ = ["APPROVING", "VERSIONS", "Chat", "Driver", "running_driver", "text_of"]

FOLDER = Path(__file__).parent

VERSIONS = (7, 6, 5)
"""The versions of the AI SDK that are driven."""

APPROVING = (7, 6)
"""Those that know calls which wait for a user."""

LIMIT_S = 60


class Driver:
    """A Node process that runs commands, any number at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.ensure_future(self._read())

    async def run(self, command: str, **options: Any) -> Any:
        """Run one command, and return its value."""
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, "command": command, **options}).encode() + b"\n")
        try:
            async with asyncio.timeout(LIMIT_S):
                return await waiting
        finally:
            del self._waiting[number]

    async def chat(self, api: str, chat: str, version: int, **options: Any) -> Chat:
        """Make a chat, as a page that is opened does."""
        name = f"{chat} {next(self._numbers)}"
        await self.run("create", name=name, chat=chat, version=version, api=api, **options)
        return Chat(self, name)

    async def aclose(self) -> None:
        """End the process."""
        self._process.kill()
        await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            waiting = self._waiting.get(answer["number"])
            if waiting is None or waiting.done():
                continue
            if "failure" in answer:
                waiting.set_exception(AssertionError(answer["failure"]))
            else:
                waiting.set_result(answer["value"])


class Chat:
    """A page's chat."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self.name = name

    async def call(self, method: str, *args: Any) -> dict[str, Any]:
        """Call a method, and return the chat's state when it is done."""
        state: dict[str, Any] = await self._driver.run("call", name=self.name, method=method, args=args)
        return state

    async def begin(self, method: str, *args: Any) -> None:
        """Call a method without waiting for it."""
        await self._driver.run("call", name=self.name, method=method, args=args, begin=True)

    async def send(self, text: str) -> dict[str, Any]:
        """Send a message, and return the chat's state when it is answered."""
        return await self.call("sendMessage", {"text": text})

    async def stop_reply(self) -> None:
        """Stop the reply with our transport, for everybody."""
        await self._driver.run("stopReply", name=self.name)

    async def state(self) -> dict[str, Any]:
        """Return the chat's state."""
        state: dict[str, Any] = await self._driver.run("state", name=self.name)
        return state

    async def wait_text(self, length: int) -> dict[str, Any]:
        """Wait until the last answer has so many characters, or the chat is at rest."""
        state: dict[str, Any] = await self._driver.run("waitText", name=self.name, length=length)
        return state

    async def wait_idle(self) -> dict[str, Any]:
        """Wait until the chat is at rest."""
        state: dict[str, Any] = await self._driver.run("waitIdle", name=self.name)
        return state


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message of a page."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


@contextlib.asynccontextmanager
async def running_driver(program: str = "driver.mjs") -> AsyncIterator[Driver]:
    """Run a program of this folder in Node, with the clients."""
    install_packages(FOLDER, "the chat clients of the tests")
    process = await asyncio.create_subprocess_exec(
        find_node(),
        str(FOLDER / program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    driver = Driver(process)
    try:
        yield driver
    finally:
        await driver.aclose()
