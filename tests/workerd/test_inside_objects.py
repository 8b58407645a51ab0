"""Each check inside a Durable Object, as a test."""

from __future__ import annotations

import pytest

from testbed.workerd.rig import Rig

from .inside.catalogue import names_in_objects
from .test_inside import params, run_inside
from .test_objects import EVERY, RUNS_ON

__all__ = ["EVERY", "RUNS_ON"]


@pytest.mark.parametrize(("name", "kind"), list(params(names_in_objects())), ids=lambda value: value)
def test_inside_an_object(rig: Rig, name: str, kind: str, request: pytest.FixtureRequest) -> None:
    run_inside(rig, "/object/check", name, kind, request)
