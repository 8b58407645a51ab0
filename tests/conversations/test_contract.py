"""Every conversation store keeps the same contract."""

from __future__ import annotations

from pathlib import Path
from unittest import SkipTest

import pytest

from aibind.testing import conversation_store_checks
from tests.support.contracts import contract_params
from tests.support.harnesses import STORES, MemoryConversations, open_conversation_harness

CHECKS = {check.name: check for check in conversation_store_checks()}


@pytest.mark.parametrize("backend", contract_params("conversations", STORES))
@pytest.mark.parametrize("name", CHECKS)
async def test_conversation_store(name: str, backend: str, tmp_path: Path) -> None:
    async with open_conversation_harness(backend, tmp_path) as harness:
        await CHECKS[name].run(harness)


class KeepsLong(MemoryConversations):
    """Opens stores as one does whose shortest time to live is a minute, as KV's is."""

    min_ttl_ms = 60_000


@pytest.mark.parametrize("name", ["an_expired_session_is_empty", "time_to_live_counts_from_the_last_save"])
async def test_what_would_take_too_long_is_skipped_with_its_reason(name: str) -> None:
    with pytest.raises(SkipTest, match="min_ttl_ms is 60000"):
        await CHECKS[name].run(KeepsLong())
