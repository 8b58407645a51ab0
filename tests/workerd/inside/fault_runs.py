"""The seeded runs under faults on D1."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aibind.cloudflare import wrap_d1
from aibind.sqlite import SqliteMessageStore
from aibind.sqlite.client import SqliteClient
from tests.support.fault_runs import Plan, Violation, run_plan
from tests.support.fault_turns import run_turns

__all__ = ["play"]

LEASE_S = 1.5

LATENCY_S = 0.004
"""Seconds that a call takes: the rig's D1 answers without a pause, and a loop over it would let no timer run."""


async def play(env: Any, kind: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Run seeds side by side, and return what a campaign adds up of each."""
    logging.getLogger("aibind").setLevel(logging.CRITICAL)  # every fault would be told

    def connect() -> SqliteClient:
        return wrap_d1(env.NATIVE_DB)

    async def run(seed: int) -> dict[str, Any]:
        try:
            if kind == "reply":
                outcome = await run_plan(Plan.draw(seed, LEASE_S), connect, latency_s=LATENCY_S)
                return {"seed": seed, **outcome.summary()}
            return {"seed": seed, "faults": await run_turns(seed, connect, SqliteMessageStore, latency_s=LATENCY_S)}
        except Violation as violation:
            return {"seed": seed, "violation": str(violation)}

    return await asyncio.gather(*map(run, seeds))
