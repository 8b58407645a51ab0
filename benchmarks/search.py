"""How long a search over conversations takes in a SQLite file, beside a scan of the same table.

``--sessions`` conversations of ``--messages`` messages are saved, in English, German, Russian and Chinese, made of
words that are as unevenly frequent as those of a language. Then :meth:`SqliteMessageStore.search` looks for the 20
newest messages with frequent words, rare words, parts of words, two words, two letters, two Chinese characters, one
character, an emoji, and words that no message has: ``--queries`` of each. ``p50_ms`` and ``p95_ms`` are those of all
searches, ``kinds`` those of each kind, ``owner`` those of the same for one owner in a hundred, and ``cpu`` the
processor time of a search, which other programs lengthen less.

``first_seconds`` is the first search, which indexes all messages, and ``first_cpu_seconds`` its processor time.
``after_turn_ms`` is a search right after a turn was saved, ``after_turn_long_ms`` the same after a turn in a
conversation of ``--long`` messages. ``index_percent`` is the size of the index, in per cent of the file before it.

The yardstick ``scan`` runs ``LIKE '%…%' ORDER BY created DESC LIMIT 20`` over the rows of messages for the same
queries. It needs no index, is not told of accents and case beyond ASCII, and returns rows without passages.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from aibind.history import ChatHistory
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3

from .support.measure import percentile
from .support.result import Benchmark, Figures, Result, Say
from .support.search_texts import KINDS, SearchTexts

OWNERS = 100
SCAN = "SELECT session_id, id, data FROM aibind_messages WHERE data LIKE ? ORDER BY substr(data, -26) DESC LIMIT 20"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=100, help="messages in each of them")
    parser.add_argument("--long", type=int, default=100_000, help="messages in the long conversation")
    parser.add_argument("--queries", type=int, default=30, help="how many of each kind")


def run(options: argparse.Namespace, say: Say) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        ours, scan = asyncio.run(_measure(Path(folder) / "chats.db", options, say))
    names = ("sessions", "messages", "long", "queries")
    return Result("search", {name: getattr(options, name) for name in names}, ours, {"scan": scan})


async def _measure(path: Path, options: argparse.Namespace, say: Say) -> tuple[Figures, Figures]:
    texts = SearchTexts()
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        say("saving conversations")
        for number in range(options.sessions):
            await _save(store, texts, number, options.messages)
        await client.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        say("the first search")
        used, began = time.process_time(), time.perf_counter()
        await store.search("first")
        first_s, first_cpu_s = time.perf_counter() - began, time.process_time() - used
        await client.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        indexed_size = path.stat().st_size
        ours: dict[str, list[float]] = {}
        owned: list[float] = []
        cpu: list[float] = []
        scan: dict[str, list[float]] = {}
        found = 0
        for kind in KINDS:
            say(f"searching: {kind}")
            queries = texts.queries(kind, options.queries)
            for number, query in enumerate(queries):
                used, began = time.process_time(), time.perf_counter()
                found += len(await store.search(query))
                ours.setdefault(kind, []).append(_ms_since(began))
                cpu.append((time.process_time() - used) * 1000)
                began = time.perf_counter()
                await store.search(query, owner=_owner(number))
                owned.append(_ms_since(began))
                if number < 5:  # a scan takes as long for each query
                    began = time.perf_counter()
                    await client.execute(SCAN, (f"%{query}%",))
                    scan.setdefault(kind, []).append(_ms_since(began))
        say("searching after turns")
        turns = await _after_turns(store, texts, [f"session-{n}" for n in _some(options.sessions, options.queries)])
        await _save(store, texts, options.sessions, options.long)
        await store.search("first")
        long_turns = await _after_turns(store, texts, [f"session-{options.sessions}"] * options.queries)
    return (
        {
            **_figures(ours),
            "owner": _delays(owned),
            "cpu": _delays(cpu),
            "first_seconds": round(first_s, 3),
            "first_cpu_seconds": round(first_cpu_s, 3),
            "after_turn_ms": round(percentile(turns, 50), 3),
            "after_turn_long_ms": round(percentile(long_turns, 50), 3),
            "data_mb": round(size / 1e6, 1),
            "index_percent": round(100 * (indexed_size - size) / size),
            "hits": found,
        },
        _figures(scan),
    )


async def _save(store: SqliteMessageStore, texts: SearchTexts, number: int, count: int) -> None:
    chat = ChatHistory()
    for message in texts.messages(number, count):
        chat.append(message)
    await store.save(f"session-{number}", chat, owner=_owner(number))


async def _after_turns(store: SqliteMessageStore, texts: SearchTexts, session_ids: list[str]) -> list[float]:
    """Return how long searches took that were each made after a turn."""
    found: list[float] = []
    chats: dict[str, ChatHistory] = {}
    for number, session_id in enumerate(session_ids):
        chat = chats.get(session_id) or await store.load(session_id)
        chats[session_id] = chat
        for message in texts.messages(number, 2):
            chat.append(message)
        await store.save(session_id, chat)
        began = time.perf_counter()
        await store.search("schiff")
        found.append(_ms_since(began))
    return found


def _some(count: int, wanted: int) -> list[int]:
    return random.Random(2).choices(range(count), k=wanted)


def _owner(number: int) -> str:
    return f"owner-{number % OWNERS}"


def _figures(times: dict[str, list[float]]) -> Figures:
    return {
        **_delays([value for values in times.values() for value in values]),
        "kinds": {kind.replace(" ", "_"): _delays(values) for kind, values in times.items()},
    }


def _delays(values: list[float]) -> Figures:
    return {"p50_ms": round(percentile(values, 50), 3), "p95_ms": round(percentile(values, 95), 3)}


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


BENCHMARK = Benchmark(
    "search",
    "how long a search over conversations takes",
    add_options,
    run,
    sweep=(("--sessions", "10"), ("--sessions", "100"), ("--sessions", "1000")),
    quick=("--sessions", "4", "--messages", "4", "--long", "6", "--queries", "3"),
)
