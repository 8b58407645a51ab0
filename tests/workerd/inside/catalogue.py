"""Every check that runs inside the Worker, by name. Importable anywhere, so that pytest can list them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from . import (
    agent_conversations,
    checkpoints,
    crowds,
    d1,
    durable_object,
    engine,
    faults,
    files,
    fixtures,
    imports,
    javascript,
    kv,
    odd,
    search,
    session_http,
    sessions,
    timers,
    workers_ai,
)
from .bench import KINDS, OBJECT_KINDS, Bench, checks_in_object, checks_of_each_engine, checks_of_each_kind, checks_once
from .stores import SUITES

__all__ = ["contract_of", "names", "names_in_objects", "run_check"]

_MODULES = (
    agent_conversations,
    checkpoints,
    crowds,
    d1,
    durable_object,
    engine,
    faults,
    files,
    fixtures,
    imports,
    javascript,
    kv,
    odd,
    search,
    session_http,
    sessions,
    timers,
    workers_ai,
)  # imported for the checks that they add


def _catalogue() -> Iterator[tuple[str, str, Callable[[Bench], Awaitable[None]]]]:
    for suite in SUITES:
        for check in suite.checks:
            for kind in suite.kinds:
                yield f"{suite.name}::{check.name}", kind, partial(_run_in, check, suite.open)
    for check in checks_of_each_engine.checks():
        for kind in (*KINDS[:2], *OBJECT_KINDS):
            yield _name(check), kind, check.run
    for check in checks_in_object.checks():
        for kind in OBJECT_KINDS:
            yield _name(check), kind, check.run
    for check in checks_of_each_kind.checks():
        for kind in KINDS[:2]:
            yield _name(check), kind, check.run
    for check in checks_once.checks():
        yield _name(check), "raw", check.run


def _name(check: Any) -> str:
    return f"{check.run.__module__.rpartition('.')[2]}::{check.name}"


async def _run_in(check: Any, harness: Any, bench: Bench) -> None:
    await check.run(harness(bench))


CHECKS = {(name, kind): run for name, kind, run in _catalogue()}


def names() -> list[tuple[str, str]]:
    """List the checks of bindings: a name, and the kind of binding that it runs with."""
    return [(name, kind) for name, kind in CHECKS if kind not in OBJECT_KINDS]


def names_in_objects() -> list[tuple[str, str]]:
    """List the checks that run in a Durable Object: a name, and the kind of storage that it runs with."""
    return [(name, kind) for name, kind in CHECKS if kind in OBJECT_KINDS]


def contract_of(name: str) -> tuple[str, str] | None:
    """Return the contract that a check belongs to, and the store that it holds to it; None for other checks."""
    suite_name = name.partition("::")[0]
    return next(((suite.contract, suite.store) for suite in SUITES if suite.name == suite_name), None)


async def run_check(name: str, bench: Bench) -> None:
    """Run a check on empty tables."""
    await bench.empty()
    await CHECKS[name, bench.kind](bench)
