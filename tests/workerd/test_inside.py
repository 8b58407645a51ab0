"""Each check inside the Worker, as a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from testbed.workerd.rig import Rig
from tests.support.tables import contract_marks

from .inside.catalogue import contract_of, names

KINDS = {
    "raw": "raw binding",
    "sdk": "the SDK's binding",
    "javascript": "the JavaScript packages' tables",
    "object raw": "raw storage",
    "object sdk": "the SDK's storage",
}


def params(checks: Iterable[tuple[str, str]]) -> Iterator[Any]:
    for name, kind in checks:
        found = contract_of(name)
        marks = contract_marks(found[0], f"{found[1]}, {KINDS[kind]}") if found else ()
        yield pytest.param(name, kind, marks=marks)


@pytest.mark.parametrize(("name", "kind"), list(params(names())), ids=lambda value: value)
def test_inside_workerd(rig: Rig, name: str, kind: str, request: pytest.FixtureRequest) -> None:
    run_inside(rig, "/check", name, kind, request)


def run_inside(rig: Rig, path: str, name: str, kind: str, request: pytest.FixtureRequest) -> None:
    request.node.user_properties.append(("inside workerd", f"{rig.setting.label}, {KINDS[kind]}"))
    rig.start()
    with rig.client("checks") as client:
        answer = client.post(path, json={"name": name, "kind": kind})
    if answer.status_code != 200:
        pytest.fail(f"The Worker failed:\n{answer.text}\n{rig.log()}", pytrace=False)
    if reason := answer.json()["skipped"]:
        pytest.skip(reason)
    if failure := answer.json()["failure"]:
        pytest.fail(f"Inside workerd, {rig.setting.label}, {KINDS[kind]}:\n{failure}", pytrace=False)
