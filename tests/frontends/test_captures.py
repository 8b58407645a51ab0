"""Answers that clients accept and refuse, as they were captured: ours are made to these rules."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.frontends.captured import captured
from tests.frontends.driver import VERSIONS, Driver, running_driver

pytestmark = pytest.mark.anyio

CAPTURED = captured("ai-sdk-accepts")["cases"]
DECODED = captured("assistant-ui-decoder-accepts")["cases"]
RUN = captured("ag-ui-accepts")["cases"]

REFUSED_BEFORE_7 = frozenset({"finishReason interrupted", "reset-step"})
"""What version 7 accepts and older ones do not know."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one driver."""
    return "asyncio"


@pytest.fixture(scope="module")
async def driver() -> AsyncIterator[Driver]:
    async with running_driver() as driver:
        yield driver


@pytest.fixture(scope="module")
async def agents() -> AsyncIterator[Driver]:
    async with running_driver("agent.mjs") as driver:
        yield driver


@pytest.mark.parametrize("name", CAPTURED)
@pytest.mark.parametrize("version", VERSIONS)
async def test_captured(driver: Driver, version: int, name: str) -> None:
    case: dict[str, Any] = CAPTURED[name]
    state = await driver.run("read", version=version, answer=case["answer"], status=case["httpStatus"])
    if version < 7 and name in REFUSED_BEFORE_7:
        assert (state["status"], state["error"].partition(":")[0]) == ("error", "AI_TypeValidationError")
        return
    assert state["status"] == case["status"]
    kind, _, message = (case["error"] or "").partition(":")
    if case["httpStatus"] != 200 and version < 7:  # older versions have no class for them
        assert state["error"] == f"Error:{message}"
    elif kind == "AI_UIMessageStreamError" and version == 5:
        assert state["error"]
        return
    else:
        assert (state["error"] or "").partition(":")[0] == kind
    last = state["messages"][-1]
    assert (last["parts"] if last["role"] == "assistant" else None) == case["parts"]


@pytest.mark.parametrize("name", DECODED)
async def test_decoded_by_assistant_ui(driver: Driver, name: str) -> None:
    case: dict[str, Any] = DECODED[name]
    if case["error"] is not None:
        with pytest.raises(AssertionError, match=re.escape(case["error"])):
            await driver.run("decode", answer=case["body"])
        return
    message = await driver.run("decode", answer=case["body"])
    assert message["status"] == case["status"]
    assert [_untimed(part) for part in message["parts"]] == [_untimed(part) for part in case["parts"]]


def _untimed(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "timing"}


@pytest.mark.parametrize("name", RUN)
async def test_run_by_ag_ui(agents: Driver, name: str) -> None:
    case: dict[str, Any] = RUN[name]
    run = await agents.run("answer", **case["response"])
    assert run["error"] == case["outcome"].get("error")
    if run["error"] is None:  # else it depends on what was read together with what is wrong
        assert run["messages"][1:] == case["messages"]
    assert [event for event in run["events"] if event["type"] == "RUN_ERROR"] == case["runErrors"]
