"""Settings for all tests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.parallel import FileScheduling, sort_items
from tests.support.tables import ContractTable, WorkerdTable

# A slow machine is no failure: without these, one pause of 200 ms would be.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of these tests."""
    parser.addoption(
        "--every-combination",
        action="store_true",
        help="run each check inside workerd on every Python with every kind of binding, and look at the demo's page"
        " on each device in both colours",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Print the tables at the end."""
    config.pluginmanager.register(ContractTable())
    config.pluginmanager.register(WorkerdTable())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, in each process of a shared run."""
    if hasattr(config, "workerinput"):
        sort_items(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Hand out whole files to the processes of a shared run."""
    return FileScheduling(config, log)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio alone."""
    return "asyncio"
