"""The report: its page, its plots and the README's table, from quick runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import BEGIN, END, write_report


def test_a_report_of_two_benchmarks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("psutil")
    readme = tmp_path / "README.md"
    readme.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    write_report(["follow"], quick=True, root=tmp_path)
    write_report(["history"], quick=True, root=tmp_path)
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "| process | aibind |" in page
    assert "| 10 | Node's JSON |" in page
    assert "Measured on 20" in page
    images = tmp_path / "docs" / "assets" / "benchmarks"
    assert (images / "follow-p50-ms.svg").read_text().startswith("<?xml")
    text = readme.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith(f"{END}\n\nAfter\n")
    assert "| A token's age at a follower, same process (p50) | **" in text
    assert "old" not in text
    for written in (text, page):
        assert str(Path.home()) not in written
        assert str(tmp_path) not in written
