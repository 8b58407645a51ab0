"""The rules of CONTRIBUTING's section "Language" and "Names" that a program can check, over the source and the pages.

A failure lists every offence as ``file:line: what to change``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.support import PAGES, ROOT, parse_python

SOURCES = sorted(
    file for folder in ("src", "testbed") for file in (ROOT / folder).rglob("*.py") if "node_modules" not in file.parts
)
PROSE = [*PAGES, ROOT / "examples" / "worker" / "README.md"]

FORBIDDEN = {
    "anew": "again",
    "whoever": "a caller who, the reader who",
    "nobody can": "name what cannot happen",
    "for ever": "indefinitely, without a limit",
    "what is no": "a value that is not",
    "the one that": "name the thing",
    "of its own": "separate",
    "as one likes": "freely",
    "makes? room for": "frees space for",
    "gives? itself up": "stops",
    "in (?:its|their) own words": "with its own message",
    "rooms": "packages or modules",
}
"""Words to avoid, as regular expressions, with what to write instead."""

OPENINGS = {
    "module": ("How", "Is", "Keeps", "Says", "Tells", "What", "Where"),
    "class": ("Gives", "Is", "Says", "Tells"),
    "data class": ("Carries", "Gives", "Has", "Holds", "How", "Is", "Keeps", "Says", "Tells", "What"),
    "protocol": ("Answers", "Gives", "Has", "Holds", "Is", "Keeps", "Runs", "Says", "Takes", "Tells"),
    "function": ("Gives", "Is", "Say", "Says", "Tell", "Tells"),
    "property": ("Count", "Decode", "Get", "Give", "Is", "List", "Make", "Recommend", "Return", "Say", "Tell", "Tells"),
    "attribute": ("Gives", "How", "Is", "Says", "Tells", "What", "Where"),
}
"""First words that the docstring of each kind must not have."""

ADVICE = {
    "module": "begin with a noun phrase",
    "class": "begin with a noun phrase",
    "data class": "begin with a noun phrase",
    "protocol": "begin with a noun phrase for what implements it",
    "function": 'begin with an imperative ("Return …")',
    "property": 'begin with a noun phrase or "Whether …"',
    "attribute": "begin with a noun phrase",
    "exception": 'begin with "Raised when …"',
}

SUPERLATIVES = re.compile(r"_*(?:most|least|longest|largest|deepest)(?:_|$)", re.IGNORECASE)


def find_openings(source: str) -> Iterator[tuple[int, str]]:
    """Find docstrings that do not open as their kind should."""
    for kind, line, text in docstrings_of(source):
        first = re.match(r"\w+", text)
        if kind == "exception":
            wrong = not re.match(r"Raised (?:when|by|for) |The root of ", text)
        else:
            wrong = first is not None and first[0] in OPENINGS[kind]
        if wrong:
            yield line, f"{kind}: {ADVICE[kind]}: {text.splitlines()[0][:60]!r}"


def docstrings_of(source: str) -> Iterator[tuple[str, int, str]]:
    """Yield the kind, line and text of every docstring, those after assignments included."""
    tree = parse_python(source)
    for node in ast.walk(tree):
        body: list[Any] = getattr(node, "body", None) or []
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for before, statement in zip([None, *body], body, strict=False):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str) and before is None:
                    yield kind_of(node), statement.lineno, text
                elif isinstance(text, str) and isinstance(before, ast.Assign | ast.AnnAssign):
                    yield "attribute", statement.lineno, text


def kind_of(node: ast.AST) -> str:
    if isinstance(node, ast.Module):
        return "module"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        return "property" if names & {"property", "cached_property"} else "function"
    assert isinstance(node, ast.ClassDef)
    if node.name.endswith(("Error", "Exception")):
        return "exception"
    bases = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
    if "Protocol" in bases:
        return "protocol"
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return "data class" if "dataclass" in decorators or bases & {"NamedTuple", "TypedDict", "Enum"} else "class"


def find_words(text: str) -> Iterator[tuple[int, str]]:
    """Find words to avoid, also where a line ends between them, in a comment too."""
    for words, better in FORBIDDEN.items():
        pattern = r"[\s#]+".join(words.split(" "))
        for match in re.finditer(rf"\b{pattern}\b", text, re.IGNORECASE):
            yield line_of(text, match), f"{' '.join(match[0].split())!r}: write {better}"


def find_contract_references(source: str) -> Iterator[tuple[int, str]]:
    """Find references to the contract that the documentation does not turn into links to a section."""
    sections = set(
        re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "contract.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for match in re.finditer(r"contract[\s,]*§|contract,\s+sections?\s+(\d+)(?:\s+and\s+(\d+))?", source):
        numbers = {number for number in match.groups() if number}
        if not numbers or not numbers <= sections:
            yield line_of(source, match), f'{match[0]!r}: write "(contract, section 3)", a section of docs/contract.md'


def find_names(source: str) -> Iterator[tuple[int, str]]:
    """Find limits that are not named MAX_… or MIN_…."""
    for node in ast.walk(parse_python(source)):
        name = getattr(node, "arg", None) if isinstance(node, ast.arg) else None
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
        if isinstance(name, str) and SUPERLATIVES.match(name):
            yield node.lineno, f"{name}: a limit is max_… or min_…, or `limit`"  # type: ignore[attr-defined]


def line_of(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1


RULES = {
    "docstrings open as their kind should": (find_openings, SOURCES),
    "words to avoid in the source": (find_words, SOURCES),
    "words to avoid in the documentation": (find_words, PROSE),
    "references to the contract": (find_contract_references, SOURCES),
    "names of limits": (find_names, SOURCES),
}


@pytest.mark.parametrize("rule", RULES)
def test_style(rule: str) -> None:
    find, files = RULES[rule]
    offences = [
        f"{file.relative_to(ROOT)}:{line}: {what}"
        for file in files
        for line, what in sorted(find(file.read_text(encoding="utf-8")))
    ]
    if offences:
        pytest.fail("\n".join([f"{len(offences)} offences:", *offences]), pytrace=False)


SAMPLE = '''"""Tells what it is."""

LONGEST_WAIT_S = 5
"""How long, in seconds, a wait may be."""


@dataclass(frozen=True)
class Point:
    """Is a point."""


class Store(Protocol):
    """Keeps points (contract §3)."""

    @property
    def size(self) -> int:
        """Tell the number of points."""


class LostError(Exception):
    """Tells that a point is lost (contract, section 99)."""


def find(most):
    """Say whether it is there, for
    ever."""
    # Begin
    # anew, in rooms of its
    # own.
'''


@pytest.mark.parametrize(
    ("find", "lines"),
    [
        (find_openings, [1, 4, 9, 13, 17, 21, 25]),
        (find_words, [25, 28, 28, 28]),
        (find_contract_references, [13, 21]),
        (find_names, [3, 24]),
    ],
)
def test_the_rules_find_what_they_should(find: Any, lines: list[int]) -> None:
    assert sorted(line for line, _ in find(SAMPLE)) == lines


def test_the_rules_accept_what_is_right() -> None:
    good = '''"""Points and their store."""

MAX_WAIT_S = 5
"""Seconds to wait at most."""


class LostError(Exception):
    """Raised when a point is lost (contract, section 3)."""


def find(limit):
    """Return whether a point exists; see contract, sections 2 and 3."""
    at_least = limit  # once more
'''
    for find in (find_openings, find_words, find_contract_references, find_names):
        assert list(find(good)) == []
