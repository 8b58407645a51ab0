"""The endpoints of calls that wait for a user: which they are, and the answers from which their turn goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from .._json import is_object
from ..errors import RequestError
from ..streams.response import Body, HttpResponse
from .access import Access, Action, owner_of
from .answers import approval_message
from .approval_body import parse_answers, unknown_outcome_error
from .asking import Asking
from .begun_replies import BegunReplies
from .continuing import AnswersTakenError, ContinuingTurn
from .generation import Generation
from .json_body import parse_json
from .page_tools import parse_page_tools, with_page_tools
from .pending import PendingCalls
from .requests import MAX_STEPS
from .responses import error_response, json_response
from .session_requests import check_session_id
from .sessions import Session, Sessions
from .starting import ReplyStarter
from .tools import Tool

__all__ = ["Approvals", "answer_approvals", "waiting_json"]

MAX_ATTEMPTS = 10
"""Attempts to store answers, each of which those of another request can cross."""

DEFAULT_STEPS = 5


class Approvals:
    """The endpoints of the calls that wait in sessions, for the ``access`` that a request was granted.

    ``tools_of`` returns the tools of a toolset by its name. Raises RequestError for a wrong request.
    """

    def __init__(
        self,
        sessions: Sessions | None,
        replies: BegunReplies | None,
        starter: ReplyStarter,
        asking: Asking,
        tools_of: Callable[[str | None], Sequence[Tool]],
    ) -> None:
        self._sessions = sessions
        self._replies = replies
        self._starter = starter
        self._asking = asking
        self._tools_of = tools_of

    async def list(self, session_id: str, access: Access | None = None) -> HttpResponse[Body]:
        """Return the calls that a session waits with; none where it is unknown."""
        _, pending = await self._session(session_id, access).find_pending()
        return _listed(pending)

    async def answer(self, session_id: str, body: object, access: Access | None = None) -> HttpResponse[Body]:
        """Store a user's answers, and go on with the turn when they are all of them.

        The answer is then the reply; 202 with the calls that wait as long as some are not answered. Answers that are
        stored already get the reply that goes on from them, or 204 when it has expired.
        """
        session, replies = self._session(session_id, access), self._replies
        assert replies is not None
        given = parse_answers(body)
        for _ in range(MAX_ATTEMPTS):
            chat, pending = await session.find_pending(given.by_id.keys())
            if pending is None:
                raise RequestError("No call of this conversation that waits for approval has this id", 404)
            added = given.added_to(pending)
            message = approval_message(added)
            pending = _with(pending, added)
            is_complete = all(call.answer is not None for call in pending.open)
            if not added and (pending.is_going_on or not (pending.open and is_complete)):
                return await self._repeated(pending, replies, owner_of(access))
            if not pending.is_current:
                raise RequestError("The conversation has gone on: these calls wait no longer", 409)
            if not is_complete:
                if await session.add_answers(pending, message):
                    return _listed(pending, 202)
                continue
            try:
                turn = await session.go_on(chat, pending, message)
                return await self._go_on(session_id, pending.turn, turn, access)
            except AnswersTakenError:
                continue
        raise RequestError("Other answers to these calls come at the same time: try again", 503)

    async def _repeated(self, pending: PendingCalls, replies: BegunReplies, owner: str | None) -> HttpResponse[Body]:
        if pending.stream_id is None:
            return _listed(pending, 202)
        followed = await replies.follow(pending.stream_id, owner)
        if followed is not None:
            return followed
        for call in pending.open:
            if call.answer is None:
                raise unknown_outcome_error(call)
        return HttpResponse(204, {}, b"")

    async def _go_on(
        self, session_id: str, asked: Mapping[str, Any], turn: ContinuingTurn, access: Access | None
    ) -> HttpResponse[Body]:
        model_key, system, toolset = (_text(asked.get(name)) for name in ("model", "system", "toolset"))
        model = self._asking.pick(model_key)
        tools = with_page_tools(self._tools_of(toolset), parse_page_tools(asked.get("tools")))
        request = self._asking.request(turn.messages, access, model_key, session_id, system=system)
        schema, steps = asked.get("schema"), asked.get("maxSteps")
        if is_object(schema):
            request = replace(request, json_schema=schema)
        max_steps = steps if isinstance(steps, int) and 1 <= steps <= MAX_STEPS else DEFAULT_STEPS

        async def is_stored() -> bool:
            return await generation.wait_stored()

        async def begin() -> HttpResponse[Body]:
            return await self._starter.start(generation, turn, None, owner=owner_of(access))

        events = self._asking.go_on(model, request, tools, max_steps if tools else 1, turn.answered, is_stored)
        generation = Generation(
            events,
            structured=is_object(schema),
            pace=self._starter.pace,
            turn=asked,
            answered=turn.answered,
        )
        return await self._starter.once(None, begin, owner=owner_of(access))

    def _session(self, session_id: str, access: Access | None) -> Session:
        if self._sessions is None or self._replies is None:
            raise RequestError(
                "This server asks nobody for approval: give its StreamHandler conversations=… and resumable=True", 501
            )
        return self._sessions.find(session_id, owner_of(access))


ReadJson: TypeAlias = Callable[[], Awaitable[bytes | bytearray]]

Enter: TypeAlias = Callable[[Action, str | None], Awaitable[Access | None]]


async def answer_approvals(
    approvals: Approvals, method: str, segment: str, read_json: ReadJson, enter: Enter
) -> HttpResponse[Body]:
    """Return the response of ``sessions/{segment}/approvals``. Raises RequestError for a wrong request."""
    session_id = check_session_id(segment)
    if method == "GET":
        return await approvals.list(session_id, await enter("approvals", session_id))
    if method == "POST":
        access = await enter("approve", session_id)
        return await approvals.answer(session_id, await parse_json(await read_json()), access)
    refused = error_response(f"{method} is not allowed here: use GET, POST", 405)
    return HttpResponse(refused.status, {**refused.headers, "Allow": "GET, POST"}, refused.body)


def _with(pending: PendingCalls, added: Sequence[Mapping[str, Any]]) -> PendingCalls:
    """Return the calls with answers that are to be stored."""
    given = {answer["id"]: answer for answer in added}
    calls = tuple(
        replace(
            call,
            answer=given[call.id],
            last_answer=given[call.id],
            state="approved" if given[call.id]["approved"] else "denied",
        )
        if call.id in given
        else call
        for call in pending.calls
    )
    return replace(pending, calls=calls)


def _listed(pending: PendingCalls | None, status: int = 200) -> HttpResponse[Body]:
    response = json_response({"approvals": waiting_json(pending)}, status)
    return HttpResponse(response.status, {**response.headers, "Cache-Control": "private, no-cache"}, response.body)


def waiting_json(pending: PendingCalls | None) -> list[dict[str, Any]]:
    """Return the calls that a conversation waits with as clients get them; none where a reply goes on from them."""
    if pending is None or pending.is_going_on:
        return []
    return [call.to_json() for call in pending.open]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
