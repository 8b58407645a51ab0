"""One workerd for each setting, started when the first test needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from testbed.node import CannotInstallError, find_node
from testbed.workerd.rig import Rig
from testbed.workerd.setting import EVERY_SETTING

from .inside.catalogue import contract_of
from .workers import open_rig

NEWEST = EVERY_SETTING[0]
SHARE = ("py314", "py313-2026-04-01", "py312-oldest")
"""Settings of a run without ``--every-combination``: each Python, both sides of 2026-10-01, both workerds."""
BINDINGS = ("d1", "kv")
"""The modules of checks of the bindings themselves."""

FROM_WORKER = "streams_from_worker::"
"""Checks of streams in an object from a Worker: with Python 3.12 the SDK cannot call objects."""

LARGE = (
    "files::a_file_of_five_megabytes_comes_back",
    "kv::a_conversation_over_25_mib_is_refused_first",
    "kv::a_large_conversation_is_kept",
    "search::a_message_of_5_mb_and_a_conversation_of_20_mb_are_found",
    "sessions_on_d1::a_message_of_5_mb_is_kept",
)
"""Checks of megabytes, which take seconds each."""


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Run workerd with the setting that the test is parametrised with; one at a time."""
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
    request.node.user_properties.append(("inside workerd", f"{rig.setting.label}, from outside"))
    rig.start()
    rig.ask("checks", "/empty")
    return rig


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        every = metafunc.config.getoption("every_combination")
        settings = getattr(metafunc.module, "EVERY", EVERY_SETTING)
        if not every:
            settings = getattr(metafunc.module, "RUNS_ON", SHARE)
        metafunc.parametrize("rig", settings, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    dropped: list[pytest.Item] = []
    every = config.getoption("every_combination")
    for item in items:
        if "rig" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(300))  # the first installs, and starts workerd and its Python
        if isinstance(item, pytest.Function) and item.originalname.startswith("test_inside_"):
            setting, name, kind = (str(item.callspec.params[of]) for of in ("rig", "name", "kind"))
            if not can_run(setting, name) or not (every or is_in_short_run(setting, name, kind)):
                dropped.append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        left_out = set(dropped)
        items[:] = [item for item in items if item not in left_out]


def can_run(setting: str, name: str) -> bool:
    """Return whether the Python of a setting can run a check."""
    return not (name.startswith(FROM_WORKER) and setting.startswith("py312"))


def is_in_short_run(setting: str, name: str, kind: str) -> bool:
    """Return whether a check runs in a setting with a kind of binding or storage without ``--every-combination``.

    The newest Python in the newest workerd runs all. In the others each check runs on what is raw, and on the SDK's
    bindings those of the bindings themselves: what the SDK adds, and SQL to another table, is the same for all that
    stands on them. In an object the contracts of stores run on both kinds of storage.
    """
    if name in LARGE or name.startswith(FROM_WORKER):
        return setting == NEWEST and kind == "raw"
    return (
        setting == NEWEST
        or kind in ("raw", "object raw")
        or (kind == "sdk" and name.partition("::")[0] in BINDINGS)
        or (kind == "object sdk" and contract_of(name) is not None)
    )
