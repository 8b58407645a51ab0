"""The offline model's texts: Markdown that refers to the conversation, chosen by dice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .tokens import Dice, split_tokens

__all__ = ["HELP", "Talk", "compose", "continuation", "short_reply", "summary_of", "thoughts", "title_of", "words_of"]

_MAX_WORD_CHARS = 16 * 1024
"""The limit of the characters that are looked at for words: a reply refers to few, and its loop must not wait long."""

HELP = """\
I am the offline model: I need no key and no network, and what I say is made up on this machine. I can do tricks:

| you write | I answer |
| --- | --- |
| `/short` | one short paragraph |
| `/long 1000` | at least that many tokens |
| `/think` | some reasoning first |
| `/tools` | a call of the first tool that I was offered |
| `/fail` | half a reply, then an error |

Anything else gets a longer reply. 🪶"""


@dataclass(frozen=True, slots=True)
class Talk:
    """The conversation that a reply refers to: the prompt, and what was said before it, oldest first.

    ``words`` are the prompt's, without punctuation and without a command before them.
    """

    prompt: str
    words: Sequence[str] = ()
    earlier_prompts: Sequence[str] = ()
    earlier_replies: Sequence[str] = ()
    attachments: int = 0

    @property
    def topic(self) -> str:
        """The first words of the prompt, safe inside a heading."""
        return title_of(" ".join(self.words), 4)


def words_of(text: str) -> list[str]:
    """Return the words of ``text``, without punctuation: those in its first 16 Ki characters."""
    return re.findall(r"\w+(?:['’-]\w+)*", text[:_MAX_WORD_CHARS])


def title_of(text: str, max_words: int = 6) -> str:
    """Return a title made of the first words of ``text``."""
    words = " ".join(words_of(text)[:max_words])[:60]
    return words[:1].upper() + words[1:] if words else "Nothing yet"


def continuation(dice: Dice) -> str:
    """Return the end of a sentence that was begun."""
    return f" {dice.pick(_AND_SO)}."


def summary_of(prompts: Sequence[str]) -> str:
    """Return a paragraph about the questions that were asked."""
    topics = "; ".join(f"“{title_of(prompt)}”" for prompt in prompts[:5] if words_of(prompt)) or "nothing in particular"
    more = f" and {_count(len(prompts) - 5, 'more question')}" if len(prompts) > 5 else ""
    return f"The conversation has {_count(len(prompts), 'question')}: {topics}{more}. The offline model echoed each."


def short_reply(talk: Talk, dice: Dice) -> str:
    """Return a reply of one paragraph."""
    opener = dice.pick(("Got it", "Heard you", "Noted", "Right"))
    return f"{opener}: **{talk.topic}**, in {_count(len(talk.words), 'word')}. {_sentence(dice)} 🪶"


def thoughts(talk: Talk, dice: Dice) -> str:
    """Return reasoning about the prompt, as some models show before they answer."""
    word = max(talk.words, key=len, default="silence")
    return (
        f"The user says {_count(len(talk.words), 'word')}. The longest is “{word}”, so that may be what matters. "
        f"Was it said before? {_memory(talk)} {dice.pick(_HESITATIONS)} I will write some Markdown about it."
    )


def compose(talk: Talk, dice: Dice, min_tokens: int = 0) -> Iterator[str]:
    """Yield a reply of about 150 to 400 tokens, or of at least ``min_tokens``, in whole blocks of Markdown.

    A long reply is made up as it is read.
    """
    first = [_opening(talk, dice), *(section(talk, dice) for section in dice.sample(_SECTIONS, 2 + dice.below(2)))]
    closing = dice.pick(_CLOSINGS)
    tokens = sum(len(split_tokens(block)) + 1 for block in [*first, closing])
    for block in first:
        yield block
        yield "\n\n"
    chapters = 0
    while tokens < min_tokens:
        chapters += 1
        more = f"### Chapter {chapters}\n\n{_prose(talk, dice, 2 + dice.below(3))}\n\n{_prose(talk, dice, 4)}"
        tokens += len(split_tokens(more)) + 1
        yield more
        yield "\n\n"
    yield closing


# --- the parts of a reply --------------------------------------------------------------------------------------------


def _opening(talk: Talk, dice: Dice) -> str:
    greeting = dice.pick(("You said", "I heard", "Let me say that back", "Here is what reached me"))
    attached = f" You attached {_count(talk.attachments, 'file')}." if talk.attachments else ""
    heading = f"{dice.pick(('On', 'About', 'Thoughts on'))} “{talk.topic}” {dice.pick(('🪶', '🌊', '🔭', '🧭', '✨'))}"
    return f"## {heading}\n\n{greeting}:\n\n{_quote(talk.prompt)}\n\n{_memory(talk)}{attached} {_sentence(dice)}"


def _memory(talk: Talk) -> str:
    if not talk.earlier_prompts:
        return "This is the **first thing** you told me."
    turn = len(talk.earlier_prompts) + 1
    said = f"This is your message **number {turn}**; the one before began with *{title_of(talk.earlier_prompts[-1])}*"
    if not talk.earlier_replies:
        return said + "."
    return f"{said}, and I answered it with {_count(len(words_of(talk.earlier_replies[-1])), 'word')}."


def _table(talk: Talk, dice: Dice) -> str:
    words = list(talk.words)
    shown = sorted(dict.fromkeys(words), key=len, reverse=True)[: 3 + dice.below(2)]
    rows = [f"| `{word[:24]}` | {len(word)} | {words.count(word)} |" for word in shown]
    total = f"| **all** | {sum(map(len, words))} | {len(words)} |"
    return "\n".join(["### In numbers\n", "| word | letters | times |", "| :--- | ---: | ---: |", *rows, total])


def _code(talk: Talk, dice: Dice) -> str:
    name = dice.pick(("echo", "reply", "murmur", "answer"))
    text = " ".join(talk.words[:6]) or "hello"
    return (
        f"### In code\n\nA model that agrees with everything fits in a few lines of Python:\n\n```python\n"
        f"def {name}(prompt: str) -> str:\n"
        f'    """Say it back, a little {dice.pick(("louder", "slower", "softer"))}."""\n'
        f"    words = prompt.split()  # {len(text.split())} of them\n"
        f'    return " ".join(word.{dice.pick(("upper", "title", "capitalize"))}() for word in words)\n\n\n'
        f'print({name}("{text}"))\n```'
    )


def _list(_: Talk, dice: Dice) -> str:
    chosen = sorted(dice.sample(range(len(_STEPS)), 4))
    steps = "\n".join(f"{number}. {_STEPS[index]}" for number, index in enumerate(chosen, 1))
    return (
        f"### In four steps\n\n{steps}\n   - and if your browser reloads meanwhile, the reply goes on\n"
        f"   - nothing is said twice, and *nothing* is lost ✅"
    )


def _story(talk: Talk, dice: Dice) -> str:
    return f"### In a story\n\n{_prose(talk, dice, 3)}\n\n{dice.pick(_EXCHANGES)}"


def _tongues(_: Talk, dice: Dice) -> str:
    lines = "\n".join(f"- {line}" for line in dice.sample(_GREETINGS, 5))
    return f"### In other tongues\n\n{lines}\n\n{_sentence(dice)}"


def _prose(talk: Talk, dice: Dice, sentences: int) -> str:
    told = _sentences(dice, sentences)
    told.insert(len(told) - 1, f"Somebody said *{dice.pick(talk.words or ['nothing'])[:24]}*, and it echoed.")
    return " ".join(told)


def _sentence(dice: Dice) -> str:
    return _sentences(dice, 1)[0]


def _sentences(dice: Dice, count: int) -> list[str]:
    parts = zip(*(dice.sample(words, count) for words in (_WHO, _DID, _WHERE, _AND_SO)), strict=True)
    return [f"{who} {did} {where}, {and_so}." for who, did, where, and_so in parts]


def _quote(text: str) -> str:
    kept = text if len(text) <= 280 else text[:280].rstrip() + " …"
    return "\n".join(f"> {line}".rstrip() for line in (kept or "(nothing at all)").split("\n")[:6])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


_SECTIONS: Sequence[Callable[[Talk, Dice], str]] = (_table, _code, _list, _story, _tongues)
_WHO = (
    "A river",
    "The lighthouse",
    "An old radio",
    "The night train",
    "A patient heron",
    "The tide",
    "A paper boat",
    "The librarian",
)
_DID = (
    "carried every word",
    "kept its appointment",
    "counted to a thousand",
    "went on talking",
    "waited",
    "turned once more",
)
_WHERE = (
    "past the harbour",
    "under the bridge",
    "in the rain",
    "between two stations",
    "until morning",
    "without a hurry",
)
_AND_SO = (
    "and no one noticed the pause",
    "as if the page had never been closed",
    "which is the whole point of a durable stream",
    "and the ink was dry by then",
    "so the story could go on where it was",
    "while the database slept soundly",
)
_HESITATIONS = ("Hmm, perhaps.", "That seems plain.", "I should not overthink it.", "There may be more to it.")
_STEPS = (
    "**Listen** to the prompt, from its first letter to its last",
    "Count its words, *twice* to be sure",
    "Throw some dice: the same prompt, the same dice 🎲",
    "Write one token after another, at a steady pace",
    "Keep what was said in `SQLite`, a few rows a reply",
    "Stop at once when somebody presses **Stop** ⏹️",
)
_EXCHANGES = (
    "> “Are you still there?”\n>\n> “I never left; you reloaded.”",
    "> “How far had we come?”\n>\n> “To this very character.”",
    "> “And if the server falls?”\n>\n> “Then what was written stays written.”",
)
_GREETINGS = (
    "Deutsch: Grüße aus dem Puffer – schön, dass du da bist",
    "日本語: こんにちは、流れはまだ続いています",
    "中文: 你好，一个字也不会丢",
    "العربية: أهلا، ما زلت هنا",
    "עברית: שלום, עדיין כאן",
    "हिन्दी: नमस्ते, धारा बहती रहती है",
    "Ελληνικά: Τα πάντα ῥεῖ",
    "Emoji: 👋🏽 👩🏽‍🚀 🏳️‍🌈 🇮🇸 ❤️‍🔥",
)
_CLOSINGS = (
    "---\n\nThat is all I know: I am the *offline* model. Write `/help` to see my tricks.",
    "---\n\nReload the page in the middle of my next reply, and watch it go on. (`/long 1000` gives you time.)",
    "---\n\nAsk me again, or edit your message to see another branch. `/help` lists what else I can do.",
)
