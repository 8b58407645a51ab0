"""Record a model's streamed reply: ``python -m testbed.record --base-url URL --model NAME PROMPT FILE``.

The file gets the data of each server-sent event as it came, one a line, without the closing ``[DONE]``. The API key is
taken from the environment (AIBIND_API_KEY or OPENAI_API_KEY), sent, and written nowhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx2

from aibind.streams import SseParser

__all__ = ["RecordError", "record_reply"]

TIMEOUT_S = 300

Api = Literal["chat", "responses"]


class RecordError(Exception):
    """Raised when no whole reply could be recorded."""


def make_request(api: Api, model: str, prompt: str) -> tuple[str, dict[str, Any]]:
    """Return the path below the base URL and the JSON to post there."""
    if api == "responses":
        return "/responses", {"model": model, "input": prompt, "stream": True}
    messages = [{"role": "user", "content": prompt}]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return "/chat/completions", {"model": model, "messages": messages, **options}


async def record_reply(
    base_url: str,
    model: str,
    prompt: str,
    *,
    api: Api = "chat",
    api_key: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> list[str]:
    """Ask a model and return the data of each event of its reply; ``more`` are further fields of the request.

    Raises RecordError when the endpoint answers with an error, or the reply breaks off.
    """
    path, body = make_request(api, model, prompt)
    headers = {"Accept": "text/event-stream"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    parser = SseParser()
    data: list[str] = []
    try:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_S) as client,
            client.stream(
                "POST", base_url.rstrip("/") + path, json={**body, **(more or {})}, headers=headers
            ) as response,
        ):
            if response.status_code != 200:
                said = (await response.aread()).decode(errors="replace")
                raise RecordError(f"The endpoint answered {response.status_code}: {_without(api_key, said)}")
            async for piece in response.aiter_raw():
                data += [message.data for message in parser.feed(piece)]
    except httpx2.HTTPError as error:
        raise RecordError(f"The reply broke off: {_without(api_key, repr(error))}") from error
    if not _is_whole(api, data):
        raise RecordError(f"The reply broke off after {len(data)} events")
    # A line end between two values means nothing in JSON, and would end the line in the file.
    return [item.replace("\n", " ") for item in data if item != "[DONE]"]


def _without(api_key: str | None, text: str) -> str:
    return text.replace(api_key, "[key]") if api_key else text


def _is_whole(api: Api, data: Sequence[str]) -> bool:
    if api == "chat":
        return data[-1:] == ["[DONE]"]
    ends = {"response.completed", "response.failed", "response.incomplete"}
    return bool(data) and json.loads(data[-1]).get("type") in ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Record a reply into a file."""
    parser = argparse.ArgumentParser(prog="python -m testbed.record", description="Record a model's streamed reply.")
    parser.add_argument("prompt")
    parser.add_argument("file", type=Path, help="the .jsonl file to write")
    parser.add_argument("--base-url", required=True, help="such as https://api.openai.com/v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api", choices=("chat", "responses"), default="chat")
    parser.add_argument("--more", type=json.loads, default={}, help="further fields of the request, as a JSON object")
    options = parser.parse_args(arguments)
    api_key = os.environ.get("AIBIND_API_KEY") or os.environ.get("OPENAI_API_KEY")
    try:
        lines = asyncio.run(
            record_reply(
                options.base_url,
                options.model,
                options.prompt,
                api=options.api,
                api_key=api_key,
                more=options.more,
            )
        )
    except RecordError as error:
        print(error, file=sys.stderr)
        return 1
    options.file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} events are in {options.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
