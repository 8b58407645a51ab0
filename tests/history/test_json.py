"""JSON as JavaScript writes it."""

from __future__ import annotations

import enum
import json
import math
import random
import shutil
import struct
import subprocess
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.errors import HistoryError, MalformedTreeError
from aibind.history import ChatHistory
from aibind.history.json import decode_at, encode, quote

from .support import numbered

NUMBERS = [
    (0.0, "0"),
    (-0.0, "0"),
    (1.0, "1"),
    (-1.0, "-1"),
    (1.5, "1.5"),
    (-0.001, "-0.001"),
    (100.25, "100.25"),
    (1e-6, "0.000001"),
    (1e-7, "1e-7"),
    (1.25e-7, "1.25e-7"),
    (1e16, "10000000000000000"),
    (2.0**60, "1152921504606847000"),
    (123456789012345680000.0, "123456789012345680000"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1.5e300, "1.5e+300"),
    (-1.5e300, "-1.5e+300"),
    (0.1 + 0.2, "0.30000000000000004"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
]

STRINGS = [
    ("", '""'),
    ('say "hi" \\ /', '"say \\"hi\\" \\\\ /"'),
    ("\b\f\n\r\t", '"\\b\\f\\n\\r\\t"'),
    ("\x00\x01\x0b\x1f", '"\\u0000\\u0001\\u000b\\u001f"'),
    ("\x7f\x80\xad", '"\x7f\x80\xad"'),
    ("\u2028\u2029\ufeff\uffff", '"\u2028\u2029\ufeff\uffff"'),
    ("日本語 👋🏽", '"日本語 👋🏽"'),
    ("\ud83d alone \udc4b", '"\\ud83d alone \\udc4b"'),
    ("\udc4b\ud83d", '"\\udc4b\\ud83d"'),
    ("\ud83d\udc4b", '"👋"'),  # two halves in two code points are one character in UTF-16
    ("\ud83d\ud83d\udc4b", '"\\ud83d👋"'),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS, ids=[text for _, text in NUMBERS])
def test_a_float_is_printed_as_javascript_prints_it(value: float, text: str) -> None:
    assert encode(value) == text


@pytest.mark.parametrize(("value", "text"), STRINGS, ids=[ascii(value) for value, _ in STRINGS])
def test_a_string_is_quoted_as_javascript_quotes_it(value: str, text: str) -> None:
    assert quote(value) == encode(value) == text


def test_containers_have_no_spaces_and_keep_their_order() -> None:
    value = {"b": [1, [], {}, (2, None)], "a": {"z": True, "y": False}, "": ""}
    assert encode(value) == '{"b":[1,[],{},[2,null]],"a":{"z":true,"y":false},"":""}'


def test_keys_that_are_array_indices_come_first_as_in_javascript() -> None:
    keys = ["b", "4294967295", "4294967294", "10", "9", "0", "01", "-1", "1.5", "٣", ""]
    assert list(json.loads(encode(dict.fromkeys(keys, 0)))) == [
        *("0", "9", "10", "4294967294"),
        *("b", "4294967295", "01", "-1", "1.5", "٣", ""),
    ]


def test_an_int_keeps_all_its_digits() -> None:
    for value in (2**53 + 1, -(2**64), 10**400):
        assert encode(value) == str(value)
        assert decode_at(encode(value), 0) == (value, len(str(value)))


def test_subclasses_are_written_as_what_they_are() -> None:
    class Role(enum.StrEnum):
        USER = "user"

    class Level(enum.IntEnum):
        HIGH = 3

    class Celsius(float):
        def __repr__(self) -> str:
            return "warm"

    assert encode({"role": Role.USER, "level": Level.HIGH, "t": Celsius(20.5)}) == '{"role":"user","level":3,"t":20.5}'


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "message['content'][1] is nan, which JSON does not have"),
        (math.inf, "message['content'][1] is inf, which JSON does not have"),
        (-math.inf, "message['content'][1] is -inf, which JSON does not have"),
        ({1, 2}, "message['content'][1] is a set, which JSON does not have"),
        (b"x", "message['content'][1] is a bytes, which JSON does not have"),
        (object(), "message['content'][1] is an object, which JSON does not have"),
        (1j, "message['content'][1] is a complex, which JSON does not have"),
        ({1: 2}, "message['content'][1] has the key 1: a key must be a string, not an int"),
        ({"a": {None: 2}}, "message['content'][1]['a'] has the key None: a key must be a string, not a NoneType"),
        (10**5000, "message['content'][1] is an integer with too many digits"),
        (ENDLESS, "message contains itself, or is nested too deeply to be written as JSON"),
        (DEEP, "message contains itself, or is nested too deeply to be written as JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_json_is_refused_and_nothing_is_added(value: Any, problem: str) -> None:
    chat = ChatHistory()
    chat.append({"content": "before"})
    before = chat.to_json()
    with pytest.raises(HistoryError) as raised:
        chat.append({"role": "user", "content": ["fine", value]})
    assert str(raised.value) == problem
    with pytest.raises(HistoryError, match=r"^metadata contains|^metadata\['x'\]"):
        chat.append({"role": "user", "content": "fine"}, {"x": value})
    assert chat.to_json() == before


@pytest.mark.parametrize("message", ["text", None, 1, ["role", "user"]], ids=repr)
def test_a_message_must_be_an_object(message: Any) -> None:
    with pytest.raises(HistoryError, match=r"^message must be a dict"):
        ChatHistory().append(message)
    with pytest.raises(HistoryError, match=r"^metadata must be a dict"):
        ChatHistory().append({}, message if message is not None else [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "-Infinity", "", "{", '"\x01"', "[1,]", "[" * 200_000], ids=ascii
)
def test_reading_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode_at(text, 0)


any_text = st.text() | st.text(st.characters(categories=["Cs", "Cc"]) | st.sampled_from('"\\/{}[]:,'))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.from_regex("[0-9]{1,11}"), inner, max_size=4)
    ),
    max_leaves=12,
)
plain_messages = st.fixed_dictionaries({"role": any_text, "content": any_text})
messages = st.dictionaries(st.sampled_from(["role", "content", "7"]) | st.text(max_size=5), json_values, max_size=4)


