"""Write the replies in ``tests/fixtures/recordings``: ``python -m tests.support.write_recordings``.

The texts are this project's. What surrounds them - the fields of a chunk and their order, where text is cut, what the
first and the last chunks hold - follows what providers stream. The same files are written each time.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "RECORDINGS"]

FOLDER = Path(__file__).parents[1] / "fixtures" / "recordings"
CREATED = 1_780_000_000

Json = dict[str, Any]

MARKDOWN = """\
## Sourdough for a cold kitchen 🍞

A starter at **16 °C** needs patience, not tricks. Plan for *two days*:

1. Feed it in the evening: `1 part starter : 2 parts flour : 2 parts water`.
2. Mix when it has doubled — often after 11 hours, not the 5 of a recipe.
3. Fold three times, then leave the dough alone overnight.

| Step | Warm kitchen | Cold kitchen |
|------|-------------:|-------------:|
| Feed | 5 h | 11 h |
| Rise | 4 h | 10 h |

```python
def water(flour_g: float, hydration: float = 0.72) -> float:
    return round(flour_g * hydration, 1)  # grams
```

> "Is it done?" Knock on the bottom: a hollow sound means yes. 👩🏽‍🍳
"""

LENGTH = """\
The tide table on the harbour wall is older than the harbour. Each line gives a day, two high waters and two low ones, \
and a column that has gone out of use: the height at which the ferry touched the gravel. I copied a month of it into \
a notebook and found that the author rounded to the nearest five minutes in winter and to the minute in summer. \
My guess is that the winter figures were written with cold hands. If you want to use the table today, add"""

THINKING = """\
The question has two parts: when the clocks drift apart, and which of them is right. A drift of 40 ms an hour is about \
one second a day, so after a weekend the logs are two seconds out of order. Neither clock has to be right; the order \
has to be. Then a counter is better than a time."""

ANSWER = """\
Do not compare the times of two machines. Number the entries on the machine that writes them, and keep the time only \
for people: `(seq, time)`, sorted by `seq`."""

HESITATION = """\
Someone greets me in one word. A short greeting back is enough, and an offer to help."""

LOOKING = """\
I need the weather in two places, and the tool takes one place at a time. So two calls."""

POEM = """\
The lamp hums, the kettle answers,
rain counts the slates from left to right.

Someone upstairs is moving chairs
that had been silent all the night.

So let the house talk to itself -
I only came to shut the light.
"""

LANGUAGES = """\
**日本語**：港の朝は静かで、猫だけが働いています。🐈‍⬛

**العربية**: المدّ يعود مرتين في اليوم.

**Ελληνικά**: Το φως αλλάζει πριν από τη βροχή.

**हिन्दी**: चाय ठंडी हो गई, कहानी नहीं।

