"""One seeded run of a turn under faults: writers, followers, a stop, cleanup and recovery, each a process by itself.

Everything that happens is drawn from the seed: how often calls fail, when the producer's database goes away and for how
long, who stops the reply and when, who follows it from where and is cut off. At the end all faults are healed, and what
followers saw, the stream and the conversation are compared. It runs on any clock and any database, in Workers as well.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aibind._time import sleep, timeout
from aibind.errors import AibindError, ModelError, RequestError, StreamNotFoundError
from aibind.history import ChatHistory, TreeNode
from aibind.models import ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from aibind.server import StreamHandler, Tool
from aibind.sqlite.client import SqliteClient, WatchableSqliteClient
from aibind.sqlite.message_store import SqliteMessageStore
from aibind.sqlite.stream_store import SqliteStreamStore
from aibind.streams import SseParser, StreamChunk, StreamEnd, StreamStatus
from aibind.testing import Faults, FaultySqliteClient

__all__ = ["Outcome", "Plan", "Violation", "run_plan"]

WORDS = ("word", "\n", "é", "👋", "\n\n", '"', "\u2028", " ", "\\", "a longer piece of text, as models give")

MAX_ATTEMPTS = 6

PATIENCE_LEASES = 30
"""Leases within which every follower and the producer must end, beside what a busy machine may take."""

BUSY_S = 150


class Violation(AssertionError):  # noqa: N818  # it is a finding
    """Raised when a run breaks a promise."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A follower: the process that it reads in, when it begins, and after how many messages it is cut off each time."""

    process: int
    begins_s: float
    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a seed decides. Times are in seconds; None is never."""

    seed: int
    lease_s: float
    pieces: tuple[str, ...]
    rounds: int
    pause_s: float
    fails: bool
    rates: tuple[float, ...]
    watched: bool
    outage: tuple[float, float] | None
    stop: tuple[int, float] | None
    readers: tuple[Reader, ...]
    recovers_s: float | None
    sweeps_s: float | None

    @classmethod
    def draw(cls, seed: int, lease_s: float) -> Plan:
        """Return the plan of a seed."""
        random = Random(seed)
        count = random.randint(1, 80)
        lasts_s = random.choice((0.2, 0.7, 1.5)) * lease_s

        def some_time() -> float:
            return random.random() * lasts_s * 1.2

        outage = None
        if random.random() < 0.4:
            lengths = (0.3, 0.8, 1.5, 3.0, 6.0)  # leases: a hiccup, nearly a lease, longer than one, much longer
            outage = some_time(), random.choice(lengths) * lease_s
        return cls(
            seed,
            lease_s,
            tuple(f"{number}{random.choice(WORDS)}" for number in range(count)),
            random.choice((1, 1, 2, 3)),
            lasts_s / count,
            random.random() < 0.1,
            tuple(random.choice((0.0, 0.1, 0.3, 0.5)) for _ in range(4)),
            random.random() < 0.5,
            outage,
            (random.randrange(2), some_time()) if random.random() < 0.4 else None,
            tuple(
                Reader(
                    random.randrange(3), some_time(), tuple(random.randint(1, 20) for _ in range(random.randrange(4)))
                )
                for _ in range(random.randint(1, 4))
            ),
            random.uniform(0.1, 1.0) * lease_s if random.random() < 0.5 else None,
            random.uniform(0.1, 1.0) * lease_s if random.random() < 0.5 else None,
        )

    def round(self, number: int) -> Sequence[str]:
        """Return what the model says in one round."""
        size = -(-len(self.pieces) // self.rounds)
        return self.pieces[number * size : (number + 1) * size]

    @property
    def text(self) -> str:
        """All that the model says."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Seen:
    """What one follower saw."""

    text: str = ""
    last_id: str = "0"
    error: str | None = None
    stopped: bool = False
    done: bool = False


@dataclass(slots=True)
class Outcome:
    """The outcome of a run: how the stream ended, how its followers did, and the faults that struck."""

    end: StreamEnd | None = None
    exact: int = 0
    cut_short: int = 0
    struck: Counter[str] = field(default_factory=Counter[str])

    def summary(self) -> dict[str, Any]:
        """Return what a campaign adds up."""
        return {
            "end": None if self.end is None else self.end.error or self.end.state,
            "exact": self.exact,
            "cut_short": self.cut_short,
            "faults": self.struck.total(),
        }


class WatchedClient(FaultySqliteClient):
    """A faulty client of a file that notices changes without a query, so that stores treat it as local."""

    def __init__(self, client: WatchableSqliteClient, faults: Faults) -> None:
        super().__init__(client, faults)
        self._watched = client

    @property
    def change_token(self) -> int:
        return self._watched.change_token

    async def wait_for_change(self, since: int, timeout_s: float) -> int:
        return await self._watched.wait_for_change(since, timeout_s)


