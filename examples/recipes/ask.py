"""Ask a question, and print the reply as it grows: ``python ask.py``."""

import asyncio
import sys

from aibind.client import AsyncClient


async def main(server: str) -> None:
    async with AsyncClient(server) as client:
        reply = client.ask("/short What is a river?", session_id="my-python-chat")
        async for event in reply:  # over as many connections as it takes
            print(event.text, end="", flush=True)
    print(f"\n({reply.state})")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))