Flags 🇮🇸🇳🇵, families 👨‍👩‍👧‍👦, a name with accents: Zoë Łukasińska-Nguyễn.\
"""


def tokens(text: str, name: str, *, max_chars: int = 7) -> list[str]:
    """Cut a text about where a tokenizer does: a word with the space before it, and long words in pieces."""
    chance = random.Random(zlib.crc32(name.encode()))
    pieces: list[str] = []
    for word in re.findall(r" ?[^\W\d_]+| ?\d{1,3}|\s+|[^\w\s]+|_", text):
        while len(word) > max_chars:
            cut = chance.randint(2, max_chars)
            pieces.append(word[:cut])
            word = word[cut:]
        pieces.append(word)
    assert "".join(pieces) == text
    return pieces


def in_groups(pieces: list[str], name: str, max_pieces: int) -> list[str]:
    """Join neighbouring pieces, as providers do that send a chunk every few tokens."""
    chance = random.Random(zlib.crc32(name.encode()) + 1)
    groups: list[str] = []
    while pieces:
        count = chance.randint(1, max_pieces)
        groups.append("".join(pieces[:count]))
        pieces = pieces[count:]
    return groups


def an_id(name: str, length: int = 24) -> str:
    chance = random.Random(zlib.crc32(name.encode()) + 2)
    return "".join(chance.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(length))


# --- chat completions ---


def markdown() -> Iterator[Json]:
    """A service tier, padding in each chunk, and a last chunk with the usage and no choices."""
    chance = random.Random(1)
    head = {"id": f"chatcmpl-{an_id('markdown')}", "object": "chat.completion.chunk", "created": CREATED}
    head |= {"model": "example-large", "service_tier": "default", "system_fingerprint": "fp_0001"}

    def chunk(choices: list[Json], usage: Json | None = None) -> Json:
        return {
            **head,
            "choices": choices,
            "usage": usage,
            "obfuscation": an_id(str(chance.random()), chance.randint(3, 9)),
        }

    def choice(delta: Json, finish: str | None = None) -> Json:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}

    pieces = tokens(MARKDOWN, "markdown")
    yield chunk([choice({"role": "assistant", "content": "", "refusal": None})])
    for piece in pieces:
        yield chunk([choice({"content": piece})])
    yield chunk([choice({}, "stop")])
    usage: Json = {"prompt_tokens": 17, "completion_tokens": len(pieces), "total_tokens": 17 + len(pieces)}
    yield chunk([], {**usage, "completion_tokens_details": {"reasoning_tokens": 0}})


def _with_reasoning(name: str, model: str) -> Callable[[Json, str | None, Json | None], Json]:
    head = {"id": an_id(name, 32), "object": "chat.completion.chunk", "created": CREATED, "model": model}

    def chunk(delta: Json, finish: str | None = None, usage: Json | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "system_fingerprint": "fp_0002", "choices": [choice], "usage": usage}

    return chunk


def length() -> Iterator[Json]:
    """A reply that ends at the most tokens it may have, with the usage in the chunk of the finish reason."""
    chunk = _with_reasoning("length", "example-chat")
    pieces = tokens(LENGTH, "length")
    yield chunk({"role": "assistant", "content": ""}, None, None)
    for piece in pieces:
        yield chunk({"content": piece}, None, None)
    usage = {"prompt_tokens": 11, "completion_tokens": len(pieces), "total_tokens": 11 + len(pieces)}
    yield chunk({"content": ""}, "length", {**usage, "prompt_tokens_details": {"cached_tokens": 0}})


def reasoning() -> Iterator[Json]:
    """Reasoning and then text, each null while the other is sent."""
    chunk = _with_reasoning("reasoning", "example-reasoner")
    thought, said = tokens(THINKING, "thinking"), tokens(ANSWER, "answer")
    yield chunk({"role": "assistant", "content": None, "reasoning_content": ""}, None, None)
    for piece in thought:
        yield chunk({"content": None, "reasoning_content": piece}, None, None)
    for piece in said:
        yield chunk({"content": piece, "reasoning_content": None}, None, None)
    count = len(thought) + len(said)
    usage: Json = {"prompt_tokens": 24, "completion_tokens": count, "total_tokens": 24 + count}
    usage["completion_tokens_details"] = {"reasoning_tokens": len(thought)}
    yield chunk({"content": "", "reasoning_content": None}, "stop", usage)


def tool_calls_in_pieces() -> Iterator[Json]:
    """Reasoning, then two calls whose arguments come in pieces."""
    chunk = _with_reasoning("tools", "example-reasoner")
    thought = tokens(LOOKING, "looking")
    yield chunk({"role": "assistant", "content": None, "reasoning_content": ""}, None, None)
    for piece in thought:
        yield chunk({"content": None, "reasoning_content": piece}, None, None)
    count = len(thought)
    for index, place in enumerate(("Ísafjörður", "São Tomé")):
        function = {"name": "weather", "arguments": ""}
        call = {"index": index, "id": f"call_0{index}_{an_id(place)}", "type": "function", "function": function}
        yield chunk({"tool_calls": [call]}, None, None)
        for piece in tokens(json.dumps({"place": place, "days": index + 1}, ensure_ascii=False), place):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None, None)
            count += 1
    usage = {"prompt_tokens": 210, "completion_tokens": count, "total_tokens": 210 + count}
    yield chunk({"content": "", "reasoning_content": None}, "tool_calls", usage)


def _bare(name: str) -> Callable[[list[Json]], Json]:
    head = {"id": an_id(name, 32), "object": "chat.completion.chunk", "created": CREATED, "model": "example-mini"}
    return lambda choices: {**head, "choices": choices, "system_fingerprint": "fp_0003"}


def reasoning_in_the_first_chunk() -> Iterator[Json]:
    """A first chunk with a role and reasoning, and chunks without a finish reason."""
    chunk = _bare("first")
    thought, said = tokens(HESITATION, "hesitation"), ["Hello", "!", " How", " can", " I", " help", "? 🙂"]
    yield chunk([{"index": 0, "delta": {"reasoning_content": thought[0], "role": "assistant"}}])
    for piece in thought[1:]:
        yield chunk([{"index": 0, "delta": {"reasoning_content": piece}}])
    for piece in said:
        yield chunk([{"index": 0, "delta": {"content": piece}}])
    yield chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    total = 9 + len(thought) + len(said)
    usage: Json = {"prompt_tokens": 9, "completion_tokens": len(said), "total_tokens": total}
    usage |= {"completion_tokens_details": {"reasoning_tokens": len(thought)}, "num_sources_used": 0}
    yield {**chunk([]), "usage": usage}


def tool_call_whole() -> Iterator[Json]:
    """A call in one chunk, its fields in another order, and no text at all."""
    chunk = _bare("whole")
    yield chunk([{"index": 0, "delta": {"reasoning_content": "A", "role": "assistant"}}])
    yield chunk([{"index": 0, "delta": {"reasoning_content": " lookup."}}])
    function = {"name": "tide", "arguments": '{"harbour":"Tórshavn","when":"today"}'}
    call = {"id": f"call_{an_id('tide', 8)}", "function": function, "index": 0, "type": "function"}
    yield chunk([{"index": 0, "delta": {"tool_calls": [call]}}])
    yield chunk([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])
    yield {**chunk([]), "usage": {"prompt_tokens": 188, "completion_tokens": 19, "total_tokens": 210}}


def extra_fields() -> Iterator[Json]:
    """A field of the provider's in the first and in the last chunk, with the usage twice, once inside it."""
    head = {"id": f"chatcmpl-{an_id('extra')}", "object": "chat.completion.chunk"}
    head |= {"model": "example-versatile", "system_fingerprint": "fp_0004"}
    pieces = tokens(POEM, "poem", max_chars=9)

    def chunk(number: int, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "created": CREATED + number // 60, "choices": [choice]}

    request_id = f"req_{an_id('request')}"
    yield {**chunk(0, {"role": "assistant", "content": ""}), "x_groq": {"id": request_id, "seed": 4}}
    for number, piece in enumerate(pieces):
        yield chunk(number, {"content": piece})
    usage: Json = {"queue_time": 0.0123, "prompt_tokens": 31, "prompt_time": 0.0021, "completion_tokens": len(pieces)}
    usage |= {"completion_time": 0.31, "total_tokens": 31 + len(pieces), "total_time": 0.3121}
    yield {**chunk(len(pieces), {}, "stop"), "x_groq": {"id": request_id, "usage": usage}, "usage": usage}


def few_chunks() -> Iterator[Json]:
    """Whole phrases in a chunk, and fields in another order."""
    head = {"id": an_id("few", 32), "object": "chat.completion.chunk", "created": CREATED, "model": "example-small"}
    pieces = ["Yes", ", ", "and", " no: it depends", " on the tide."]
    for number, piece in enumerate(["", *pieces]):
        delta = {"role": "assistant", "content": piece} if not number else {"content": piece}
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}]}
    usage = {"prompt_tokens": 8, "total_tokens": 20, "completion_tokens": 12}
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop", "logprobs": None}
    yield {**head, "choices": [choice], "usage": usage}


