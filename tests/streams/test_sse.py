"""Server-sent events after the WHATWG algorithm."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibind.streams import SseMessage, SseParser, encode_message
from aibind.streams.sse import PING


def parse(*pieces: bytes, flush: bool = False) -> list[tuple[str, str, str]]:
    parser = SseParser()
    messages = [message for piece in pieces for message in parser.feed(piece)]
    if flush:
        messages += parser.flush()
    return [(message.event, message.data, message.id) for message in messages]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\n", [("", "a", "")]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [("", "a", ""), ("", "b", ""), ("", "c", "")]),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", [("", "after a BOM", "")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", "a", "")]),
        (b": a comment\n:\n::\ndata: a\n\n", [("", "a", "")]),
        (b"data\n\ndata\ndata\n\n", [("", "", ""), ("", "\n", "")]),
        (b"data:a\ndata: b\ndata:  c\n\n", [("", "a\nb\n c", "")]),
        (b"event: x\n\ndata: a\n\n", [("", "a", "")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a", ""), ("", "b", "")]),
        (b"id: 1\ndata: a\n\ndata: b\n\n", [("", "a", "1"), ("", "b", "")]),
        (b"id: 1\x002\ndata: a\n\n", [("", "a", "")]),
        (b"unknown: x\nDATA: y\ndata: a: b\n\n", [("", "a: b", "")]),
        (b"data: never ended\n", []),
        (b"", []),
    ],
)
def test_parse(data: bytes, expected: list[tuple[str, str, str]]) -> None:
    assert parse(data) == expected
    assert parse(*(bytes([byte]) for byte in data)) == expected


def test_ids_stay_in_force_until_they_change() -> None:
    parser = SseParser()
    messages = parser.feed(b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")
    assert [message.last_event_id for message in messages] == ["1", "1", ""]
    assert parser.last_event_id == ""


def test_retry_is_a_number_of_milliseconds() -> None:
    parser = SseParser()
    parser.feed("retry: 1500\n\nretry: x\n\nretry: -1\n\nretry: ٣\n\n".encode())
    assert parser.retry_ms == 1500


def test_a_cut_off_message_is_given_only_when_asked_for() -> None:
    assert parse(b"data: a\n\ndata: b", flush=True) == [("", "a", ""), ("", "b", "")]
    assert parse(b"data: a\n\n\n", flush=True) == [("", "a", "")]


def test_broken_utf8_is_replaced() -> None:
    assert parse(b"data: \xf0\x9f\n\n") == [("", "\ufffd", "")]
    assert parse(b"data: \xf0\x9f", b"\x91\x8b\n\n") == [("", "👋", "")]


def feed_in_pieces(parser: SseParser, data: bytes) -> None:
    for start in range(0, len(data), 100):
        parser.feed(data[start : start + 100])


@pytest.mark.parametrize("data", [b"data: " + b"x" * 2000, b"data: xxxxxxxx\n" * 200])
def test_a_message_without_end_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="longer than 1000"):
        feed_in_pieces(SseParser(max_chars=1000), data)
    parser = SseParser(max_chars=1000)
    for _ in range(100):
        parser.feed(b"data: " + b"x" * 500 + b"\n\n")


@given(
    st.lists(
        st.tuples(
            st.text(alphabet=st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=8),
            st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=40),
            st.one_of(st.none(), st.integers(0, 2**53)),
        ),
        max_size=8,
    ),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_what_is_encoded_is_parsed(messages: list[tuple[str, str, int | None]], cuts: list[int]) -> None:
    data = PING.join(encode_message(data, id=number, event=event) for event, data, number in messages)
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    expected = [
        (event.removeprefix(" "), data, "" if number is None else str(number)) for event, data, number in messages
    ]
    got = parse(*pieces)
    assert [(event.removeprefix(" "), data, number) for event, data, number in got] == expected


@pytest.mark.parametrize("line_end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_sent_as_one(line_end: str) -> None:
    encoded = encode_message(f"a{line_end}b{line_end}")
    assert encoded == b"data: a\ndata: b\ndata: \n\n"
    assert parse(encoded) == [("", "a\nb\n", "")]


def test_a_lone_surrogate_is_sent_as_the_replacement_character() -> None:
    assert encode_message("a\ud83d!") == "data: a\ufffd!\n\n".encode()


@pytest.mark.parametrize("arguments", [{"event": "a\nb"}, {"event": "a\rb"}, {"id": "a\nb"}, {"id": "a\0"}])
def test_what_a_field_cannot_hold_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="holds"):
        encode_message("x", **arguments)


def test_messages_compare_by_value() -> None:
    assert SseParser().feed(b"id: 7\nevent: e\ndata: d\n\n") == [SseMessage("e", "d", "7", "7")]
