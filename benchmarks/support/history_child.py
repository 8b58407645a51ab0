"""Builds, saves and loads a chat: ``python -m benchmarks.support.history_child KIND FILE MESSAGES REPEATS``."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .chat import message


def build(count: int) -> Any:
    """Make a chat."""
    from aibind.history import ChatHistory

    chat = ChatHistory()
    for number in range(count):
        chat.append(message(number))
    return chat


def median_time(action: Callable[[], object], repeats: int) -> float:
    """Time an action."""
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure_ours(path: Path, count: int, repeats: int) -> dict[str, float]:
    """Build, load and save a chat."""
    from aibind.history import ChatHistory

    text = path.read_text(encoding="utf-8")
    build(10)
    began = time.perf_counter()
    build(count)
    build_s = time.perf_counter() - began
    load_s = median_time(lambda: ChatHistory.from_json(text), repeats)
    chat = ChatHistory.from_json(text)
    assert chat.to_json() == text
    saves: list[float] = []
    for _ in range(repeats):
        question = chat.append(message(0))
        chat.append(message(1))
        began = time.perf_counter()
        chat.to_json()
        saves.append(time.perf_counter() - began)
        chat.tree.remove(question)  # so that the chat stays as long as it is
    save_s = statistics.median(saves)
    store_save_s, store_load_s = asyncio.run(_through_store(chat, min(repeats, 20)))
    return {
        "seconds": round(load_s + save_s, 7),
        "build_seconds": round(build_s, 7),
        "save_seconds": round(save_s, 7),
        "load_seconds": round(load_s, 7),
        "store_save_seconds": round(store_save_s, 7),
        "store_load_seconds": round(store_load_s, 7),
    }


async def _through_store(chat: Any, repeats: int) -> tuple[float, float]:
    from aibind.sqlite import SqliteConversationStore, migrate, wrap_sqlite3

    saves: list[float] = []
    loads: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with wrap_sqlite3(Path(folder) / "chat.db") as client:
            await migrate(client)
            store = SqliteConversationStore(client)
            for _ in range(repeats):
                began = time.perf_counter()
                await store.save("benchmark", chat)
                saves.append(time.perf_counter() - began)
                began = time.perf_counter()
                await store.load("benchmark")
                loads.append(time.perf_counter() - began)
    return statistics.median(saves), statistics.median(loads)


def measure_json(path: Path, repeats: int) -> dict[str, float]:
    """Read and write the text with the json module alone."""
    text = path.read_text(encoding="utf-8")
    load_s = median_time(lambda: json.loads(text), repeats)
    value = json.loads(text)
    save_s = median_time(lambda: json.dumps(value, ensure_ascii=False, separators=(",", ":")), repeats)
    return {"seconds": round(load_s + save_s, 7), "save_seconds": round(save_s, 7), "load_seconds": round(load_s, 7)}


def main(kind: str, path: Path, count: int, repeats: int) -> None:
    """Do what is asked for, and print what was found."""
    if kind == "write":
        path.write_text(build(count).to_json(), encoding="utf-8")
        print(json.dumps({}))
    else:
        print(json.dumps(measure_ours(path, count, repeats) if kind == "ours" else measure_json(path, repeats)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
