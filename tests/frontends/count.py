"""Count of the cases in which clients drive our apps, by what they do: ``python -m tests.frontends.count``.

A case is a collected test in which a client does at least one of the actions; the table has, for each client, the cases
of each.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.frontends.driver import FOLDER

__all__ = ["ACTIONS", "CLIENTS", "UNKNOWN", "Case", "cases_of", "collect", "lacking_in", "main"]

ACTIONS = (
    "send",
    "stream",
    "reload",
    "second tab",
    "stop",
    "regenerate",
    "edit",
    "tools",
    "approval",
    "error",
    "killed server",
)

CLIENTS = ("ai 7", "ai 6", "ai 5", "useChat in Chromium", "assistant-ui", "AG-UI", "CopilotKit")

UNKNOWN = {
    "ai 5": {"approval"},
    "assistant-ui": {"second tab"},  # it keeps what it resumes by in the storage of one tab
}
"""What a client has no notion of."""

Case = tuple[str, frozenset[str]]
"""A client, and what it does in one case."""


class _Collector:
    """A plugin that keeps what was collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep it."""
        self.items = session.items


def cases_of(items: Iterable[pytest.Item]) -> list[Case]:
    """Return the cases of collected tests."""
    cases: list[Case] = []
    for item in items:
        marks = list(item.iter_markers("front_end"))
        actions = frozenset(action for mark in marks for action in mark.args)
        if not actions <= {*ACTIONS}:
            raise pytest.UsageError(f"{item.nodeid} does what is not counted: {sorted(actions - {*ACTIONS})}")
        clients: list[str] = next((mark.kwargs["clients"] for mark in marks if "clients" in mark.kwargs), [])
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        clients = [str(value) for value in parameters if value in CLIENTS] or clients
        cases += [(client, actions) for client in clients if actions]
    return cases


def lacking_in(cases: Iterable[Case]) -> list[str]:
    """Return what clients have a notion of and do in no case."""
    done = {(client, action) for client, actions in cases for action in actions}
    wanted = ((client, action) for client in CLIENTS for action in ACTIONS if action not in UNKNOWN.get(client, ()))
    return [f"{client}: {action}" for client, action in wanted if (client, action) not in done]


def collect() -> list[pytest.Item]:
    """Collect the tests of clients in this folder."""
    collector = _Collector()
    files = [str(file) for file in FOLDER.glob("test_*.py") if "mark.front_end" in file.read_text()]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *files], [collector])
    if status != pytest.ExitCode.OK:
        raise SystemExit(output.getvalue())
    return collector.items


def main() -> None:
    """Print the count, and fail where a client lacks an action that it has a notion of."""
    cases = cases_of(collect())
    done = Counter((client, action) for client, actions in cases for action in actions)
    print(f"{len(cases)} cases")
    print(f"{'':20} {'cases':>6}", *(f"{action:>{max(6, len(action))}}" for action in ACTIONS))
    for client in CLIENTS:
        shown = ("–" if action in UNKNOWN.get(client, ()) else str(done[client, action]) for action in ACTIONS)
        number = sum(one == client for one, _ in cases)
        row = (f"{text:>{max(6, len(action))}}" for action, text in zip(ACTIONS, shown, strict=True))
        print(f"{client:20} {number:6}", *row)
    lacking = lacking_in(cases)
    if lacking:
        sys.exit(f"No case of {', '.join(lacking)}")


if __name__ == "__main__":
    main()
