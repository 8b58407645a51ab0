"""Measure in workerd what is not to be asserted: ``python -m tests.workerd.measure [py314 …]`` prints JSON lines."""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from testbed.workerd.rig import Rig

from .client import Reader
from .workers import open_rig

TOKENS = 1000
RATE = 100


def cost(rig: Rig, delay_ms: int) -> dict[str, Any]:
    """Stream a reply with one live reader, each call to D1 taking ``delay_ms`` more."""
    rig.meter("checks", delay_ms)
    answer = rig.ask("checks", "/cost", {"id": f"cost-{delay_ms}", "tokens": TOKENS, "rate": RATE})
    counted = rig.meter("checks", 0)
    return {
        "added_ms": delay_ms,
        "statements": counted["statements"],
        "round_trips": counted["roundTrips"],
        "rows_read": counted["rowsRead"],
        "rows_written": counted["rowsWritten"],
        "model_s": round(answer["model_s"], 3),
        "behind_ms": round((answer["stream_s"] - answer["model_s"]) * 1000),
        "longer_percent": round((answer["stream_s"] / answer["model_s"] - 1) * 100, 2),
    }


def follow(rig: Rig, tokens: int, rate: int) -> dict[str, Any]:
    """Follow a stream in another isolate; tell how long after the live reader each token arrived."""
    rig.meter("second", 0)
    stream_id = f"followed-{tokens}"
    asked = {"id": stream_id, "tokens": tokens, "rate": rate, "keep_alive": True, "through": "entry"}
    sent: list[float] = []
    with ThreadPoolExecutor() as threads, Reader(rig.urls["checks"], "/produce", asked) as reader:
        reader.read_until("word0")
        following = threads.submit(rig.ask, "second", "/follow", {"id": stream_id})
        while b"event: done" not in reader.received:
            sent += [time.time() * 1000] * (reader.received.count(b"word") - len(sent))
            reader.read_more()
        sent += [time.time() * 1000] * (tokens - len(sent))
        arrived = following.result()["arrived"]
    behind = [there - here for here, there in zip(sent, arrived, strict=True)]
    cuts = statistics.quantiles(behind, n=100)
    statements = rig.meter("second", 0)["statements"]
    return {
        "reply_s": tokens / rate,
        "p50_ms": round(cuts[49]),
        "p95_ms": round(cuts[94]),
        "max_ms": round(max(behind)),
        "statements_per_s": round(statements / (tokens / rate), 2),
    }


def main() -> None:
    for name in sys.argv[1:] or ["py314"]:
        rig = open_rig(name)
        rig.start()
        try:
            print(json.dumps({"python": name, "import_ms": rig.ask("second", "/import")}), flush=True)
            rig.ask("checks", "/empty")
            rig.ask("checks", "/cost", {"id": "warm", "tokens": 50, "rate": RATE})
            for delay_ms in (0, 20, 50):
                print(json.dumps({"python": name, "cost": cost(rig, delay_ms)}), flush=True)
            for tokens, rate in ((TOKENS, RATE), (1500, 50)):  # the longer a reply, the rarer writes and looks
                print(json.dumps({"python": name, "follow": follow(rig, tokens, rate)}), flush=True)
        finally:
            rig.stop()


if __name__ == "__main__":
    main()
