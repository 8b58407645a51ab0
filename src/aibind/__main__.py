"""The command ``aibind``, as ``python -m aibind``."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
