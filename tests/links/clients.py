"""Replies that our own clients read over connections that break early, and what clients leave behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aibind.client import AsyncClient, Client, ReplyEvent
from aibind.errors import ClientError
from aibind.models import ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall
from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams.position import Position
from tests.support.cutting import CuttingProxy
from tests.support.http import serve

from .cuts import PIECES, make_text
from .proxy import cutting_proxy

AT_ONCE = 20
"""Replies that are read at one time."""

VISITS = ("whole", "left", "cut", "refused", "question")
"""What becomes of a connection of a client, in turns."""


@dataclass(frozen=True)
class Told:
    """A reply as its model tells it: the prompt ``KIND CHARS SEED PAUSE`` says which."""

    kind: str
    chars: int
    seed: int
    pause_s: float

    @property
    def prompt(self) -> str:
        """The prompt that asks for it."""
        return f"{self.kind}|{self.chars}|{self.seed}|{self.pause_s}"

    @classmethod
    def of(cls, prompt: str) -> Told:
        """Return the reply that a prompt asks for."""
        kind, chars, seed, pause_s = prompt.split("|")
        return cls(kind, int(chars), int(seed), float(pause_s))

    @property
    def text(self) -> str:
        """The answer."""
        return make_text(self.kind, self.chars, self.seed)

    @property
    def thought(self) -> str:
        """The reasoning."""
        return make_text(self.kind, self.chars // 2, self.seed + 1)

    def check(self, events: Iterable[ReplyEvent]) -> None:
        """Raise AssertionError unless the events are exactly this reply: each character once, and in order."""
        events = list(events)
        for name, expected in (("", self.text), ("reasoning", self.thought)):
            got = "".join(event.data for event in events if event.event == name)
            assert got == normal(expected), f"{self.prompt}: {len(got)} characters of {name or 'text'}"
        names = [event.event for event in events if event.event not in ("", "reasoning")]
        assert names == ["tool_call"], f"{self.prompt}: {names}"
        places = [Position.after(event.id) for event in events if event.id is not None]
        assert len(places) == len(events), "an event without an id"
        assert all(one < next_ for one, next_ in itertools.pairwise(places)), f"{self.prompt}: an event came twice"


def normal(text: str) -> str:
    """Return a text as readers get it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Teller:
    """The model that tells such replies, in pieces of some characters."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        told = Told.of(request.messages[-1]["content"])
        for made, text in ((ReasoningDelta, told.thought), (TextDelta, told.text)):
            for at in range(0, len(text), 23):
                yield made(text[at : at + 23])
                await asyncio.sleep(told.pause_s)
            if made is ReasoningDelta:
                yield ToolCall("1", "look", "{}")


@asynccontextmanager
async def teller_server(file: Path) -> AsyncIterator[str]:
    """Serve the replies, which are stored in a file."""
    async with wrap_sqlite3(file) as database:
        await migrate(database)
        handler = StreamHandler(model=Teller(), resumable=True, store=SqliteStreamStore(database, ttl_ms=86_400_000))
        async with serve(create_app(handler)) as url:
            yield url
        await handler.aclose()


def replies_to_read(count: int, chars: int, seed: int) -> list[Told]:
    """Return different replies: of each kind of characters, some at once and some while they are told."""
    kinds = itertools.cycle(PIECES)
    return [Told(next(kinds), chars, seed + 7 * n, 0.002 if n % 3 == 0 else 0) for n in range(count)]


async def read_through_cuts(replies: list[Told], limit: int, file: Path) -> int:
    """Read replies over connections that break after ``limit`` bytes of the body; return how many those were."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with teller_server(file) as url, cutting_proxy(url, limit) as proxy, AsyncClient(proxy) as client:

        async def read(told: Told) -> int:
            async with gate:
                reply = client.ask(told.prompt)
                told.check([event async for event in reply])
                return reply.connections

        return sum(await asyncio.gather(*map(read, replies)))


