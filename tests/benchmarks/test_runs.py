"""Each benchmark runs, at tiny sizes, and prints the JSON that it promises. No time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.catalogue import NAMES, load
from benchmarks.support.measure import median_figures, percentile

ROOT = Path(__file__).parents[2]

D1 = {"statements", "round_trips", "rows_read", "rows_written", "seconds", "behind_ms"}
DELAYS = {"p50_ms", "p99_ms"}
BILLED = {"worker_requests", "object_requests", "object_s", "rows_read", "rows_written", "dollars"}
STORED = {"chunks_per_second", *DELAYS}
CAUGHT_UP = {"first_byte_ms", "seconds", "peak_mb"}
TURN = {"p50_ms", "load_p50_ms", "statements", "rows_read", "rows_written", "bytes"}

EXPECTED: dict[str, tuple[set[str], dict[str, set[str]]]] = {
    "d1_cost": (D1 | {"fewer"}, {"javascript": D1}),
    "d1_latency": (D1 | {"added_ms"}, {"javascript": D1}),
    "engines": (BILLED | {*DELAYS, "object", "d1"}, {"javascript": BILLED, "agents": BILLED}),
    "follow": (DELAYS, {"javascript": DELAYS}),
    "sqlite": (
        STORED | {"streamed", "http", "http_memory"},
        {"aiosqlite": STORED, "javascript": STORED, "node_memory": STORED, "node_file": STORED},
    ),
    "catch_up": (CAUGHT_UP, {"javascript": CAUGHT_UP, "node_memory": CAUGHT_UP}),
    "history": (
        {"seconds", "build_seconds", "save_seconds", "load_seconds"},
        {"node": {"seconds", "save_seconds", "load_seconds"}},
    ),
    "turns": (TURN | {"first_token_ms"}, {"json_table": TURN, "sqlite_session": TURN, "langgraph": TURN}),
    "search": (
        {
            "p50_ms",
            "p95_ms",
            "kinds",
            "owner",
            "cpu",
            "first_seconds",
            "after_turn_ms",
            "after_turn_long_ms",
            "index_percent",
        },
        {"scan": {"p50_ms", "p95_ms", "kinds"}},
    ),
    "server": (
        {*DELAYS, "kb_per_follower", "requests_per_second", "memory"},
        {"javascript": {*DELAYS, "kb_per_follower"}, "queues": {*DELAYS, "kb_per_follower"}},
    ),
    "formats": (
        {*DELAYS, "kb_per_follower", "ai_sdk", "ag_ui", "json_lines", "plain_text", "durable_response"},
        {},
    ),
    "durable_response": (
        {"cpu_us_per_event", "added_us_per_event", "memory", "named"},
        {"passthrough": {"cpu_us_per_event"}},
    ),
    "objects": ({"followers_1", "late", "elsewhere", "stop"}, {}),
    "import": ({"seconds", "modules"}, {"asyncio": {"seconds", "modules"}}),
}
"""The figures that must be there: of ours, and of each yardstick."""

CASES = [
    *((name, ()) for name in NAMES),
    ("follow", ("--where", "file")),
    ("follow", ("--where", "isolate")),
]
NEEDS = {"sqlite": ("aiosqlite",), "catch_up": ("psutil",), "server": ("psutil",), "formats": ("psutil",)}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_each_benchmark_is_expected_here() -> None:
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.timeout(300)  # the first may install Node packages and start workerd
@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "".join(value[1:])
)
def test_runs_and_prints_json(name: str, options: tuple[str, ...]) -> None:
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    done = run(name, *load(name).quick, *options, "--json")
    if "is not installed" in done.stderr and not os.environ.get("CI"):
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    ours, yardsticks = EXPECTED[name]
    assert result["benchmark"] == name
    assert ours <= result["ours"].keys()
    for yardstick, figures in yardsticks.items():
        assert figures <= result["yardsticks"][yardstick].keys()
    assert all(isinstance(result["ours"][key], int | float | dict) for key in ours)


def test_the_server_is_started_as_users_start_it() -> None:
    """With the event loop and the HTTP parser that ``uvicorn main:app`` takes here."""
    result = json.loads(run("server", *load("server").quick, "--only", "queues", "--json").stdout.splitlines()[-1])
    assert result["options"]["loop"] == ("uvloop" if find_spec("uvloop") else "asyncio")
    assert result["options"]["http"] == ("httptools" if find_spec("httptools") else "h11")


def test_a_table_without_json() -> None:
    done = run("import", *load("import").quick)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("import (rounds 1)\n")


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50, 99, 100)
    assert percentile([7.0], 99) == 7


def test_rounds_are_joined_to_their_median_and_range() -> None:
    joined = median_figures([{"p50_ms": value, "count": 5, "deep": {"seconds": value}} for value in (3.0, 1.0, 2.0)])
    assert joined == {
        "p50_ms": 2.0,
        "count": 5,
        "deep": {"seconds": 2.0, "range": {"seconds": [1.0, 3.0]}},
        "range": {"p50_ms": [1.0, 3.0]},
    }
