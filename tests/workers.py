"""Campaign: how fast four workers answer for each other's replies, on a file: ``python -m tests.workers``."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from tests.processes.workers import ask_workers


def main() -> None:
    """Run the campaign, and print how long workers took that are not the producer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        answers = asyncio.run(ask_workers(Path(folder) / "chat.db", options.rounds))
    for name, by_worker in (("sessions/{id}", answers.opened_s), ("sessions/{id}/stream", answers.attached_s)):
        times = sorted(1000 * seconds for found in by_worker.values() for seconds in found)
        p50, p99 = statistics.median(times), times[int(0.99 * (len(times) - 1))]
        print(f"{name}: {len(times)} answers of {len(by_worker)} workers; p50 {p50:.1f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
