"""Faults of the machine, as the table of promises names them."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.processes.worst_days import FAULTS, Days, Outcome


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome | BaseException]:
    """Every fault at once, each in a server of its own: most of the time they wait."""

    async def run() -> list[Outcome | BaseException]:
        return await asyncio.gather(*(fault(Days()) for fault in FAULTS.values()), return_exceptions=True)

    return dict(zip(FAULTS, asyncio.run(run()), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the resources of another process, which Linux alone allows")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_worst_day(fault: str, outcomes: dict[str, Outcome | BaseException]) -> None:
    outcome = outcomes[fault]
    if isinstance(outcome, BaseException):
        raise outcome
    print(outcome)
