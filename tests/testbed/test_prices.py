"""What a month of replies costs: the arithmetic, and what it says of the figures that are written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.workerd.prices import PRICES_OF, Operations, agents_reply, dollars_of


@pytest.mark.parametrize(
    ("operations", "dollars"),
    [
        (Operations(worker_requests=1), 0.30),
        (Operations(object_requests=1), 0.15),
        (Operations(object_s=10), 16.00),  # 1.28 million GB-s
        (Operations(rows_read=1000), 1.00),
        (Operations(rows_written=1), 1.00),
        (Operations(worker_requests=1.1, rows_read=3_381, rows_written=3_003), 3006.71),  # JavaScript's algorithm on D1
        (agents_reply(1000, 100, 0.1), 319.51),
    ],
)
def test_a_million_replies(operations: Operations, dollars: float) -> None:
    assert dollars_of(operations) == pytest.approx(dollars, abs=0.005)
    assert dollars_of(operations, 1000) == pytest.approx(dollars / 1000, abs=0.005)


def test_operations_add_up() -> None:
    one = Operations(worker_requests=1, rows_written=2)
    assert one + one * 0.5 == Operations(worker_requests=1.5, rows_written=3)


def test_the_guide_says_what_its_figures_cost() -> None:
    """Each row of its table: object requests, object seconds, rows read, rows written, dollars."""
    page = (Path(__file__).parents[2] / "docs" / "choosing-an-engine.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        *counts, dollars = map(float, row)
        assert dollars_of(Operations(1.1, *counts)) == pytest.approx(dollars, abs=0.06), row
    assert f"in {PRICES_OF}" in page
    agents = agents_reply(1000, 100, 0.1)
    assert f"| {agents.rows_written:g} | {dollars_of(agents):.1f} |" in page
    for price in ("0.30", "0.15", "0.001", "1.00", "12.50"):
        assert price in page
