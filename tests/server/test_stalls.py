"""No input makes a parser or an endpoint fail. ``python -m tests.stalls server`` measures for how long each works."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibind.errors import RequestError
from aibind.server.partial_json import parse_partial
from aibind.server.session_requests import check_session_id

from .stalls import PARSERS, large_texts, small_texts, try_endpoints, try_parser


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses_any_text(name: str) -> None:
    found = try_parser(name, small_texts(1, 300))
    assert (found.inputs, found.faults) == (300, [])


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses_one_piece_many_times(name: str) -> None:
    assert try_parser(name, ((label, text[:4_000]) for label, text in large_texts())).faults == []


async def test_an_endpoint_answers_or_refuses_any_request(tmp_path: Path) -> None:
    found = await try_endpoints(tmp_path / "chat.db", 1, 300)
    assert (found.inputs, found.faults) == (300, [])


def test_json_that_is_nested_too_deep_is_refused_before_all_of_it_is_read() -> None:
    with pytest.raises(RecursionError, match="deeper than 2,000 levels"):
        parse_partial("[" * 2_001)


def test_a_session_id_that_is_too_long_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(RequestError, match="longer than"):
        check_session_id("%" * 100_000)
