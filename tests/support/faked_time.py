"""A process whose time of day is set while it runs, by libfaketime; its monotonic clock stays right."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

__all__ = ["FakedTime", "needs_libfaketime"]

PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")


def _find() -> Path | None:
    named = os.environ.get("AIBIND_LIBFAKETIME")
    if named:
        return Path(named)
    for place in PLACES:
        for pattern in ("faketime/libfaketimeMT.so.1", "*/faketime/libfaketimeMT.so.1"):
            for found in Path(place).glob(pattern):
                return found
    return None


_LIBRARY = _find() if shutil.which("sh") else None

needs_libfaketime = pytest.mark.skipif(
    _LIBRARY is None, reason="needs libfaketime: install the package libfaketime, or set AIBIND_LIBFAKETIME to its path"
)


class FakedTime:
    """The time of day of a process that is started with :attr:`environment`."""

    def __init__(self, file: Path, offset_s: int = 0) -> None:
        self._file = file
        self.set(offset_s)

    def set(self, offset_s: int) -> None:
        """Set the clock to so many seconds after the machine's; the process notices within a second."""
        self.offset_s = offset_s
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n")
        new.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make a process take its time from here."""
        return {
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
