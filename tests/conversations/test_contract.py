"""Every conversation store keeps the same contract, and a check that does not apply is skipped, not passed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from aibind.testing import (
    Check,
    CheckSkipped,
    ConversationStoreHarness,
    SessionStoreHarness,
    conversation_store_checks,
    session_store_checks,
)
from tests.support.harnesses import (
    MESSAGE_STORES,
    STORES,
    MemoryConversations,
    open_conversation_harness,
    open_message_harness,
)
from tests.support.tables import contract_params


@pytest.mark.parametrize("backend", contract_params("conversations", STORES))
@pytest.mark.parametrize("check", conversation_store_checks(), ids=lambda check: check.name)
async def test_conversation_store(check: Check[ConversationStoreHarness], backend: str, tmp_path: Path) -> None:
    async with open_conversation_harness(backend, tmp_path) as harness:
        await check.run(harness)


@pytest.mark.parametrize("backend", contract_params("conversations", MESSAGE_STORES))
@pytest.mark.parametrize("check", conversation_store_checks(), ids=lambda check: check.name)
async def test_message_store(check: Check[ConversationStoreHarness], backend: str, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        await check.run(harness)


@pytest.mark.parametrize("backend", contract_params("sessions", MESSAGE_STORES))
@pytest.mark.parametrize("check", session_store_checks(), ids=lambda check: check.name)
async def test_session_store(check: Check[SessionStoreHarness], backend: str, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        await check.run(harness)


class SlowToExpire(MemoryConversations):
    """Stores that keep a session for a minute at least, as KV does."""

    min_ttl_ms = 60_000


async def test_a_check_that_does_not_apply_is_skipped_with_its_reason() -> None:
    skipped = {}
    for check in conversation_store_checks():
        try:
            await check.run(SlowToExpire())
        except CheckSkipped as reason:
            skipped[check.name] = str(reason)
    assert skipped.keys() == {"an_expired_session_is_empty", "time_to_live_counts_from_the_last_save"}
    assert all("60000" in reason for reason in skipped.values())


TEST_FILE = """
import asyncio
import unittest

from aibind.testing import conversation_store_checks
from tests.conversations.test_contract import SlowToExpire


class Contract(unittest.TestCase):
    def test_expiry(self):
        (check,) = (check for check in conversation_store_checks() if check.name == "an_expired_session_is_empty")
        asyncio.run(check.run(SlowToExpire()))


def test_expiry_without_a_class():
    Contract("test_expiry").test_expiry()
"""


@pytest.mark.parametrize(
    "framework", [["pytest", "-rs", "-p", "no:cacheprovider"], ["unittest", "-v"]], ids=lambda f: f[0]
)
def test_test_frameworks_report_the_skip(framework: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_skip.py").write_text(TEST_FILE, encoding="utf-8")
    target = "test_skip.py" if framework[0] == "pytest" else "test_skip"
    run = subprocess.run(
        [sys.executable, "-m", *framework, target],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    output = run.stdout + run.stderr
    assert re.search("2 skipped" if framework[0] == "pytest" else r"OK \(skipped=1\)", output)
    assert "min_ttl_ms is 60000" in output
