"""One seeded run of writers that save turns of one conversation under faults, and save again what failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from random import Random

from aibind._time import sleep
from aibind.conversations import ConversationStore
from aibind.errors import ConversationConflictError, TransientError
from aibind.history import ChatHistory
from aibind.sqlite.client import SqliteClient
from aibind.testing import Faults, FaultySqliteClient

from .fault_runs import Violation

__all__ = ["run_turns"]

WRITERS = 3
TURNS = 6


async def run_turns(
    seed: int,
    connect: Callable[[], SqliteClient],
    open_store: Callable[[SqliteClient], ConversationStore],
    *,
    latency_s: float = 0.001,
) -> int:
    """Save turns from several writers; return the number of faults that struck. Raises Violation for a lost turn.

    A writer that cannot load or save tries again, with the chat that it has. Every turn must be there exactly once, its
    answer below its question, however often its save was made, lost or delivered late.
    """
    session_id = f"turns {seed}"
    random = Random(seed)
    sources = [
        Faults(seed * 10 + number, rate=random.choice((0.1, 0.3, 0.5)), timeout_s=0.05, latency_s=latency_s)
        for number in range(WRITERS)
    ]

    async def write(number: int) -> None:
        store = open_store(FaultySqliteClient(connect(), sources[number]))
        chat = ChatHistory()
        for turn in range(TURNS):
            if turn == 0 or random.random() < 0.7:  # else it goes on with what it has
                chat = await _load(store, session_id)
            chat.append({"role": "user", "content": f"question {number}.{turn}"})
            await _save(store, session_id, chat)
            chat.append({"role": "assistant", "content": f"answer {number}.{turn}"})
            await _save(store, session_id, chat)
            await sleep(random.random() * 0.02)

    await asyncio.gather(*map(write, range(WRITERS)))
    for faults in sources:
        await faults.wait_settled()
    _check(await open_store(connect()).load(session_id))
    return sum(faults.struck.total() for faults in sources)


async def _save(store: ConversationStore, session_id: str, chat: ChatHistory) -> None:
    while True:
        try:
            await store.save(session_id, chat)
        except ConversationConflictError:
            continue
        except TransientError:
            await sleep(0.005)
        else:
            return


async def _load(store: ConversationStore, session_id: str) -> ChatHistory:
    while True:
        try:
            return await store.load(session_id)
        except TransientError:
            await sleep(0.005)


def _check(chat: ChatHistory) -> None:
    nodes = json.loads(chat.to_json())["nodes"]
    texts = sorted(node["message"]["content"] for node in nodes.values())
    numbers = [f"{number}.{turn}" for number in range(WRITERS) for turn in range(TURNS)]
    expected = sorted(f"{kind} {number}" for kind in ("question", "answer") for number in numbers)
    if texts != expected:
        missing, extra = [t for t in expected if t not in texts], [t for t in texts if texts.count(t) > 1]
        raise Violation(f"Of the turns {missing} are lost, and {extra} are there twice")
    for node in nodes.values():
        text = node["message"]["content"]
        if text.startswith("answer"):
            above = nodes[node["parentId"]]["message"]["content"]
            if above != text.replace("answer", "question"):
                raise Violation(f"{text!r} is below {above!r}")
