"""Every stream store keeps the same contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibind.testing import Check, StreamStoreHarness, stream_store_checks
from tests.support.harnesses import STREAM_STORES, open_stream_harness
from tests.support.tables import contract_params


@pytest.mark.parametrize("backend", contract_params("streams", STREAM_STORES))
@pytest.mark.parametrize("check", stream_store_checks(), ids=lambda check: check.name)
async def test_stream_store(check: Check[StreamStoreHarness], backend: str, tmp_path: Path) -> None:
    async with open_stream_harness(backend, tmp_path) as harness:
        await check.run(harness)
