"""Routing below ``sessions``: from the segments of a path and a method to an endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qs, unquote

from ..streams.response import Body, HttpResponse
from .access import Access, Action
from .json_body import parse_json
from .responses import error_response
from .session_endpoints import SessionEndpoints
from .session_requests import check_session_id, imported_id

__all__ = ["ReadBody", "answer_session"]

ReadBody: TypeAlias = Callable[[], Awaitable[bytes | bytearray]]

Enter: TypeAlias = Callable[[Action, str | None], Awaitable[Access | None]]
"""Asks whether the request may act on a session, and returns what it is granted. Raises RequestError if not."""

Answer: TypeAlias = Callable[[Access | None], Awaitable[HttpResponse[Body]]]


async def answer_session(
    endpoints_of: Callable[[Access | None], SessionEndpoints],
    method: str,
    segments: Sequence[str],
    query: str,
    headers: Mapping[str, str],
    read_body: ReadBody,
    read_file: Callable[[str, str, Access | None], Awaitable[HttpResponse[Body]]],
    enter: Enter,
) -> HttpResponse[Body] | None:
    """Return the response of the endpoint below ``sessions`` that has these percent-encoded segments; None without one.

    ``read_file`` answers with the file of a session. Raises RequestError for a wrong request.
    """
    endpoints_of(None)  # refuses where no sessions are listed, before anybody is asked
    fields = parse_qs(query, keep_blank_values=True)
    session_id: str | None = None

    async def change(access: Access | None) -> HttpResponse[Body]:
        return await endpoints_of(access).change(named, await parse_json(await read_body()), headers)

    async def import_(access: Access | None) -> HttpResponse[Body]:
        return await endpoints_of(access).import_(await read_body(), fields)

    answers: dict[str, tuple[Action, Answer]]
    if not segments:
        answers = {"GET": ("list", lambda access: endpoints_of(access).list_sessions(fields))}
    elif len(segments) == 3 and segments[0] and segments[1] == "files":
        session_id = named = check_session_id(segments[0])
        file_id = unquote(segments[2])
        answers = {"GET": ("file", lambda access: read_file(named, file_id, access))}
    elif not segments[0] or len(segments) > 2 or (len(segments) == 2 and segments[1] not in ("stream", "export")):
        return None
    else:
        session_id = named = check_session_id(segments[0])
        if len(segments) == 1:
            answers = {
                "GET": ("open", lambda access: endpoints_of(access).open(named, fields, headers)),
                "PATCH": ("change", change),
                "DELETE": ("delete", lambda access: endpoints_of(access).delete(named)),
            }
            if named == "import":
                answers["POST"] = ("import", import_)
        elif segments[1] == "stream":
            answers = {"GET": ("attach", lambda access: endpoints_of(access).attach(named, fields, headers))}
        else:
            answers = {"GET": ("export", lambda access: endpoints_of(access).export(named))}
    if method not in answers:
        allowed = ", ".join(answers)
        refused = error_response(f"{method} is not allowed here: use {allowed}", 405)
        return HttpResponse(refused.status, {**refused.headers, "Allow": allowed}, refused.body)
    action, answer = answers[method]
    if action == "import":
        session_id = imported_id(fields)
    return await answer(await enter(action, session_id))
