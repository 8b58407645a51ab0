"""``python -m benchmarks report``: runs the benchmarks and writes their results into the documentation.

``docs/benchmarks.md`` gets a table and plots for each, the README a short table between its marks, and
``docs/assets/benchmarks/results.json`` everything, so that ``--only`` can take the other results from there.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .catalogue import NAMES, load
from .support.machine import describe_machine
from .support.printing import Progress, format_number
from .tables import HEADLINES, SECTIONS, Section

__all__ = ["write_report"]

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
INTRODUCTION = (
    "What aibind costs, beside other ways to do the same. A yardstick is measured in the same run as aibind, on the "
    "same machine and the same engine, taking turns; a range in parentheses is that of the rounds. `python -m "
    "benchmarks NAME` repeats one benchmark, and `python -m benchmarks report` writes this page: do not edit it."
)
LITTLE = 15  # per cent of the machine that other programs may take before the report mentions it

Runs = dict[str, list[dict[str, Any]]]


def write_report(names: Sequence[str], *, quick: bool = False, root: Path = ROOT) -> None:
    """Run benchmarks and write the report; those that are not named keep their figures of the last report."""
    from .plots import draw

    assets = root / "docs" / "assets" / "benchmarks"
    assets.mkdir(parents=True, exist_ok=True)
    stored = assets / "results.json"
    found: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {"runs": {}}
    for name in names:
        found["runs"][name] = _run_all(name, quick)
        found["machine"] = describe_machine()
        found["date"] = _today()
        stored.write_text(json.dumps(found, indent=1) + "\n")
    sections = [section for section in SECTIONS if section.benchmark in found["runs"]]
    for section in sections:
        for figure in section.plot:
            draw(section, figure, found["runs"][section.benchmark], _look_up, assets / _image(section, figure))
    (root / "docs" / "benchmarks.md").write_text(_page(found, sections))
    _put_into_readme(root / "README.md", _summary(found))


def _run_all(name: str, quick: bool) -> list[dict[str, Any]]:
    benchmark = load(name)
    runs: list[dict[str, Any]] = []
    sweep = benchmark.sweep if not quick else benchmark.sweep[:1]
    for number, arguments in enumerate(sweep, 1):
        progress = Progress(f"{name} {number}/{len(sweep)}")
        options = benchmark.parse([*arguments, *(benchmark.quick if quick else ())])
        runs.append({**benchmark.run(options, progress.say).to_json(), "date": _today()})
        progress.done()
    return runs


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _look_up(run: Mapping[str, Any], path: str) -> Any:
    value: Any = run
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _page(found: Mapping[str, Any], sections: Sequence[Section]) -> str:
    parts = [
        "# Benchmarks",
        INTRODUCTION,
        _machine_line(found),
    ]
    for section in sections:
        parts += _section(section, found["runs"][section.benchmark])
    return "\n\n".join(parts) + "\n"


def _section(section: Section, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    module = inspect.getmodule(load(section.benchmark).measure)
    text = inspect.cleandoc((module.__doc__ or "") if module else "")
    lines = [
        f"| {section.parameter} | | " + " | ".join(heading for _, heading in section.columns) + " |",
        "|---|---|" + "---:|" * len(section.columns),
    ]
    for run in runs:
        for place, name in section.rows:
            if _look_up(run, place) is None:
                continue
            cells = [_cell(run, f"{place}.{figure}") for figure, _ in section.columns]
            lines.append(f"| {format_number(run['options'][section.parameter])} | {name} | {' | '.join(cells)} |")
    parts = [f"## {section.title}", _to_markdown(text), "\n".join(lines)]
    served_by = {(run["options"]["loop"], run["options"]["http"]) for run in runs if "loop" in run["options"]}
    parts += [f"Served by uvicorn on {loop}, with {parser} as its HTTP parser." for loop, parser in sorted(served_by)]
    if dates := sorted({run["date"] for run in runs if "date" in run}):
        parts.append(f"Measured on {' and '.join(dates)}.")
    busy = [run["others_busy_percent"] for run in runs if run.get("others_busy_percent") is not None]
    if busy and max(busy) > LITTLE:
        parts.append(f"Other programs took up to {max(busy):.0f} % of the machine meanwhile, which lengthens times.")
    parts += [
        f"![{section.title}: {dict(section.columns)[figure]}](assets/benchmarks/{_image(section, figure)})"
        for figure in section.plot
    ]
    return parts


def _cell(run: Mapping[str, Any], path: str) -> str:
    value = _look_up(run, path)
    if value is None:
        return ""
    place, _, figure = path.rpartition(".")
    spread = _look_up(run, f"{place}.range.{figure}")
    text = format_number(value)
    return text if spread is None else f"{text} ({format_number(spread[0])} to {format_number(spread[1])})"


def _to_markdown(text: str) -> str:
    """Turn a module's docstring into Markdown: its literals and references become code."""
    for role in (":class:", ":func:", ":meth:", ":mod:"):
        text = text.replace(f"{role}`~", "`").replace(f"{role}`", "`")
    return text.replace("``", "`")


def _image(section: Section, figure: str) -> str:
    return f"{section.benchmark}-{figure.replace('_', '-')}.svg"


def _machine_line(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    return (
        f"Measured on {found['date']}: {machine['cores']} cores ({machine['processor']}, {machine['system']}), "
        f"{machine['memory_gib']} GiB of memory; Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"Node {machine['node']}."
    )


def _summary(found: Mapping[str, Any]) -> str:
    lines = ["| | aibind | others |", "|---|---:|---|"]
    for headline in HEADLINES:
        runs = found["runs"].get(headline.benchmark)
        if not runs or not -len(runs) <= headline.run < len(runs):
            continue
        run = runs[headline.run]
        ours = _look_up(run, f"{headline.ours}.{headline.figure}")
        theirs = _look_up(run, f"{headline.yardstick}.{headline.figure}")
        if ours is None or theirs is None:
            continue
        unit = f" {headline.unit}" if headline.unit else ""
        ours, theirs = format_number(ours), format_number(theirs)
        lines.append(f"| {headline.what} | **{ours}{unit}** | {theirs}{unit} ({headline.against}) |")
    return "\n".join(
        [*lines, "", f"{_machine_line(found)} `docs/benchmarks.md` has all figures, and how each was measured."]
    )


def _put_into_readme(path: Path, text: str) -> None:
    readme = path.read_text()
    if BEGIN not in readme or END not in readme:
        print(f"The README has no place for the figures: add {BEGIN} and {END}")
        return
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


assert {section.benchmark for section in SECTIONS} == set(NAMES)
