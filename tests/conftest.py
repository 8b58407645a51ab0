"""Settings for all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.contracts import ContractTable

# A slow machine is no failure: without these, one pause of 200 ms would be.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Print a table of the contracts' checks at the end."""
    config.pluginmanager.register(ContractTable())


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio alone."""
    return "asyncio"
