"""aibind.cloudflare on a Python that runs in no Worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import aibind.cloudflare
from aibind.cloudflare import KVConversationStore, WorkersAIModel, wrap_d1


@pytest.mark.parametrize("use", [wrap_d1, KVConversationStore, WorkersAIModel], ids=lambda use: use.__name__)
@pytest.mark.parametrize("binding", [None, object(), "DB"], ids=lambda binding: type(binding).__name__)
def test_using_it_says_what_is_missing(use: Callable[[Any], Any], binding: object) -> None:
    with pytest.raises(
        RuntimeError, match=rf"{use.__name__} works inside a Cloudflare Worker.*no pyodide.*wrap_sqlite3"
    ):
        use(binding)


def test_importing_it_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import aibind.cloudflare as c; c.wrap_d1, c.KVConversationStore;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['aibind']"


def test_importing_it_imports_little() -> None:
    code = (
        "import sys, aibind.cloudflare;"
        "print(sorted(name for name in sys.modules if name.startswith('aibind.cloudflare')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['aibind.cloudflare']"


def test_its_names_are_there() -> None:
    assert aibind.cloudflare.__all__ == sorted(aibind.cloudflare.__all__)
    for name in aibind.cloudflare.__all__:
        assert getattr(aibind.cloudflare, name).__name__ == name
    assert set(aibind.cloudflare.__all__) <= set(dir(aibind.cloudflare))
    with pytest.raises(AttributeError, match="no attribute 'wrapD1'"):
        aibind.cloudflare.wrapD1  # noqa: B018
