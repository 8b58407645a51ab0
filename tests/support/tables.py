"""Tables at the end of a test run: the checks of each contract by store, and what ran inside workerd."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

__all__ = ["ContractTable", "WorkerdTable", "contract_marks", "contract_params"]

OUTCOMES = ("passed", "skipped", "failed")
"""From best to worst."""


def contract_marks(contract: str, store: str) -> tuple[pytest.MarkDecorator, ...]:
    """Return the marks of a test that holds a store to a contract: it counts in the table."""
    return (pytest.mark.contract(contract, store),)


def contract_params(contract: str, stores: Mapping[str, str]) -> list[Any]:
    """Return the values of a test's parameter, one for each store; ``stores`` has their names in the table."""
    return [pytest.param(backend, marks=contract_marks(contract, store)) for backend, store in stores.items()]


class ContractTable:
    """A pytest plugin that counts the tests which are marked with ``contract(name, store)``."""

    def __init__(self) -> None:
        self._outcomes: dict[str, tuple[str, str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let the marks travel in the reports, which know nothing of marks."""
        for item in items:
            for mark in item.iter_markers("contract"):
                item.user_properties.append(("contract", " | ".join(mark.args)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended: a failure to set it up or to clean up after it counts as well."""
        for name, value in report.user_properties:
            if name == "contract" and (report.when == "call" or report.outcome != "passed"):
                contract, _, store = str(value).partition(" | ")
                known = self._outcomes.get(report.nodeid, ("", "", "passed"))[2]
                self._outcomes[report.nodeid] = (contract, store, max(report.outcome, known, key=OUTCOMES.index))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table."""
        counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for contract, store, outcome in self._outcomes.values():
            counts[contract, store][outcome] += 1
        if not counts:
            return
        rows: list[tuple[str, ...]] = [("contract", "store", *OUTCOMES)]
        for place in sorted(counts, key=lambda place: (place[0], place[1].casefold())):
            rows.append((*place, *(str(counts[place][name]) for name in OUTCOMES)))  # noqa: PERF401
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        terminalreporter.section("contracts of stores")
        for contract, store, *figures in rows:
            cells = [contract.ljust(widths[0]), store.ljust(widths[1])]
            cells += [figure.rjust(width) for figure, width in zip(figures, widths[2:], strict=True)]
            terminalreporter.line(" | ".join(cells))


class WorkerdTable:
    """A pytest plugin that counts the tests which note where inside workerd they ran."""

    def __init__(self) -> None:
        self._ran: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test."""
        if report.when == "call":
            for name, value in report.user_properties:
                if name == "inside workerd":
                    self._ran[str(value), report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table."""
        if not self._ran:
            return
        terminalreporter.section("inside workerd")
        for place in sorted({place for place, _ in self._ran}):
            counts = (f"{count} {outcome}" for (where, outcome), count in self._ran.items() if where == place)
            terminalreporter.line(f"{place}: {', '.join(counts)}")
        terminalreporter.line(f"{sum(self._ran.values())} tests ran inside workerd")