def languages() -> Iterator[Json]:
    """Several tokens in a chunk, in many scripts, cut inside what people see as one character."""
    foot = {
        "created": CREATED,
        "system_fingerprint": None,
        "model": "example-max",
        "id": f"chatcmpl-{an_id('languages')}",
    }

    def chunk(choices: list[Json], usage: Json | None = None) -> Json:
        return {"choices": choices, "object": "chat.completion.chunk", "usage": usage, **foot}

    def choice(text: str, finish: str | None = None) -> Json:
        return {"finish_reason": finish, "logprobs": None, "delta": {"content": text}, "index": 0}

    pieces = in_groups(re.findall(r"[\x00-\x7f]{1,5}|[^\x00-\x7f]{1,3}", LANGUAGES), "languages", 3)
    assert "".join(pieces) == LANGUAGES
    first = {"content": "", "role": "assistant"}
    yield chunk([{"delta": first, "index": 0, "logprobs": None, "finish_reason": None}])
    for piece in pieces:
        yield chunk([choice(piece)])
    yield chunk([choice("", "stop")])
    yield chunk([], {"prompt_tokens": 18, "completion_tokens": 211, "total_tokens": 229})


# --- responses ---


def _response(name: str, status: str, **fields: Any) -> Json:
    response: Json = {"id": f"resp_{an_id(name, 32)}", "object": "response", "created_at": CREATED, "status": status}
    response |= {"background": False, "error": None, "incomplete_details": None, "instructions": None}
    response |= {"max_output_tokens": None, "model": "example-responses", "output": [], "parallel_tool_calls": True}
    response |= {"previous_response_id": None, "reasoning": {"effort": "medium", "summary": None}, "store": True}
    response |= {"temperature": 1, "tool_choice": "auto", "tools": [], "top_p": 1, "truncation": "disabled"}
    return {**response, "usage": None, "user": None, "metadata": {}, **fields}


