"""The page that ``aibind demo`` serves: a chat over the very parts that an application would use.

It needs the extra ``demo``. :func:`~aibind.demo.run.run_demo` is the command; :func:`~aibind.demo.assembly.open_demo`
puts the parts together, and is worth reading as an example.
"""

from __future__ import annotations

__all__: list[str] = []
