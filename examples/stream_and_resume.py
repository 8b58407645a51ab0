"""A reply that is cut off in the middle and resumed there, without a server.

python examples/stream_and_resume.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, HttpResponse, SseParser

REPLY = "The reply takes its time, as replies of a model do, and continues whether or not anybody listens."


async def model() -> AsyncIterator[str]:
    """Yield one word at a time."""
    for word in REPLY.split():
        await asyncio.sleep(0.02)
        yield word + " "


async def read(response: HttpResponse[AsyncGenerator[bytes]], max_messages: int = 1_000_000) -> tuple[str, int]:
    """Read as a browser does, until ``max_messages`` have arrived; return the text and the id of the last message."""
    parser = SseParser()
    text, last_id, count = "", 0, 0
    async with aclosing(response.body) as body:  # leaving early is like a lost connection
        async for data in body:
            for message in parser.feed(data):
                if not message.event:
                    text, last_id, count = text + message.data, int(message.id), count + 1
                elif message.event == "error":
                    raise RuntimeError(message.data)
            if count >= max_messages:
                break
    return text, last_id


async def main() -> None:
    with TemporaryDirectory() as folder:
        async with wrap_sqlite3(Path(folder) / "chat.db") as client:
            await migrate(client)
            store = SqliteStreamStore(client)

            stream = await DurableStream.create(store, model())
            seen, last_id = await read(stream.response(), max_messages=5)
            print(f"cut off after id {last_id}: {seen!r}")

            await asyncio.sleep(0.2)  # nobody listens, and the reply continues

            rest, _ = await read(await DurableStream.resume(store, stream.id, last_id))
            print(f"and then: {rest!r}")
            assert (seen + rest).strip() == REPLY

            await stream.wait_closed()
            status = await store.get_status(stream.id)
            assert status is not None
            print(f"the stream is {status.state}, in {status.total_chunks} rows")


if __name__ == "__main__":
    asyncio.run(main())
