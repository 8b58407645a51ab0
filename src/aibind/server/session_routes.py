"""Routing below ``sessions``: from the segments of a path and a method to an endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qs, unquote

from ..streams.response import Body, HttpResponse
from .responses import error_response
from .session_endpoints import SessionEndpoints
from .session_requests import check_session_id

__all__ = ["ReadBody", "answer_session"]

ReadBody: TypeAlias = Callable[[], Awaitable[bytes]]

Answer: TypeAlias = Callable[[], Awaitable[HttpResponse[Body]]]


async def answer_session(
    endpoints: SessionEndpoints,
    method: str,
    segments: Sequence[str],
    query: str,
    headers: Mapping[str, str],
    read_body: ReadBody,
    decode: Callable[[bytes], object],
    read_file: Callable[[str, str], Awaitable[HttpResponse[Body]]],
) -> HttpResponse[Body] | None:
    """Return the response of the endpoint below ``sessions`` that has these percent-encoded segments; None without one.

    ``decode`` parses a JSON body, and ``read_file`` answers with the file of a session. Raises RequestError
    for a wrong request.
    """
    fields = parse_qs(query, keep_blank_values=True)

    async def change() -> HttpResponse[Body]:
        return await endpoints.change(session_id, decode(await read_body()), headers)

    async def import_() -> HttpResponse[Body]:
        return await endpoints.import_(await read_body(), fields)

    answers: dict[str, Answer]
    if not segments:
        answers = {"GET": lambda: endpoints.list_sessions(fields)}
    elif len(segments) == 3 and segments[0] and segments[1] == "files":
        session_id, file_id = check_session_id(segments[0]), unquote(segments[2])
        answers = {"GET": lambda: read_file(session_id, file_id)}
    elif not segments[0] or len(segments) > 2 or (len(segments) == 2 and segments[1] not in ("stream", "export")):
        return None
    else:
        session_id = check_session_id(segments[0])
        if len(segments) == 1:
            answers = {
                "GET": lambda: endpoints.open(session_id, fields, headers),
                "PATCH": change,
                "DELETE": lambda: endpoints.delete(session_id),
            }
            if session_id == "import":
                answers["POST"] = import_
        elif segments[1] == "stream":
            answers = {"GET": lambda: endpoints.attach(session_id, fields, headers)}
        else:
            answers = {"GET": lambda: endpoints.export(session_id)}
    if method not in answers:
        allowed = ", ".join(answers)
        refused = error_response(f"{method} is not allowed here: use {allowed}", 405)
        return HttpResponse(refused.status, {**refused.headers, "Allow": allowed}, refused.body)
    return await answers[method]()
