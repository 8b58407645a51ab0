"""A type checker refuses an end that is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from aibind.streams import StreamEnd, StreamPage, StreamStatus

ROOT = Path(__file__).parents[2]


def test_only_an_end_makes_a_stream_end() -> None:
    """The file's ignored errors must occur: an unused ignore is an error of strict mode."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "tests/streams/typed_ends.py"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_end_of_a_status_and_of_a_page() -> None:
    active, failed = StreamStatus("active", None, 2, 0), StreamStatus("error", "broke", 2, 0)
    assert active.end is None
    assert failed.end == StreamEnd("error", "broke")
    assert StreamPage(failed, ()).end == failed.end
    assert StreamPage(failed, (), has_more=True).end is None
    assert StreamPage(active, ()).end is None
