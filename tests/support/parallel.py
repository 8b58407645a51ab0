"""Which tests may run in one process after another, and which go first, when a run is shared by a few processes.

``pytest -n 3`` hands out whole files, except that the tests inside workerd stay together by their setting: they share
one workerd. Units in ``FIRST`` take longest and begin early, so that no process is left with one of them at the
end.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

__all__ = ["FIRST", "FileScheduling", "sort_items", "unit_of"]

FIRST = (
    "tests/workerd/py314",
    "tests/benchmarks/test_runs.py",
    "tests/test_structure.py",  # short: it waits behind the tests inside workerd
    "tests/workerd/py313-2026-04-01",
    "tests/workerd/py312-oldest",
    "tests/demo/test_browser.py",
    "tests/cloudflare/test_wrangler.py",
    "tests/demo/test_impatient.py",
    "tests/e2e/test_recordings.py",
    "tests/demo/test_screenshots.py",
)


_SETTING = re.compile(r"[\[-](py3\d+(?:-oldest)?(?:-\d{4}-\d\d-\d\d)?)[]-]")


def unit_of(nodeid: str) -> str:
    """Return what a test is handed out with: its file, or inside workerd all tests of a setting."""
    file = nodeid.partition("::")[0]
    setting = _SETTING.search(nodeid) if file.startswith("tests/workerd/") else None
    return f"tests/workerd/{setting[1]}" if setting else file


def sort_items(items: list[pytest.Item]) -> None:
    """Put the tests that take longest first; the others keep their order."""
    places = {unit: place for place, unit in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(unit_of(item.nodeid), len(FIRST)))


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out the units in the order of :func:`sort_items`."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
