"""The page on Workers names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "cloudflare.md").read_text(encoding="utf-8")
    table = text.partition("## Which test shows it")[2]
    named = set(re.findall(r"`([a-z]\w+_\w+)`", table)) - {"test_"}
    assert len(named) > 30
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert named <= set(re.findall(r"def (\w+)\(", source)), named - set(re.findall(r"def (\w+)\(", source))
    for file in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / file).exists(), file
