"""The Workers that the tests run."""

from __future__ import annotations

from pathlib import Path

from testbed.workerd.rig import Rig, Worker
from testbed.workerd.setting import parse_setting

__all__ = ["open_rig"]

ROOT = Path(__file__).parents[2]
CHECKS = {
    "entry.py": ROOT / "tests" / "workerd" / "inside" / "entry.py",
    **{
        place: ROOT / place
        for place in (
            "testbed/__init__.py",
            "testbed/counting.py",
            "testbed/javascript.py",
            "tests/__init__.py",
            "tests/fixtures",
            "tests/support/__init__.py",
            "tests/support/differences.py",
            "tests/support/fault_runs.py",
            "tests/support/fault_turns.py",
            "tests/support/turns.py",
            "tests/workerd/__init__.py",
            "tests/workerd/inside",
        )
    },
}


OBJECTS = {"STREAMS": "StreamObject", "REPLIES": "ReplyObject", "SHELVES": "Chat@live"}


STAYS_AWAKE = "durable_object_io_tasks_prevent_eviction"
"""The flag with which an object outlives its clients before 2026-10-01; the oldest workerd does not know it."""

LIVE = {"entry.py": ROOT / "tests" / "workerd" / "live" / "entry.py"}

OBJECT_EXAMPLE = {"": ROOT / "examples" / "worker-durable-object" / "src"}

LIVE_OBJECTS = {"CHATS": "Chat", "BRIEF": "Brief", "BARE": "Bare", "CONTINUED": "Continued"}


def open_rig(setting: str) -> Rig:
    """Make the rig of a setting, such as ``py314``, not started yet.

    ``checks`` and ``second`` run the checks in ``inside/``, with a counting D1 binding; ``example`` is examples/worker,
    ``live`` has the objects of ``live/``, and ``objects`` is examples/worker-durable-object.
    """
    parsed = parse_setting(setting)
    flags = (STAYS_AWAKE,) if parsed.release.name == "newest" and parsed.date < "2026-10-01" else ()
    return Rig(
        parsed,
        [
            Worker("checks", CHECKS, meter=True, objects=OBJECTS, flags=flags),
            Worker("second", CHECKS, meter=True, objects=OBJECTS, flags=flags),
            Worker("example", {"": ROOT / "examples" / "worker" / "src"}),
            Worker("live", LIVE, objects=LIVE_OBJECTS, flags=flags),
            Worker("objects", OBJECT_EXAMPLE, meter=True, objects={"CHATS": "Chat"}),
        ],
    )
