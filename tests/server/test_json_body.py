"""Large JSON bodies: parsed like small ones, and in turns with everything else."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from aibind._json import load_json
from aibind.errors import RequestError
from aibind.server.json_body import MAX_VALUES, PLAIN_BYTES, parse_in_steps, parse_json

CHARACTERS = 'ab",:{}[]\\\n\t é\u2028😀\ud800\udc00'
DAMAGE = ["", ",", '"', "[", "]", "{", "}", "\\", "\\u12", "1e999", "NaN", " ", "\\ud83d", "\x00", "-", "."]


def run(text: str, slice_chars: int, max_values: int = 1_000_000) -> tuple[Any, int]:
    steps = parse_in_steps(text, slice_chars=slice_chars, max_values=max_values)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1


def random_value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth and kind < 0.3:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(8))]
    if depth and kind < 0.6:
        return {random_text(rng): random_value(rng, depth - 1) for _ in range(rng.randrange(8))}
    numbers = [rng.randrange(-(10**9), 10**9), rng.random() * 10 ** rng.randrange(-9, 9)]
    return rng.choice([None, True, False, *numbers, random_text(rng), ""])


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice(CHARACTERS) for _ in range(rng.randrange(30)))


@pytest.mark.parametrize("block", range(2))
def test_the_same_values_and_the_same_refusals(block: int) -> None:
    for seed in range(block * 400, block * 400 + 400):
        rng = random.Random(seed)
        text = json.dumps(random_value(rng, 5), ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1]))
        for _ in range(rng.randrange(3)):
            place = rng.randrange(len(text) + 1)
            text = text[:place] + rng.choice(DAMAGE) + text[place + rng.randrange(3) :]
        expected: str | None
        try:
            expected = repr(load_json(text))
        except ValueError:
            expected = None
        try:
            found = repr(run(text, rng.choice([40, 64, 200]))[0])
        except ValueError:
            found = None
        assert found == expected, seed


@pytest.mark.parametrize(
    "text",
    [
        '"' + "a\\n" * 500_000 + '"',
        '"' + "\\ud83d\\ude00" * 100_000 + '"',
        "[" + " " * 1_000_000 + "1]",
        "[" + ",".join(["[" + ",".join(["1.5"] * 5_000) + "]"] * 30) + "]",
        '{"a": {"b": [' + ",".join(['{"text": "' + "word, " * 5_000 + '"}'] * 40) + "]}}",
        json.dumps({f"k{number}": number for number in range(100_000)}),
    ],
    ids=lambda text: text[:20],
)
async def test_a_large_body_is_parsed_in_many_steps(text: str) -> None:
    value, steps = run(text, 16 * 1024)
    assert value == json.loads(text) == await parse_json(text.encode())
    assert steps >= len(text) // (16 * 1024) // 2


@pytest.mark.parametrize(("count", "refused"), [(MAX_VALUES - 1, False), (MAX_VALUES, False), (MAX_VALUES + 1, True)])
async def test_the_number_of_values(count: int, refused: bool) -> None:
    body = ("[" + ",".join(["1"] * count) + "]").encode()
    assert len(body) > PLAIN_BYTES
    if not refused:
        assert len(await parse_json(body)) == count
        return
    with pytest.raises(RequestError, match="200,000 values") as raised:
        await parse_json(body)
    assert raised.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"1" * 100_000,
        b"[" + b"1" * 100_000 + b"]",
        b'"' + b"x" * 100_000,
        b'"' + b"x" * 100_000 + b"\n" + b'"',
        b"[" + b"1," * 100_000 + b"]",
        b"\xff" * 100_000,
        b" " * 100_000,
        b"[1]" + b" " * 100_000 + b"2",
    ],
    ids=lambda body: repr(body[:8]),
)
async def test_what_is_large_and_not_json(body: bytes) -> None:
    with pytest.raises(RequestError) as raised:
        await parse_json(body)
    assert raised.value.status == 400


async def test_a_body_made_to_be_parsed_in_vain_is_refused() -> None:
    inner = '",},],"' + ',",},],"' * 2200
    chains = ",".join(["[" * 90 + inner + "]" * 90] * 200)
    with pytest.raises(RequestError, match="large lists and objects") as raised:
        await parse_json(f"[{chains}]".encode())
    assert raised.value.status == 413