def _numbered(events: Iterable[Json]) -> Iterator[Json]:
    for number, event in enumerate(events):
        yield {"type": event["type"], "sequence_number": number, **event}


def responses_text() -> Iterator[Json]:
    """Reasoning that is not shown, then text."""
    return _numbered(_responses_text())


def _responses_text() -> Iterator[Json]:
    for status in ("created", "in_progress"):
        yield {"type": f"response.{status}", "response": _response("text", "in_progress")}
    thought = {"id": f"rs_{an_id('thought', 32)}", "type": "reasoning", "summary": []}
    for state in ("added", "done"):
        yield {"type": f"response.output_item.{state}", "output_index": 0, "item": thought}
    item_id = f"msg_{an_id('message', 32)}"
    place = {"item_id": item_id, "output_index": 1, "content_index": 0}
    message: Json = {"id": item_id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    yield {"type": "response.output_item.added", "output_index": 1, "item": message}
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    yield {"type": "response.content_part.added", **place, "part": part}
    for piece in (pieces := in_groups(tokens(POEM, "poem"), "responses", 4)):
        padding = an_id(piece, 16 - len(piece) % 8)
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": [], "obfuscation": padding}
    yield {"type": "response.output_text.done", **place, "text": POEM, "logprobs": []}
    part = {**part, "text": POEM}
    yield {"type": "response.content_part.done", **place, "part": part}
    message = {**message, "status": "completed", "content": [part]}
    yield {"type": "response.output_item.done", "output_index": 1, "item": message}
    usage: Json = {"input_tokens": 21, "output_tokens": 3 * len(pieces), "total_tokens": 21 + 3 * len(pieces)}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 64}}
    response = _response("text", "completed", output=[thought, message], usage=usage)
    yield {"type": "response.completed", "response": response}


