"""The table of the contracts' checks at the end of a test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

CONFTEST = """
from tests.support.tables import ContractTable

def pytest_configure(config):
    config.addinivalue_line("markers", "contract(name, store)")
    config.pluginmanager.register(ContractTable())
"""

TESTS = """
from unittest import SkipTest

import pytest

from tests.support.tables import contract_marks, contract_params

@pytest.mark.parametrize("store", contract_params("streams", {"a": "First store", "b": "second store"}))
@pytest.mark.parametrize("number", range(3))
def test_a_store(store, number):
    if store == "b" and number == 0:
        raise SkipTest("it cannot do that")
    assert (store, number) != ("b", 1)

@pytest.fixture
def broken():
    raise RuntimeError

@pytest.fixture
def breaking():
    yield
    raise RuntimeError

@pytest.fixture
def absent():
    pytest.skip("it is not here")

def test_nothing_of_a_contract():
    pass

@pytest.mark.contract("conversations", "another")
def test_that_cannot_be_set_up(broken): ...

@pytest.mark.contract("conversations", "another")
def test_that_cannot_be_cleaned_up(breaking): ...

@pytest.mark.contract("conversations", "another")
def test_that_is_skipped(absent): ...
"""


def run(folder: Path, tests: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_stores.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def test_it_counts_by_contract_and_store(tmp_path: Path) -> None:
    lines = run(tmp_path, TESTS).splitlines()
    [title] = [number for number, line in enumerate(lines) if "= contracts of stores =" in line]
    assert lines[title + 1 : title + 5] == [
        "contract      | store        | passed | skipped | failed",
        "conversations | another      |      0 |       1 |      2",
        "streams       | First store  |      3 |       0 |      0",
        "streams       | second store |      1 |       1 |      1",
    ]
    assert " | " not in lines[title + 5]


def test_without_contracts_there_is_none(tmp_path: Path) -> None:
    output = run(tmp_path, "def test_nothing(): ...")
    assert "1 passed" in output
    assert "contracts of stores" not in output
