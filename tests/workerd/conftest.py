"""One workerd for each Python, started when the first test needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from testbed.node import CannotInstallError, find_node
from testbed.workerd.bundle import PYTHONS
from testbed.workerd.rig import Rig

from .workers import open_rig


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Run workerd with the Python that the test is parametrised with; one at a time."""
    try:
        find_node()
    except CannotInstallError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    rig = open_rig(request.param)
    rig.start()
    yield rig
    rig.stop()


@pytest.fixture
def prepared(rig: Rig, request: pytest.FixtureRequest) -> Rig:
    """Make sure that workerd runs, and that the tables are there and empty."""
    request.node.user_properties.append(("inside workerd", f"{rig.python.label}, from outside"))
    rig.start()
    rig.ask("checks", "/empty")
    return rig


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        pythons = getattr(metafunc.module, "RUNS_ON", tuple(PYTHONS))
        metafunc.parametrize("rig", pythons, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "rig" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(300))  # the first installs, and starts workerd and its Python
