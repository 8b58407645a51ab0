"""Settings of a rig: which Python runs in which workerd, by which compatibility date."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .install import HERE, NEWEST_NEEDS, install_node_modules

__all__ = ["EVERY_SETTING", "PYTHONS", "RELEASES", "Python", "Release", "Setting", "parse_setting"]


@dataclass(frozen=True, slots=True)
class Python:
    """One Python that Workers run, as its Pyodide from npm."""

    name: str
    version: str
    platform: str
    abi: str

    @property
    def label(self) -> str:
        """The name of this Python for people: "Python 3.13"."""
        return f"Python {self.version.rpartition('.')[0]}"

    @property
    def folder(self) -> Path:
        """The folder of its Pyodide, installed."""
        return install_node_modules(HERE) / f"pyodide-{self.name.removeprefix('py')}"

    def describe(self) -> dict[str, str]:
        """Return what the loader in the Worker must know."""
        pyodide = json.loads((self.folder / "package.json").read_text())["version"]
        return {"version": pyodide, "python": self.version, "platform": self.platform, "abi": self.abi}


PYTHONS = {
    "py314": Python("py314", "3.14.2", "emscripten_5_0_3", "2026_0"),
    "py313": Python("py313", "3.13.2", "emscripten_4_0_9", "2025_0"),
    "py312": Python("py312", "3.12.1", "emscripten_3_1_58", "2024_0"),
}


@dataclass(frozen=True, slots=True)
class Release:
    """A workerd, with the miniflare that runs it."""

    name: str
    folder: Path
    """The folder of its package-lock.json."""
    oldest_node: int
    date: str
    """The compatibility date of its Workers, unless a setting has another."""


RELEASES = {
    "newest": Release("newest", HERE / "newest", NEWEST_NEEDS, "2026-11-01"),
    "oldest": Release("oldest", HERE, 20, "2026-04-01"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A Python, the workerd that runs it, and the compatibility date of the Workers."""

    python: Python
    release: Release
    date: str

    @property
    def label(self) -> str:
        """The name of this setting for people: "Python 3.13, newest workerd, 2026-11-01"."""
        return f"{self.python.label}, {self.release.name} workerd, {self.date}"


EVERY_SETTING = tuple(f"{python}{rest}" for rest in ("", "-2026-04-01", "-oldest") for python in PYTHONS)
"""Each Python in the newest workerd, on both sides of 2026-10-01, when Durable Objects began to outlive their clients;
and in the oldest workerd."""

_NAME = re.compile(r"(?P<python>py\d+)(?:-(?P<release>oldest))?(?:-(?P<date>\d{4}-\d\d-\d\d))?")


def parse_setting(name: str) -> Setting:
    """Return the setting of a name such as ``py314``, ``py314-oldest`` or ``py313-2026-04-01``.

    Raises ValueError for other names.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["python"] not in PYTHONS:
        raise ValueError(f"{name!r} is not the name of a setting: write one like {', '.join(EVERY_SETTING)}")
    release = RELEASES[found["release"] or "newest"]
    return Setting(PYTHONS[found["python"]], release, found["date"] or release.date)