def responses_function_call() -> Iterator[Json]:
    """A call of a function whose arguments come in pieces."""
    return _numbered(_responses_function_call())


def _responses_function_call() -> Iterator[Json]:
    for status in ("created", "in_progress"):
        yield {"type": f"response.{status}", "response": _response("call", "in_progress")}
    item_id = f"fc_{an_id('call', 32)}"
    arguments = json.dumps({"harbour": "Tórshavn", "when": "today"}, ensure_ascii=False, separators=(",", ":"))
    item: Json = {"id": item_id, "type": "function_call", "status": "in_progress", "arguments": ""}
    item |= {"call_id": f"call_{an_id('tide')}", "name": "tide"}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    place = {"item_id": item_id, "output_index": 0}
    for piece in tokens(arguments, "arguments"):
        yield {
            "type": "response.function_call_arguments.delta",
            **place,
            "delta": piece,
            "obfuscation": an_id(piece, 9),
        }
    yield {"type": "response.function_call_arguments.done", **place, "arguments": arguments}
    item = {**item, "status": "completed", "arguments": arguments}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 77, "output_tokens": 23, "total_tokens": 100}
    yield {"type": "response.completed", "response": _response("call", "completed", output=[item], usage=usage)}


def responses_error() -> Iterator[Json]:
    """A failure after the reply had begun."""
    error = {"code": "insufficient_quota", "message": "The account has no credit left."}
    events: list[Json] = [
        {"type": "response.created", "response": _response("error", "in_progress")},
        {"type": "response.in_progress", "response": _response("error", "in_progress")},
        {"type": "error", "error": {"type": "insufficient_quota", **error, "param": None}},
        {"type": "response.failed", "response": _response("error", "failed", error=error)},
    ]
    return _numbered(events)


def responses_summary() -> Iterator[Json]:
    """A summary of the reasoning in two paragraphs, then a short text."""
    return _numbered(_responses_summary())


def _responses_summary() -> Iterator[Json]:
    yield {"type": "response.created", "response": _response("summary", "in_progress")}
    item_id = f"rs_{an_id('summary', 32)}"
    thought: Json = {"id": item_id, "type": "reasoning", "summary": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": thought}
    paragraphs = ("**Reading the table**\n\nHigh water is at noon.", "**Answering**\n\nOne line will do.")
    for number, paragraph in enumerate(paragraphs):
        place = {"item_id": item_id, "output_index": 0, "summary_index": number}
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **place, "part": part}
        for piece in in_groups(tokens(paragraph, f"paragraph {number}"), "summary", 3):
            yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": paragraph}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": {**part, "text": paragraph}}
    thought = {**thought, "summary": [{"type": "summary_text", "text": paragraph} for paragraph in paragraphs]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": thought}
    message = yield from _one_message("The tide turns at noon.", "summary", output_index=1)
    usage = {"input_tokens": 30, "output_tokens": 90, "total_tokens": 120}
    response = _response("summary", "completed", output=[thought, message], usage=usage)
    yield {"type": "response.completed", "response": response}


def _one_message(text: str, name: str, *, output_index: int) -> Generator[Json, None, Json]:
    item_id = f"msg_{an_id(name, 32)}"
    place = {"item_id": item_id, "output_index": output_index, "content_index": 0}
    message: Json = {"id": item_id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    yield {"type": "response.output_item.added", "output_index": output_index, "item": message}
    for piece in tokens(text, name):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    message = {**message, "status": "completed", "content": [part]}
    yield {"type": "response.output_item.done", "output_index": output_index, "item": message}
    return message


def responses_custom_tool() -> Iterator[Json]:
    """A call of a custom tool, whose input is plain text in pieces."""
    return _numbered(_responses_custom_tool())


def _responses_custom_tool() -> Iterator[Json]:
    yield {"type": "response.created", "response": _response("custom", "in_progress")}
    item_id, text = f"ctc_{an_id('custom', 32)}", "SELECT \"level\" FROM tides\nWHERE harbour = 'Tórshavn'"
    item: Json = {"id": item_id, "type": "custom_tool_call", "call_id": f"call_{an_id('sql')}", "name": "query"}
    yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "input": ""}}
    place = {"item_id": item_id, "output_index": 0}
    for piece in tokens(text, "sql"):
        yield {"type": "response.custom_tool_call_input.delta", **place, "delta": piece}
    yield {"type": "response.custom_tool_call_input.done", **place, "input": text}
    item = {**item, "input": text, "status": "completed"}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 50, "output_tokens": 20, "total_tokens": 70}
    yield {"type": "response.completed", "response": _response("custom", "completed", output=[item], usage=usage)}


