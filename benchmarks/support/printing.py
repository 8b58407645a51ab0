"""Progress on standard error, tables on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .result import Figures, Result

__all__ = ["Progress", "flatten", "format_number", "print_table", "table_lines"]


class Progress:
    """Progress on standard error: one line that changes on a terminal, a line each elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show what begins now."""
        line = f"{time.monotonic() - self._began:6.1f} s  {self._name}: {text}"
        print(
            f"\r\x1b[K{line}" if self._terminal else line,
            file=sys.stderr,
            end="" if self._terminal else "\n",
            flush=True,
        )

    def done(self) -> None:
        """Clear the line."""
        if self._terminal:
            print("\r\x1b[K", file=sys.stderr, end="", flush=True)


def flatten(figures: Figures, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Give every single figure, with its path as its name; ranges are left out."""
    for name, value in figures.items():
        if name == "range":
            continue
        if isinstance(value, Mapping):
            yield from flatten(dict(value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def format_number(value: Any) -> str:
    """Write a figure for people: three significant digits, whole numbers in groups of three digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{round(value):,}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table_lines(result: Result) -> list[list[str]]:
    """Lay a result out: a row a figure, a column a contender."""
    columns = {"ours": dict(flatten(result.ours))}
    columns |= {name: dict(flatten(figures)) for name, figures in result.yardsticks.items()}
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    lines = [["", *columns]]
    lines += [[name, *(format_number(figures.get(name, "–")) for figures in columns.values())] for name in names]
    return lines


def print_table(result: Result) -> None:
    """Print a result as a table."""
    options = ", ".join(f"{name} {format_number(value)}" for name, value in result.options.items())
    print(f"{result.benchmark} ({options})")
    lines = table_lines(result)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join((first, *rest)).rstrip())
    for note in result.notes:
        print(note)
