"""The report's plots, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .tables import Section

__all__ = ["draw"]

COLOURS = (
    *("#0f766e", "#b45309", "#6d28d9", "#64748b", "#0369a1", "#be123c"),
    *("#4d7c0f", "#a16207", "#7c3aed", "#334155", "#c026d3", "#0891b2"),
)


def draw(section: Section, figure: str, runs: Sequence[Mapping[str, Any]], look_up: Any, path: Path) -> None:
    """Draw one figure of a section: lines over a number, or bars over names."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    settings: dict[Any, Any] = {
        "svg.hashsalt": "aibind",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(settings):
        image, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
        parameters = [run["options"][section.parameter] for run in runs]
        series = [
            (name, colour, [look_up(run, f"{place}.{figure}") for run in runs])
            for (place, name), colour in zip(section.rows, COLOURS[: len(section.rows)], strict=True)
        ]
        series = [(name, colour, values) for name, colour, values in series if any(value for value in values)]
        if len(parameters) > 2 and all(isinstance(value, int | float) for value in parameters):
            _lines(axes, parameters, series)
            axes.set_xlabel(section.parameter)
        else:
            _bars(axes, [f"{value:,}" if isinstance(value, int) else str(value) for value in parameters], series)
            if len(parameters) > 1:
                axes.set_xlabel(section.parameter)
        axes.set_yscale("log")
        axes.set_ylabel(dict(section.columns)[figure])
        axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
        axes.set_axisbelow(True)
        image.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        image.savefig(path, facecolor="white", metadata={"Date": None})
        plt.close(image)


def _lines(axes: Any, parameters: Sequence[float], series: Sequence[tuple[str, str, Sequence[Any]]]) -> None:
    for name, colour, values in series:
        points = [(x, y) for x, y in zip(parameters, values, strict=True) if y]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=name)
    axes.set_xscale("log")
    axes.set_xticks(parameters, [f"{value:,.0f}" for value in parameters], minor=False)
    axes.minorticks_off()


def _bars(axes: Any, groups: Sequence[str], series: Sequence[tuple[str, str, Sequence[Any]]]) -> None:
    width = 0.8 / len(series)
    for number, (name, colour, values) in enumerate(series):
        places = [group - 0.4 + width * (number + 0.5) for group in range(len(groups))]
        bars = axes.bar(places, [value or 0 for value in values], width * 0.92, color=colour, label=name)
        axes.bar_label(
            bars,
            [f"{value:,.3g}" if value and value < 1000 else f"{value or 0:,.0f}" for value in values],
            fontsize=8,
            padding=2,
        )
    axes.set_xticks(range(len(groups)), groups)
    axes.margins(y=0.12)