class AcknowledgedStore(SqliteStreamStore):
    """Remembers the chunks whose storing was confirmed to the producer."""

    def __init__(self, client: SqliteClient, **options: Any) -> None:
        super().__init__(client, **options)
        self.acknowledged: dict[str, dict[int, str]] = {}

    async def append_many(
        self,
        stream_id: str,
        chunks: Sequence[str],
        *,
        first_seq: int | None = None,
        renew: bool = False,
        epoch: int | None = None,
    ) -> list[int]:
        seqs = await super().append_many(stream_id, chunks, first_seq=first_seq, renew=renew, epoch=epoch)
        self.acknowledged.setdefault(stream_id, {}).update(zip(seqs, chunks, strict=True))
        return seqs

    async def finish(
        self,
        stream_id: str,
        end: StreamEnd,
        *,
        chunks: Sequence[str] = (),
        first_seq: int | None = None,
        epoch: int | None = None,
    ) -> StreamEnd:
        actual = await super().finish(stream_id, end, chunks=chunks, first_seq=first_seq, epoch=epoch)
        if first_seq is not None and actual is end:  # else it had ended before
            self.acknowledged.setdefault(stream_id, {}).update(enumerate(chunks, first_seq))
        return actual


class PacedModel:
    """Says the pieces of a plan at its pace, in rounds that end with a call of a tool; fails in the end if it is to."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.calls = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        number = sum(message["role"] == "tool" for message in request.messages)
        self.calls += not number
        for piece in self._plan.round(number):
            await sleep(self._plan.pause_s)
            yield TextDelta(piece)
        if number < self._plan.rounds - 1:
            yield ToolCall(f"call {number}", "look", "{}")
            return
        if self._plan.fails:
            raise ModelError("The model broke off")
        yield Usage(1, len(self._plan.pieces))


class Process:
    """A server: a connection with its own faults, and a handler."""

    def __init__(self, plan: Plan, number: int, client: SqliteClient, latency_s: float) -> None:
        self.faults = Faults(
            plan.seed * 10 + number,
            rate=plan.rates[number],
            max_delay_s=plan.lease_s / 4,
            timeout_s=plan.lease_s / 3,
            latency_s=latency_s,
        )
        watched = plan.watched and isinstance(client, WatchableSqliteClient)
        faulty = WatchedClient(client, self.faults) if watched else FaultySqliteClient(client, self.faults)  # type: ignore[arg-type]
        self.streams = AcknowledgedStore(faulty, lease_ms=round(plan.lease_s * 1000))
        self.model = PacedModel(plan)
        self.handler = StreamHandler(
            model=self.model,
            resumable=True,
            store=self.streams,
            conversations=SqliteMessageStore(faulty),
            toolsets={"eyes": [Tool("look", "Looks", _look)]},
            heartbeat_ms=plan.lease_s * 1000,
        )


async def run_plan(plan: Plan, connect: Callable[[], SqliteClient], *, latency_s: float = 0.0) -> Outcome:
    """Carry a plan out, and return its outcome. Raises Violation when a promise was broken.

    ``connect`` returns a new client of a database with aibind's tables.
    """
    run = _Run(plan, connect, latency_s)
    try:
        async with timeout(PATIENCE_LEASES * plan.lease_s + BUSY_S):
            return await run.play()
    except TimeoutError as error:
        raise Violation(f"the run did not end: {run.describe()}") from error


class _Run:
    def __init__(self, plan: Plan, connect: Callable[[], SqliteClient], latency_s: float) -> None:
        self.plan = plan
        self.clean = connect()
        self.processes = [Process(plan, number, connect(), latency_s) for number in range(4)]
        self.session_id = f"session {plan.seed}"
        self.stream_id = ""
        self.prompt = ""
        self.attempts = 0
        self.followers: list[Seen] = []
        self.outcome = Outcome()

    async def play(self) -> Outcome:
        seen = Seen()
        body = await self._ask()
        if body is None:
            await self._settle()
            return self.outcome
        first = asyncio.ensure_future(self._read(body, seen, ()))
        while not self.stream_id:
            await sleep(0)
        readers = [Seen() for _ in self.plan.readers]
        self.followers = [seen, *readers]
        following = [self._follow(reader, one) for reader, one in zip(self.plan.readers, readers, strict=True)]
        beside = [asyncio.ensure_future(task) for task in (self._recover(), self._sweep())]
        try:
            await asyncio.gather(first, self._break_off(), self._stop(), *following)
            # The producer stores what is left, and its turn, after its followers saw the end.
            while self.processes[0].handler.live_stream(self.session_id):
                await sleep(self.plan.lease_s / 10)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        await self._settle()
        await self._check([seen, *readers])
        return self.outcome

    def describe(self) -> str:
        """Return what a run that hangs may wait for."""
        waiting = [number for number, seen in enumerate(self.followers) if not seen.done]
        live = self.processes[0].handler.live_stream(self.session_id)
        return f"attempt {self.attempts}, followers {waiting} of {len(self.followers)} wait, live stream {live}"

    # --- what happens ---

    async def _ask(self) -> Any:
        """Ask until a reply begins, as a user does who sees that it did not; return its body."""
        for self.attempts in range(1, MAX_ATTEMPTS + 1):
            self.prompt = f"question {self.attempts}"
            with suppress(AibindError):
                asked = {"prompt": self.prompt, "sessionId": self.session_id, "toolset": "eyes"}
                return (await self.processes[0].handler.stream(asked)).body
        return None

    async def _read(self, body: Any, seen: Seen, cuts: Sequence[int]) -> bool:
        """Read a body, at most so many messages; return whether it came to its end."""
        parser = SseParser()
        count = 0
        try:
            async for data in body:
                for message in parser.feed(data):
                    if message.event == "stream-id":
                        self.stream_id = message.data
                        continue
                    if message.event == "done":
                        seen.done = True
                        return True
                    if message.event == "error":
                        seen.error = message.data
                    elif message.event == "stopped":
                        seen.stopped = True
                    elif not message.event:
                        seen.text += message.data
                    seen.last_id = message.last_event_id or seen.last_id
                    count += 1
                    if cuts and count >= cuts[0] and seen.error is None and not seen.stopped:
                        return False
        finally:
            await body.aclose()
        raise Violation(f"A body ended without done: {seen}")

    async def _follow(self, reader: Reader, seen: Seen) -> None:
        """Follow from a process, and from the next one after each cut."""
        await sleep(reader.begins_s)
        cuts = list(reader.cuts)
        process = reader.process
        failures = 0
        while True:
            handler = self.processes[process].handler
            try:
                body: Any = (await handler.resume(self.stream_id, seen.last_id)).body
            except RequestError as error:  # it has been removed
                seen.error, seen.done = str(error), True
                return
            except AibindError as error:
                failures += 1
                if failures > 50:
                    seen.error, seen.done = str(error), True
                    return
                await sleep(self.plan.lease_s / 10)
                continue
            if await self._read(body, seen, cuts):
                return
            cuts.pop(0)
            process = (process + 1) % 3

    async def _break_off(self) -> None:
        """Let the producer's database go away, and come back."""
        if self.plan.outage is not None:
            begins_s, lasts_s = self.plan.outage
            await sleep(begins_s)
            self.processes[0].faults.down = True
            await sleep(lasts_s)
            self.processes[0].faults.down = False

    async def _stop(self) -> None:
        if self.plan.stop is None:
            return
        process, at_s = self.plan.stop
        await sleep(at_s)
        for _ in range(20):
            with suppress(AibindError):
                await self.processes[process].handler.stop({"id": self.stream_id})
                return
            await sleep(self.plan.lease_s / 20)

    async def _recover(self) -> None:
        await self._repeat(self.plan.recovers_s, lambda: self.processes[2].handler.recover(self.session_id))

    async def _sweep(self) -> None:
        process = self.processes[3]
        await self._repeat(self.plan.sweeps_s, process.handler.sweep if self.plan.seed % 2 else process.streams.cleanup)

    async def _repeat(self, every_s: float | None, do: Callable[[], Awaitable[object]]) -> None:
        while every_s is not None:
            await sleep(every_s)
            with suppress(AibindError):
                await do()

    async def _settle(self) -> None:
        """Heal all faults, and wait for what is still on its way."""
        for process in self.processes:
            process.faults.down = False
            await process.faults.wait_settled()
            await process.handler.aclose()
            self.outcome.struck.update(process.faults.struck)

    # --- what is there in the end ---

    async def _check(self, followers: Sequence[Seen]) -> None:
        plan = self.plan
        streams = SqliteStreamStore(self.clean, lease_ms=round(plan.lease_s * 1000))
        conversations = SqliteMessageStore(self.clean)
        await sleep(1.2 * plan.lease_s)
        handler = StreamHandler(model=PacedModel(plan), resumable=True, store=streams, conversations=conversations)
        await handler.recover(self.session_id)
        chat = await conversations.load(self.session_id)
        status, chunks = await self._stored(streams)
        _expect(status is not None, "the stream is gone, long before its time to live is over")
        assert status is not None
        end = self.outcome.end = status.end
        _expect(end is not None, "the stream never ends")
        assert end is not None
        stored = "".join(event.data for chunk in chunks for event in chunk.events if event.is_text)
        self._check_stream(end, chunks, stored)
        self._check_followers(followers, end, stored)
        self._check_conversation(chat, end, stored)

    async def _stored(self, streams: SqliteStreamStore) -> tuple[StreamStatus | None, list[StreamChunk]]:
        chunks: list[StreamChunk] = []
        while True:
            try:
                page = await streams.read_page(self.stream_id, len(chunks))
            except StreamNotFoundError:
                return None, chunks
            chunks += page.chunks
            if not page.has_more:
                return page.status, chunks

    def _check_stream(self, end: StreamEnd, chunks: Sequence[StreamChunk], stored: str) -> None:
        _expect([chunk.seq for chunk in chunks] == list(range(1, len(chunks) + 1)), "the stored seqs have gaps")
        _expect(self.plan.text.startswith(stored), f"the stored text is none of the model's: {stored!r}")
        if end.state == "done":
            _expect(stored == self.plan.text, "the stream is done, and not all of its text is stored")
        acknowledged = self.processes[0].streams.acknowledged.get(self.stream_id, {})
        lost = {seq: data for seq, data in acknowledged.items() if len(chunks) < seq or chunks[seq - 1].data != data}
        _expect(not lost, f"acknowledged chunks are lost: {lost}, of {chunks}")

    def _check_followers(self, followers: Sequence[Seen], end: StreamEnd, stored: str) -> None:
        for seen in followers:
            _expect(seen.done, f"a follower did not come to an end: {seen}")
            _expect(self.plan.text.startswith(seen.text), f"a follower saw what the model did not say: {seen}")
            if seen.error is not None:
                _expect(bool(seen.error), "a follower was not told what failed")
                self.outcome.cut_short += 1
                continue
            _expect(end.state != "error", f"a follower was not told that the reply failed: {seen}")
            _expect(seen.stopped == (end.state == "stopped"), f"a follower saw another end than {end}: {seen}")
            _expect(seen.text == stored, f"the stream is {end}, and {_difference(seen.text, stored)}")
            self.outcome.exact += 1

    def _check_conversation(self, chat: ChatHistory, end: StreamEnd, stored: str) -> None:
        # All alternatives: a question that was not answered may have been stored late.
        nodes = [
            node for node_id in json.loads(chat.to_json())["nodes"] if (node := chat.tree.get(node_id)) is not None
        ]
        questions = [node for node in nodes if node.message["content"] == self.prompt]
        _expect(len(questions) == 1, f"the question is stored {len(questions)} times")
        _expect(self.processes[0].model.calls <= self.attempts, "the model was asked more than once")
        forked = [node for node in nodes if len(_answers(chat, node)) > 1]
        _expect(not forked, f"messages have several answers: {forked}")
        answer: list[TreeNode] = []
        while below := _answers(chat, answer[-1] if answer else questions[0]):
            answer += below
        if not answer:
            _expect(not stored, f"the answer is lost: {stored!r} is stored in its stream, which is {end}")
            return
        told = "".join(node.message["content"] for node in answer if node.message["role"] == "assistant")
        _expect(told == stored, f"the stream is {end}, and in its conversation {_difference(told, stored)}")
        called = [call["id"] for node in answer for call in node.message.get("tool_calls", ())]
        answered = [node.message["tool_call_id"] for node in answer if node.message["role"] == "tool"]
        _expect(len({*called}) == len(called) and answered == called[: len(answered)], f"calls {called}, {answered}")
        _expect(answer[-1].message["role"] == "assistant", "the conversation ends with the result of a tool")
        finish = answer[-1].metadata.get("finish", "done")
        _expect(finish == end.state, f"the conversation says {finish}, and the stream {end.state}")


def _answers(chat: ChatHistory, node: TreeNode) -> list[TreeNode]:
    """Return what is below a message and is no question: a question that failed may be gone on from."""
    below = [chat.tree.get(child) for child in node.children]
    return [child for child in below if child is not None and child.message["role"] != "user"]


async def _look() -> str:
    return "seen"


def _difference(seen: str, stored: str) -> str:
    same = next((at for at, (one, other) in enumerate(zip(seen, stored, strict=False)) if one != other), None)
    if same is None:
        same = min(len(seen), len(stored))
    return f"{seen[same : same + 40]!r} was seen where {stored[same : same + 40]!r} is stored, after {same} characters"


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)
