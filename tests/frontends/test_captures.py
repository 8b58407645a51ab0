"""Answers that the AI SDK accepts and refuses, as they were captured: our chunks are made to these rules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.frontends.driver import Driver, running_driver

pytestmark = pytest.mark.anyio

CAPTURED = json.loads((Path(__file__).parents[1] / "fixtures/frontends/ai-sdk-accepts.json").read_text())["cases"]

REFUSED_BY_6 = frozenset({"finishReason interrupted", "reset-step"})
"""What version 7 accepts and version 6 does not know."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one driver."""
    return "asyncio"


@pytest.fixture(scope="module")
async def driver() -> AsyncIterator[Driver]:
    async with running_driver() as driver:
        yield driver


@pytest.mark.parametrize("name", CAPTURED)
@pytest.mark.parametrize("version", [7, 6])
async def test_captured(driver: Driver, version: int, name: str) -> None:
    captured: dict[str, Any] = CAPTURED[name]
    state = await driver.run("read", version=version, answer=captured["answer"], status=captured["httpStatus"])
    if version == 6 and name in REFUSED_BY_6:
        assert (state["status"], state["error"].partition(":")[0]) == ("error", "AI_TypeValidationError")
        return
    assert state["status"] == captured["status"]
    kind, _, message = (captured["error"] or "").partition(":")
    if captured["httpStatus"] != 200 and version == 6:  # it has no class for them
        assert state["error"] == f"Error:{message}"
    else:
        assert (state["error"] or "").partition(":")[0] == kind
    last = state["messages"][-1]
    assert (last["parts"] if last["role"] == "assistant" else None) == captured["parts"]
