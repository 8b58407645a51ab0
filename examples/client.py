"""A client that comes back after every lost connection, and has the whole reply all the same.

python examples/server.py &
python examples/client.py http://127.0.0.1:8000 "Tell me about rivers"
"""

from __future__ import annotations

import asyncio
import sys

from aibind.client import AsyncClient


async def main(url: str, prompt: str) -> None:
    async with AsyncClient(url) as client:
        reply = client.ask(prompt)
        async for event in reply:
            print(event.text, end="", flush=True)
    print(f"\n({reply.state}; {reply.connections} connections, {len(reply.text)} characters)")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
