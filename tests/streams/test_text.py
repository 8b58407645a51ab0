"""Text is the same on every way it takes, wherever its pieces were cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibind.streams import StreamEvent, decode_chunk, encode_chunk
from aibind.streams.events import check_event_name
from aibind.streams.normalize import TextNormalizer
from aibind.streams.position import MAX_ID, Position


def clean(*pieces: str) -> str:
    cleaner = TextNormalizer()
    return "".join(map(cleaner.clean, pieces)) + cleaner.flush()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["plain", " text"], "plain text"),
        (["a\r\nb\rc\n"], "a\nb\nc\n"),
        (["a\r", "\nb"], "a\nb"),
        (["a\r", "", "\nb"], "a\nb"),
        (["a\r", "\r", "\n", "\n"], "a\n\n\n"),
        (["\ud83d", "\udc4b"], "👋"),
        (["\ud83d\udc4b"], "👋"),
        (["\ud83d", "x"], "\ufffdx"),
        (["x\udc4b", "y"], "x\ufffdy"),
        (["end \ud83d"], "end \ufffd"),
        (["\ud83d", "\r", "\n\udc4b"], "\ufffd\n\ufffd"),
    ],
)
def test_clean(pieces: list[str], text: str) -> None:
    assert clean(*pieces) == text


TRICKY = st.text(alphabet=st.sampled_from("ab\r\n\ud83d\udc4b👋é"), max_size=30)


@given(TRICKY, st.lists(st.integers(0, 30), max_size=6))
def test_cuts_make_no_difference(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert clean(*pieces) == clean(text)
    clean(*pieces).encode()
    assert "\r" not in clean(*pieces)


@given(st.text(alphabet=st.characters(exclude_characters="\0\1\r\n"), max_size=9), st.text())
def test_chunks_round_trip(name: str, data: str) -> None:
    assert decode_chunk(encode_chunk(StreamEvent(name, data))) == StreamEvent(name, data)


@pytest.mark.parametrize(
    ("chunk", "event"),
    [
        ("old row", StreamEvent("", "old row")),
        ("", StreamEvent("", "")),
        ("\x01", StreamEvent("", "")),
        ("usage\x01{}", StreamEvent("usage", "{}")),
        ("\x01a\x01b", StreamEvent("", "a\x01b")),
        ("old row\nof lines\x01with a control byte", StreamEvent("", "old row\nof lines\x01with a control byte")),
    ],
)
def test_decode(chunk: str, event: StreamEvent) -> None:
    assert decode_chunk(chunk) == event


@pytest.mark.parametrize("name", ["a\x01b", "a\nb", "a\rb", "a\0b", "done", "stopped", "stream-id"])
def test_names_that_would_confuse_a_reader_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Event name"):
        check_event_name(name)


@pytest.mark.parametrize(
    ("last_id", "position"),
    [(0, (1, 0)), (4, (5, 0)), (10**9 - 1, (10**9, 0)), (4_000_000_028, (4, 28)), (MAX_ID, (9007199, 254740991))],
)
def test_positions(last_id: int, position: tuple[int, int]) -> None:
    assert Position.after(last_id) == position
    assert Position.after(last_id).id == last_id


@pytest.mark.parametrize("last_id", [-1, 2**53])
def test_positions_out_of_range(last_id: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Position.after(last_id)
