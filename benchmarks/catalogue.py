"""Every benchmark, by its name on the command line."""

from __future__ import annotations

from importlib import import_module

from .support.result import Benchmark

__all__ = ["NAMES", "load"]

_MODULES = {
    "d1_cost": "d1_cost",
    "d1_latency": "d1_latency",
    "engines": "engines",
    "follow": "follow",
    "sqlite": "sqlite",
    "catch_up": "catch_up",
    "history": "history",
    "turns": "turns",
    "server": "server",
    "formats": "formats",
    "durable_response": "durable_response",
    "objects": "objects",
    "search": "search",
    "import": "import_time",
}

NAMES = tuple(_MODULES)


def load(name: str) -> Benchmark:
    """Import a benchmark."""
    module = import_module(f"benchmarks.{_MODULES[name]}")
    benchmark: Benchmark = module.BENCHMARK
    return benchmark
