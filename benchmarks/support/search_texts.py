"""Conversations in several scripts, made of words that are as unevenly frequent as those of a language."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

__all__ = ["KINDS", "SearchTexts"]

_SOUNDS = {
    "english": (
        "b c d f g h l m n p r s t w th st pr tr ch",
        "a e i o u ea ou",
        "n r s t l nd st ck m ng",
        "ing ed er ly s",
    ),
    "german": (
        "b d f g h k l m n r s t w z sch str pf br gr",
        "a e i o u ä ö ü ei au",
        "n r s t l ff cht rg nd",
        "en ung er e",
    ),
    "russian": ("б в г д ж з к л м н п р с т ч ш пр ст", "а е ё и о у ы я", "н р с т л м к й ть", "ый ого ом ать"),
}
"""Of each language the sounds that begin, carry and end a syllable, and the ends of words."""
_STEMS = 1_200
_WORDS = 5_000
_CHARACTERS = 3_000
_EMOJI = "🎉👍🚀🤔😀🔥✅💡🧪🐍"

KINDS = ("common", "rare", "part", "two words", "two letters", "two characters", "one character", "emoji", "absent")


class SearchTexts:
    """A source of texts and of queries for them; the same seed makes the same ones."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._words = {name: self._make_words(*(sound.split() for sound in sounds)) for name, sounds in _SOUNDS.items()}
        self._words["chinese"] = [chr(0x4E00 + number * 5) for number in range(_CHARACTERS)]
        self._weights = {name: list(accumulate(1 / (i + 2) for i in range(len(w)))) for name, w in self._words.items()}

    def _make_words(self, first: list[str], middle: list[str], last: list[str], ends: list[str]) -> list[str]:
        """Return words, most frequent first: short ones, then longer ones and compounds."""
        pick = self._random.choice
        stems = list(dict.fromkeys(pick(first) + pick(middle) + pick(last) for _ in range(_STEMS)))
        found: dict[str, None] = {}
        while len(found) < _WORDS:
            count = self._random.randint(1, 1 + min(2, len(found) // 100))
            end = pick(ends) if self._random.random() < 0.5 else ""
            found["".join(self._random.choices(stems, k=count)) + end] = None
        return list(found)

    def text(self, language: int, length: int) -> str:
        """Return a message of about a number of characters."""
        name = list(self._words)[language % len(self._words)]
        count = length if name == "chinese" else length // 8
        words = self._random.choices(self._words[name], cum_weights=self._weights[name], k=count)
        if self._random.random() < 0.05:
            words.append(self._random.choice(_EMOJI))
        mark = "" if name == "chinese" else " "
        return f"{words[0].capitalize()}{mark}{mark.join(words[1:])}."

    def messages(self, language: int, count: int) -> Iterator[dict[str, str]]:
        """Yield questions, and answers that are longer."""
        for number in range(count):
            is_question = number % 2 == 0
            length = self._random.randint(40, 200) if is_question else self._random.randint(200, 1_800)
            yield {"role": "user" if is_question else "assistant", "content": self.text(language, length)}

    def queries(self, kind: str, count: int) -> list[str]:
        """Return queries of one of the :data:`KINDS`."""
        return [self._query(kind, number) for number in range(count)]

    def _query(self, kind: str, number: int) -> str:
        words = self._words[list(_SOUNDS)[number % len(_SOUNDS)]]
        pick = self._random.choice
        if kind == "common":
            return words[number % 20]
        if kind == "rare":
            return pick(words[_WORDS * 9 // 10 :])
        if kind == "part":
            return next(word for word in iter(lambda: pick(words), "") if len(word) > 7)[2:7]
        if kind == "two words":
            return f"{pick(words[:100])} {pick(words[100:2_000])}"
        if kind == "two letters":
            return next(word for word in iter(lambda: pick(words), "") if len(word) > 3)[1:3]
        if kind == "two characters":
            return "".join(self._random.choices(self._words["chinese"][:200], k=2))
        if kind == "one character":
            return pick(self._words["chinese"])
        return pick(_EMOJI) if kind == "emoji" else f"{pick(words[:20])}qx{number}"
