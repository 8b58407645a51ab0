"""Four uvicorn workers on one file: any of them answers for a reply that another one produces."""

from __future__ import annotations

from pathlib import Path

from tests.support.workers import WORKERS

from .workers import ask_workers


async def test_any_worker_finds_and_follows_the_reply_of_another(tmp_path: Path) -> None:
    answers = await ask_workers(tmp_path / "chat.db")
    assert len(answers.opened_s) == len(answers.attached_s) == WORKERS
