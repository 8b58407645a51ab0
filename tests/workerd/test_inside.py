"""Runs each check inside the Worker as a test of its own."""

from __future__ import annotations

import pytest

from .inside.catalogue import names
from .rig import Rig


@pytest.mark.parametrize(("name", "kind"), names(), ids=lambda value: value)
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
