"""A client that comes back after every lost connection, and has the whole reply all the same.

python examples/server.py &
python examples/client.py http://127.0.0.1:8000 "Tell me about rivers"

It also hangs up by itself, every 20 messages, to show that nothing is lost or repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from aibind.streams import SseParser

PREFIX = "/__aibind__"
MAX_FAILURES = 10  # connections in a row that bring nothing
PAUSE_S = 0.5  # before the connection after such a one


class Reply:
    """One reply as far as it has arrived. Its stream's id and ``last_id`` are all that it takes to resume it.

    ``request_id`` goes with the question, which can be asked again with it: it is answered once.
    """

    def __init__(self) -> None:
        self.request_id = str(uuid.uuid4())
        self.stream_id = ""
        self.last_id = 0
        self.text = ""
        self.done = False
        self.error: str | None = None

    async def read(self, response: httpx2.Response, max_messages: int) -> None:
        """Read until the reply ends, or until ``max_messages`` have arrived."""
        self.stream_id = response.headers["x-stream-id"]
        parser = SseParser()  # a new one each time: it drops the message that a lost connection cut in two
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
            if count >= max_messages:
                return


async def ask(client: httpx2.AsyncClient, prompt: str, max_messages: int = 20) -> tuple[Reply, int]:
    """Ask, and resume as often as it takes; return the reply and the number of connections that took.

    Raises httpx2.TransportError when ten connections in a row bring nothing.
    """
    reply, connections, failures = Reply(), 0, 0
    while not reply.done:
        connections += 1
        last_id = reply.last_id
        lost: Exception = EOFError("The answer ended before the reply did")
        try:
            async with connect(client, prompt, reply) as response:
                response.raise_for_status()
                await reply.read(response, max_messages)
        except httpx2.TransportError as error:  # refused, cut off, silent for too long
            lost = error
        failures = failures + 1 if reply.last_id == last_id else 0
        if failures == MAX_FAILURES:
            raise lost
        if failures:
            await asyncio.sleep(PAUSE_S)
    return reply, connections


@asynccontextmanager
async def connect(client: httpx2.AsyncClient, prompt: str, reply: Reply) -> AsyncIterator[httpx2.Response]:
    if not reply.stream_id:
        headers = {"Idempotency-Key": reply.request_id}
        async with client.stream("POST", f"{PREFIX}/stream", json={"prompt": prompt}, headers=headers) as response:
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
