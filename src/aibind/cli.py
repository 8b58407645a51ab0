"""The command ``aibind``, which needs the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDED = frozenset({"click", "rich"})


def main() -> None:
    """Run the command line. Exits with the reason when the extra ``cli`` is not installed."""
    try:
        from ._commands import aibind
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        sys.exit(f'The command needs {error.name}: install it with\n\n    pip install "aibind[cli]"')
    aibind(prog_name="aibind")