def responses_web_search() -> Iterator[Json]:
    """Two searches that the provider runs, then text with a citation."""
    return _numbered(_responses_web_search())


def _responses_web_search() -> Iterator[Json]:
    yield {"type": "response.created", "response": _response("search", "in_progress")}
    items: list[Json] = []
    for number, query in enumerate(("tide table Tórshavn", "high water today")):
        item_id = f"ws_{an_id(query, 32)}"
        place = {"output_index": number, "item_id": item_id}
        item: Json = {"id": item_id, "type": "web_search_call", "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": number, "item": item}
        for state in ("in_progress", "searching", "completed"):
            yield {"type": f"response.web_search_call.{state}", **place}
        item = {**item, "status": "completed", "action": {"type": "search", "query": query}}
        yield {"type": "response.output_item.done", "output_index": number, "item": item}
        items.append(item)
    text = "High water is at 12:04 ([tides](https://tides.example/torshavn))."
    item_id = f"msg_{an_id('cited', 32)}"
    place = {"item_id": item_id, "output_index": 2, "content_index": 0}
    message: Json = {"id": item_id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    yield {"type": "response.output_item.added", "output_index": 2, "item": message}
    for piece in tokens(text, "cited"):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    citation = {"type": "url_citation", "start_index": 24, "end_index": 62, "title": "Tides of Tórshavn"}
    citation |= {"url": "https://tides.example/torshavn"}
    event: Json = {"type": "response.output_text.annotation.added", **place, "annotation_index": 0}
    yield {**event, "annotation": citation}
    part: Json = {"type": "output_text", "annotations": [citation], "logprobs": [], "text": text}
    message = {**message, "status": "completed", "content": [part]}
    yield {"type": "response.output_item.done", "output_index": 2, "item": message}
    usage = {"input_tokens": 900, "output_tokens": 60, "total_tokens": 960}
    response = _response("search", "completed", output=[*items, message], usage=usage)
    yield {"type": "response.completed", "response": response}


RECORDINGS: dict[str, Callable[[], Iterator[Json]]] = {
    "chat-extra-fields": extra_fields,
    "chat-few-chunks": few_chunks,
    "chat-languages": languages,
    "chat-length": length,
    "chat-markdown": markdown,
    "chat-reasoning": reasoning,
    "chat-reasoning-in-the-first-chunk": reasoning_in_the_first_chunk,
    "chat-tool-call-whole": tool_call_whole,
    "chat-tool-calls-in-pieces": tool_calls_in_pieces,
    "responses-custom-tool": responses_custom_tool,
    "responses-error": responses_error,
    "responses-function-call": responses_function_call,
    "responses-summary": responses_summary,
    "responses-text": responses_text,
    "responses-web-search": responses_web_search,
}


def render(name: str) -> str:
    """Return the lines of a recording."""
    lines = [json.dumps(chunk, ensure_ascii=False, separators=(",", ":")) for chunk in RECORDINGS[name]()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name in RECORDINGS:
        (FOLDER / f"{name}.jsonl").write_text(render(name), encoding="utf-8")
