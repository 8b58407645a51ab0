"""Each check inside the Worker, as a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.workerd.rig import Rig
from tests.support.tables import contract_marks

from .inside.catalogue import contract_of, names

KINDS = {"raw": "raw binding", "sdk": "the SDK's binding", "javascript": "the JavaScript packages' tables"}


def params() -> Iterator[Any]:
    for name, kind in names():
        found = contract_of(name)
        marks = contract_marks(found[0], f"{found[1]}, {KINDS[kind]}") if found else ()
        yield pytest.param(name, kind, marks=marks)


@pytest.mark.parametrize(("name", "kind"), list(params()), ids=lambda value: value)
def test_inside_workerd(rig: Rig, name: str, kind: str, request: pytest.FixtureRequest) -> None:
    request.node.user_properties.append(("inside workerd", f"{rig.python.label}, {kind} bindings"))
    rig.start()
    with rig.client("checks") as client:
        answer = client.post("/check", json={"name": name, "kind": kind})
    if answer.status_code != 200:
        pytest.fail(f"The Worker failed:\n{answer.text}\n{rig.log()}", pytrace=False)
    if reason := answer.json()["skipped"]:
        pytest.skip(reason)
    if failure := answer.json()["failure"]:
        pytest.fail(f"Inside workerd, {rig.python.label}, {kind} bindings:\n{failure}", pytrace=False)