def as_javascript_reads_it(value: Any) -> Any:
    """Join the halves of a character wherever they meet, and make large floats the integers that are printed."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    if isinstance(value, float):
        return int(Decimal(repr(value))) if 2**53 <= abs(value) < 1e21 else value
    if isinstance(value, dict):
        return {as_javascript_reads_it(key): as_javascript_reads_it(item) for key, item in value.items()}
    return [as_javascript_reads_it(item) for item in value] if isinstance(value, list) else value


@given(st.lists(st.tuples(messages | plain_messages, messages | st.dictionaries(any_text, any_text)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_json_message_survives_a_round_trip(turns: Any) -> None:
    chat = ChatHistory()
    for message, metadata in turns:
        chat.append(message, metadata)
    assert chat.messages == [as_javascript_reads_it(message) for message, _ in turns]
    text = chat.to_json()
    text.encode("utf-8")  # it can be stored: no half of a character is left in it
    # Printed by ourselves, and by someone who escapes and spaces differently.
    for printed in (text, json.dumps(json.loads(text), indent=1)):
        again = ChatHistory.from_json(printed)
        assert again.to_json() == text
        assert again.messages == chat.messages
        assert [again.tree.get(node_id) for node_id in again.node_ids] == [chat.tree.get(i) for i in chat.node_ids]


@given(st.lists(plain_messages, min_size=1, max_size=3), st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_text_is_read_as_any_json_reader_would_or_refused(contents: Any, data: st.DataObject) -> None:
    chat = ChatHistory(generate_id=numbered())
    for message in contents:
        chat.append(message)
    text = chat.to_json()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    damaged = text[:start] + data.draw(st.text(st.sampled_from('"\\{}[]:,0n \n\x00é\ud83d'), max_size=3)) + text[end:]
    try:
        tree = ChatHistory.from_json(damaged).tree
    except MalformedTreeError:
        return
    assert tree.serialize() == {**json.loads(damaged), "version": 1}
    assert ChatHistory.from_json(tree.to_json()).to_json() == tree.to_json()


def test_a_deep_message_is_read_or_refused_but_never_crashes() -> None:
    message: dict[str, Any] = {}
    for _ in range(300):
        message = {"": message}
    chat = ChatHistory()
    chat.append(message)
    assert chat.messages == [message]

    def read_below(frames: int) -> list[Any]:
        return read_below(frames - 1) if frames else chat.messages

    try:  # whether the stack suffices is for each Python version to say
        assert read_below(800) == [message]
    except HistoryError as error:
        assert "cannot be read: it is nested too deeply" in str(error)  # noqa: PT017 -- it need not be raised


def tricky_values() -> list[Any]:
    """Make many values of the kinds that differ between languages, the same at every run."""
    choose = random.Random(20)
    doubles = [struct.unpack("<d", choose.randbytes(8))[0] for _ in range(2000)]
    decimals = [choose.randrange(10**6) * 10.0 ** choose.randrange(-30, 30) for _ in range(1000)]
    powers = [sign * base**exponent for sign in (1, -1) for base in (2.0, 10.0) for exponent in range(-300, 300, 3)]
    code_points = [*range(0x300), *range(0x2020, 0x2070), *range(0xD7F0, 0xE010), *range(0xFFF0, 0x10010), 0x10FFFF]
    texts = ["".join(map(chr, choose.choices(code_points, k=20))) for _ in range(500)] + [chr(c) for c in code_points]
    keys = [str(choose.randrange(2 ** choose.randrange(1, 34))) for _ in range(300)] + texts[:50] + ["", "00", "1e3"]
    objects = [dict.fromkeys(choose.sample(keys, 12), index) for index in range(200)]
    return [*filter(math.isfinite, doubles), *decimals, *powers, *texts, *objects, *[value for value, _ in NUMBERS]]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, to compare with")
def test_node_prints_the_same() -> None:
    values = tricky_values()
    # Escaped, so that what node parses does not depend on what is being tested.
    theirs = subprocess.run(
        ["node", "-e", "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0,'utf8'))))"],
        input=json.dumps(values).encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert theirs.split(",") == encode(values).split(",")
