"""A model that needs no network and no key, for a first look, for demos and for tests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any

from ..._json import is_list, is_object
from ..._time import sleep
from ...errors import ModelError
from ..model import (
    Finish,
    Message,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    Usage,
)
from ..resuming import Repetition, not_resumable
from .json import example_value
from .reply import HELP, Talk, compose, continuation, short_reply, summary_of, thoughts, title_of, words_of
from .tokens import Dice, TokenClock, split_tokens

__all__ = ["EchoModel"]

_COMMAND = re.compile(r"\A/(\w+)\b(?:[ \t]+(\d{1,6})\b)?")
_WANTS_TITLE = re.compile(
    r"\b(?:answer|write|generate|give|create|suggest)\b.{0,80}\btitle\b", re.IGNORECASE | re.DOTALL
)
_WANTS_SUMMARY = re.compile(r"\bsummar(?:y|i[sz]e)\b|\bcondense\b", re.IGNORECASE)
_WANTS_MORE = re.compile(r"\bcomplete what\b|\b(?:words|text) that comes? next\b", re.IGNORECASE)
_MAX_SYSTEM_CHARS = 4_000
"""The limit of the characters of a system prompt that are looked at for what it asks."""

_MAX_TRANSCRIPT_CHARS = 256 * 1024
"""The limit of the characters of a conversation, sent as one text, that are looked at for questions."""

_MAX_COUNTED_CHARS = 64 * 1024
"""The limit of the characters whose tokens are counted one by one; beyond it usage is an estimate."""

_MAX_SEED_CHARS = 4_000
"""The limit of the characters of one message that decide which reply is made up."""

_SAID = re.compile(r"^user: (.+)$", re.MULTILINE)  # in a conversation that is sent as one text


class EchoModel:
    """An offline model, which answers with Markdown that refers to the prompt.

    ``tokens_per_second`` is its pace, kept against the clock; 0 means no pacing. The same request gets the same reply,
    unless ``vary`` is true: then asking again gives another reply, and the n-th calls of two such models still agree.
    Raises ValueError for a pace that is negative or not finite.

    A prompt that begins with a command gets a special reply:

    - ``/short``: one paragraph; ``/long 1000``: at least that many tokens (at most 100,000);
    - ``/think``: some reasoning before the reply;
    - ``/tools``: a call of the first tool that was offered, with arguments that fit its parameters, or of a tool
      ``echo`` when none was; a conversation that ends with a tool's result is answered with that result;
    - ``/fail``: half a reply, then ModelError with the code ``echo_failure``; ``/help``: a list of these.

    A system prompt that asks for a title, for a summary, or for the words that come next gets just that, as the
    endpoints of StreamHandler need. With ``json_schema`` the text is JSON that fits the schema.
    """

    def __init__(self, *, tokens_per_second: float = 50.0, vary: bool = False) -> None:
        if not (math.isfinite(tokens_per_second) and tokens_per_second >= 0):
            raise ValueError(f"tokens_per_second is {tokens_per_second}: give 0 (no pacing) or a positive number")
        self._tokens_per_second = tokens_per_second
        self._vary = vary
        self._calls = 0

    def __repr__(self) -> str:
        return f"EchoModel(tokens_per_second={self._tokens_per_second:g}, vary={self._vary})"

    @property
    def resumable(self) -> bool:
        """Whether another process can go on with an answer, which is always so."""
        return True

    @property
    def repeats_exactly(self) -> bool:
        """Whether the rest of an answer is the same to the character, which is always so."""
        return True

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``request``, one event per token, with the reason to stop and the usage last.

        With ``vary`` a :class:`ReplyReference` comes first, by which the answer can be told again.
        """
        call, self._calls = self._calls, self._calls + 1
        if self._vary:
            yield ReplyReference(str(call))
        async with aclosing(self._answer(request, call)) as events:
            async for event in events:
                yield event

    async def resume(
        self, request: ModelRequest, so_far: Sequence[ModelEvent], reference: str | None
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield what comes after ``so_far``, from any character, at the model's pace.

        Raises ModelError with the code ``not_resumable`` for an answer that ``request`` does not get, and with ``vary``
        without the answer's reference.
        """
        if self._vary and not (reference and reference.isdecimal()):
            raise not_resumable("a model that varies tells its answer again by its reference alone")
        call = int(reference) if self._vary and reference else 0
        async with aclosing(self._answer(request, call, Repetition(so_far))) as events:
            async for event in events:
                yield event

    async def cancel(self, reference: str) -> None:
        """Do nothing: there is no answer beside what is read."""

    async def _answer(
        self, request: ModelRequest, call: int, repetition: Repetition | None = None
    ) -> AsyncGenerator[ModelEvent, None]:
        dice = Dice(_seed(request, call if self._vary else 0))
        pace = TokenClock(self._tokens_per_second)
        written = 0
        reason = "stop"
        for part in _plan(request, dice):
            if isinstance(part, TextDelta | ReasoningDelta):
                tokens = split_tokens(part.text)
                written += len(tokens)
                if repetition is not None:  # whole parts are skipped at once, and nobody waits for them
                    await sleep(0)
                    tokens = _tokens_of(repetition.drop(part))
                for token in tokens:
                    await pace.step()
                    yield type(part)(token)
            elif isinstance(part, ToolCall):
                written += len(split_tokens(part.arguments))
                reason = "tool_calls"
                for event in _new(part, repetition):
                    await pace.step()
                    yield event
            else:
                raise part
        for last in (Finish(reason), Usage(input_tokens=_tokens_in(request), output_tokens=written)):
            for event in _new(last, repetition):
                yield event
        if repetition is not None:
            for event in repetition.end():
                yield event


def _new(event: ModelEvent, repetition: Repetition | None) -> Iterable[ModelEvent]:
    """Return an event unless it is repeated."""
    return (event,) if repetition is None else repetition.drop(event)


def _tokens_of(events: Iterable[ModelEvent]) -> list[str]:
    texts = (event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))
    return [token for text in texts for token in split_tokens(text)]


def _plan(request: ModelRequest, dice: Dice) -> Iterable[TextDelta | ReasoningDelta | ToolCall | ModelError]:
    """Return the whole reply: texts that are not split into tokens yet, calls, and perhaps an error at the end."""
    talk = _talk(request.messages)
    if request.json_schema is not None:
        return [TextDelta(_json_text(request.json_schema, talk, dice))]
    if request.messages and request.messages[-1].get("role") == "tool":
        result = _text_of(request.messages[-1])
        return [TextDelta(f"The tool answered:\n\n```json\n{result[:2000]}\n```\n\n{short_reply(talk, dice)}")]
    task = _task(request.system or "", talk, dice)
    if task:
        return [TextDelta(task)]
    command = _COMMAND.match(talk.prompt)
    name, number = command.groups() if command else ("", None)
    if name == "help":
        return [TextDelta(HELP)]
    if name == "short":
        return [TextDelta(short_reply(talk, dice))]
    if name == "think":
        return [ReasoningDelta(thoughts(talk, dice)), *_composed(talk, dice)]
    if name == "tools":
        call = _tool_call(request.tools, talk, dice)
        return [TextDelta(f"I will ask the tool `{call.name}` about **{talk.topic}**."), call]
    if name == "fail":
        whole = "".join(compose(talk, dice))
        error = ModelError("The offline model failed, since the prompt asked for it with /fail", code="echo_failure")
        return [TextDelta(whole[: len(whole) // 2]), error]
    return _composed(talk, dice, min(int(number or 1000), 100_000) if name == "long" else 0)


def _composed(talk: Talk, dice: Dice, min_tokens: int = 0) -> Iterator[TextDelta]:
    return map(TextDelta, compose(talk, dice, min_tokens))


def _task(system: str, talk: Talk, dice: Dice) -> str:
    """Return the title, summary or continuation that the system prompt asks for; empty when it asks for none."""
    system = system[:_MAX_SYSTEM_CHARS]
    prompts = _SAID.findall(talk.prompt[:_MAX_TRANSCRIPT_CHARS]) or [*talk.earlier_prompts, talk.prompt]
    if _WANTS_TITLE.search(system):
        return title_of(prompts[0])
    if _WANTS_SUMMARY.search(system):
        return summary_of(prompts)
    return continuation(dice) if _WANTS_MORE.search(system) else ""


def _tool_call(tools: Sequence[Mapping[str, Any]], talk: Talk, dice: Dice) -> ToolCall:
    identity = f"call_echo_{dice.below(2**30):08x}"
    if not tools:
        return ToolCall(identity, "echo", json.dumps({"text": talk.prompt}, ensure_ascii=False))
    tool = tools[0].get("function", tools[0])
    parameters = tool.get("parameters") or {"type": "object"}
    return ToolCall(identity, str(tool.get("name", "echo")), _json_text(parameters, talk, dice))


def _json_text(schema: Mapping[str, Any], talk: Talk, dice: Dice) -> str:
    try:
        return json.dumps(example_value(schema, dice, talk.words), ensure_ascii=False)
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelError(f"The offline model cannot make sense of this JSON Schema: {error}") from error


def _talk(messages: Sequence[Message]) -> Talk:
    prompts = [message for message in messages if message.get("role") == "user"]
    replies = [_text_of(message) for message in messages if message.get("role") == "assistant"]
    if not prompts:
        return Talk("", earlier_replies=replies)
    content = prompts[-1].get("content")
    attachments = sum(not (is_object(part) and "text" in part) for part in content) if is_list(content) else 0
    prompt = _text_of(prompts[-1])
    words = words_of(_COMMAND.sub("", prompt, count=1)) or words_of(prompt)
    return Talk(prompt, words, [_text_of(message) for message in prompts[:-1]], replies, attachments)


def _text_of(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if is_list(content) else []
    return "\n".join(str(part["text"]) for part in parts if is_object(part) and "text" in part)


def _tokens_in(request: ModelRequest) -> int:
    """Return how many tokens the request has; past its first 64 Ki characters four of them count as one."""
    left = _MAX_COUNTED_CHARS
    tokens = 0
    for text in [request.system or "", *map(_text_of, request.messages)]:
        tokens += (len(split_tokens(text[:left])) if left else 0) + max(0, len(text) - left) // 4
        left = max(0, left - len(text))
    return tokens


def _seed(request: ModelRequest, call: int) -> str:
    turns = [(message.get("role"), _text_of(message)[:_MAX_SEED_CHARS]) for message in request.messages[-1000:]]
    system = request.system and request.system[:_MAX_SEED_CHARS]
    return json.dumps([turns, system, call, _names_in(request.json_schema)])


def _names_in(schema: Mapping[str, Any] | None) -> list[str]:
    """Return the first names and texts in a schema, which may be nested deeper than Python may recurse."""
    if schema is None:
        return ["None"]
    found: list[str] = []
    waiting: list[Any] = [schema]
    for _ in range(500):
        if not waiting:
            break
        value = waiting.pop()
        if is_object(value):
            found += [str(name)[:100] for name in islice(value, 100)]
            waiting += islice(value.values(), 100)
        elif is_list(value):
            waiting += value[:100]
        else:
            found.append(value[:100] if isinstance(value, str) else type(value).__name__)
    return found