async def read_through_cuts_without_a_loop(replies: list[Told], limit: int, file: Path) -> int:
    """Read them with the synchronous client, in some threads that share it."""
    async with teller_server(file) as url, cutting_proxy(url, limit) as proxy:
        with Client(proxy) as client:

            def read(some: list[Told]) -> int:
                connections = 0
                for told in some:
                    reply = client.ask(told.prompt)
                    told.check(list(reply))
                    connections += reply.connections
                return connections

            threads = [asyncio.to_thread(read, replies[number::4]) for number in range(4)]
            return sum(await asyncio.gather(*threads))


# --- what remains ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What the process holds at a moment."""

    files: int
    tasks: int
    objects: int
    kilobytes: float

    @classmethod
    def now(cls) -> Held:
        """Look, after a garbage collection."""
        gc.collect()
        files = len(list(Path("/proc/self/fd").iterdir()))
        return cls(files, len(asyncio.all_tasks()), len(gc.get_objects()), tracemalloc.get_traced_memory()[0] / 1000)

    def __sub__(self, other: Held) -> Held:
        return Held(
            self.files - other.files,
            self.tasks - other.tasks,
            self.objects - other.objects,
            self.kilobytes - other.kilobytes,
        )


async def leave_many(connections: int, file: Path, *, with_a_loop: bool) -> Held:
    """Let a client make connections that end in each way, and return what remains of them, here and in the server.

    Each reads a stored reply to its end, leaves it in the middle, is cut, or is refused; or it asks for a short list.
    """
    told = Told("words", 600, 1, 0)
    cuts = itertools.cycle([150, 150, 0])
    visit = _visits if with_a_loop else _visits_without_a_loop
    async with teller_server(file) as url, CuttingProxy(url, cuts).serving() as cut:
        async with AsyncClient(url) as client:
            stream_id = (reply := client.ask(told.prompt)).stream_id
            await reply.read()
            stream_id = reply.stream_id
        tracemalloc.start()
        try:
            await visit(url, cut, stream_id, told, 200)  # so that caches are filled
            before = await _settled()
            await visit(url, cut, stream_id, told, connections)
            return await _settled() - before
        finally:
            tracemalloc.stop()


async def _settled() -> Held:
    """Return what is held once the server has noticed that all connections are gone."""
    held = Held.now()
    for _ in range(50):
        await asyncio.sleep(0.1)
        held, last = Held.now(), held
        if (held.files, held.tasks) == (last.files, last.tasks):
            break
    return held


async def _visits(url: str, cut: str, stream_id: str, told: Told, connections: int) -> None:
    async with AsyncClient(url) as client, AsyncClient(cut, max_failures=1) as cutting:

        async def visit(kind: str) -> None:
            if kind == "whole":
                assert await client.resume(stream_id).read() == told.text
            elif kind == "left":
                async for event in client.resume(stream_id):
                    if event.text:
                        break
            elif kind == "cut":
                await _fails(cutting.resume(stream_id).read())
            elif kind == "refused":
                await _fails(client.chat([]).read())
            else:
                await _fails(client.list_sessions())

        kinds = itertools.islice(itertools.cycle(VISITS), connections)
        for some in _by(AT_ONCE, kinds):
            await asyncio.gather(*map(visit, some))


async def _fails(attempt: object) -> None:
    try:
        await attempt  # type: ignore[misc]
    except ClientError:
        return


async def _visits_without_a_loop(url: str, cut: str, stream_id: str, told: Told, connections: int) -> None:
    def visit_all() -> None:
        with Client(url) as client, Client(cut, max_failures=1) as cutting:
            for kind in itertools.islice(itertools.cycle(VISITS), connections):
                _visit(kind, client, cutting)

    def _visit(kind: str, client: Client, cutting: Client) -> None:
        if kind == "left":
            for event in client.resume(stream_id):
                if event.text:
                    break
            return
        calls: dict[str, Callable[[], object]] = {
            "whole": lambda: client.resume(stream_id).read(),
            "cut": lambda: cutting.resume(stream_id).read(),
            "refused": lambda: client.chat([]).read(),
            "question": client.list_sessions,
        }
        try:
            read = calls[kind]()
        except ClientError:
            assert kind != "whole"
        else:
            assert kind != "whole" or read == told.text

    await asyncio.to_thread(visit_all)


def _by(size: int, items: Iterable[str]) -> Iterable[list[str]]:
    iterator = iter(items)
    while some := list(itertools.islice(iterator, size)):
        yield some
