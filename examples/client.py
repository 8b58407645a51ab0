"""A client that loses its connection again and again, and has the whole reply all the same.

python examples/server.py &
python examples/client.py http://127.0.0.1:8000 "Tell me about rivers"
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from aibind.streams import SseParser

PREFIX = "/__aibind__"


class Reply:
    """Is one reply as far as it has come. ``last_id`` is all that it takes to go on."""

    def __init__(self) -> None:
        self.stream_id = ""
        self.last_id = 0
        self.text = ""
        self.done = False
        self.error: str | None = None

    async def read(self, response: httpx2.Response, most_messages: int) -> None:
        """Read until the end, or until so many messages have come."""
        self.stream_id = response.headers["x-stream-id"]
        parser = SseParser()
        count = 0
        async for data in response.aiter_raw():
            for message in parser.feed(data):
                count += 1
                if message.event == "done":
                    self.done = True
                elif message.event == "error":
                    self.error = message.data
                elif message.event != "stream-id" and message.id:
                    self.last_id = int(message.id)
                    if not message.event:
                        self.text += message.data
            if count >= most_messages:
                return


async def ask(client: httpx2.AsyncClient, prompt: str, most_messages: int = 20) -> tuple[Reply, int]:
    """Ask, and come back as often as it takes; return the reply and how many connections that took."""
    reply, connections = Reply(), 0
    while not reply.done:
        connections += 1
        async with connect(client, prompt, reply) as response:
            response.raise_for_status()
            await reply.read(response, most_messages)
    return reply, connections


@asynccontextmanager
async def connect(client: httpx2.AsyncClient, prompt: str, reply: Reply) -> AsyncIterator[httpx2.Response]:
    if not reply.stream_id:
        async with client.stream("POST", f"{PREFIX}/stream", json={"prompt": prompt}) as response:
            yield response
    else:
        where = {"id": reply.stream_id, "after": str(reply.last_id)}
        async with client.stream("GET", f"{PREFIX}/stream/resume", params=where) as response:
            yield response


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("prompt")
    options = parser.parse_args()
    async with httpx2.AsyncClient(base_url=options.url, timeout=60, trust_env=False) as client:
        reply, connections = await ask(client, options.prompt)
    print(reply.text)
    print(f"\n({connections} connections, {len(reply.text)} characters, error: {reply.error})")


if __name__ == "__main__":
    asyncio.run(main())
