"""Other people's frameworks: their agents as models, and their stores over a database of aibind.

Each is a package by itself, which needs the extra of its name and loads the framework when it is first used.
"""

from __future__ import annotations

__all__: list[str] = []
