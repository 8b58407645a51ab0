"""The endpoints of stored sessions: list, read, change, delete, attach, export and import."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .._offload import offload, uncollected
from ..conversations.sessions import MessagePage, SessionInfo, SessionStore
from ..errors import HistoryError, RequestError
from ..history import ChatHistory
from ..streams.position import END_ID
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamStore
from .access import OwnedSessions
from .approvals import waiting_json
from .attachments import Attachments
from .begun_replies import BegunReplies
from .json_body import parse_json
from .live_streams import live_streams
from .requests import parse_after
from .responses import json_response
from .session_requests import SessionChanges, cursor_of, imported_id, parse_cursor, parse_limit, parse_title
from .session_titles import save_titled
from .session_wire import NO_OUTCOME, Outcome, disposition_of, info_json, matches, page_json, tag_of
from .sessions import Session, Sessions

__all__ = ["SessionEndpoints"]

_LARGE_BYTES = 64 * 1024
"""Bytes of a body from which on it is read in a thread."""

_OF_THIS_SERVER = ("streamId", "approvals", "answered")
"""Names in the metadata of messages that only this server may give."""

UNKNOWN = "This conversation does not exist, or has expired"


class SessionEndpoints:
    """The endpoints of the sessions of an ``owner``, which are in ``store`` (None: of all, by the ids of the store).

    ``streams`` and ``replies`` are None where replies are not durable. Parameters of a query come as ``parse_qs``
    returns them, and headers with lower-case names. Raises RequestError for a wrong request.
    """

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        streams: StreamStore | None,
        replies: BegunReplies | None,
        attachments: Attachments,
        *,
        owner: str | None = None,
    ) -> None:
        self._store: SessionStore = store if owner is None else OwnedSessions(store, owner)
        self._sessions = sessions
        self._streams = streams
        self._replies = replies
        self._attachments = attachments
        self._owner = owner

    async def list_sessions(self, fields: Mapping[str, Sequence[str]]) -> HttpResponse[Body]:
        """Return the sessions, most recently saved first."""
        limit = parse_limit(fields)
        found = await self._store.list_sessions(limit=limit + 1, before=parse_cursor(fields))
        shown = found[:limit]
        rows = [info_json(session) for session in shown]
        if fields.get("live", [""])[0] == "true":
            live = await asyncio.gather(*(self._live_stream(session.session_id) for session in shown))
            rows = [{**row, "liveStream": stream_id} for row, stream_id in zip(rows, live, strict=True)]
        before = cursor_of(shown[-1]) if len(found) > limit else None
        return _fresh(json_response({"sessions": rows, "before": before}))

    async def open(
        self, session_id: str, fields: Mapping[str, Sequence[str]], headers: Mapping[str, str]
    ) -> HttpResponse[Body]:
        """Return a session with the last messages of its current path, or those above the message ``before``.

        An answer that was lost with its server is put in its place first. Calls that wait for approval are listed.
        """
        limit = parse_limit(fields)
        before = fields.get("before", [""])[0] or None
        page, live = await asyncio.gather(
            self._store.read_page(session_id, before=before, limit=limit), self._live_stream(session_id)
        )
        outcome = Outcome(live)
        if before is None and live is None and page is not None and _lacks_an_answer(page):
            page, outcome = await self._settle(session_id, page, limit)
        if page is None:
            raise RequestError(UNKNOWN, 404)
        tag = tag_of(page.session, outcome)
        if matches(headers.get("if-none-match", ""), tag):
            return _fresh(HttpResponse(304, {}, b""), tag)
        approvals: list[dict[str, Any]] = []
        if outcome.live_stream is None and _lacks_an_answer(page):
            approvals = waiting_json((await self._session(session_id).find_pending())[1])
        return _fresh(json_response(page_json(page, outcome, approvals)), tag)

    async def change(self, session_id: str, body: object, headers: Mapping[str, str]) -> HttpResponse[Body]:
        """Change a session's title, or select the branch of a message, and return the session."""
        changes = SessionChanges.parse(body)
        async with self._session(session_id).changing():
            session = await self._find(session_id)
            expected = headers.get("if-match")
            if expected is not None and not matches(expected, tag_of(session), session_only=True):
                raise RequestError("This conversation has changed meanwhile: load it again", 412)
            if changes.active_leaf_id is not None:
                await self._select(session_id, changes.active_leaf_id)
            if changes.has_title:
                await self._store.rename(session_id, changes.title)
            session = await self._find(session_id)
        return _fresh(json_response(info_json(session)), tag_of(session))

    async def delete(self, session_id: str) -> HttpResponse[Body]:
        """Stop the replies of a session, wherever they are produced, and delete it; an unknown one is no error."""
        stopped: set[str] = set()
        while left := set(await self._live_streams(session_id)) - stopped:
            stopped |= left
            if self._replies is not None:
                await asyncio.gather(*map(self._replies.stop, left))
        async with self._session(session_id).changing():
            await self._store.delete(session_id)
        return HttpResponse(204, {}, b"")

    async def attach(
        self, session_id: str, fields: Mapping[str, Sequence[str]], headers: Mapping[str, str]
    ) -> HttpResponse[Body]:
        """Return the response that follows the reply under way, wherever it is produced; 204 when there is none."""
        # A browser's EventSource reconnects with the last id it saw, which is newer than the one in its URL.
        last_event_id = headers.get("last-event-id")
        stream_id = await self._live_stream(session_id)
        after = parse_after(last_event_id or fields.get("after", [None])[0], stream_id)
        if stream_id is None or self._replies is None:
            return _fresh(HttpResponse(204, {}, b""))
        if last_event_id and after == END_ID:
            after = 0  # it has an earlier reply
        try:
            return await self._replies.resume(stream_id, after)
        except RequestError as error:
            if error.status != 404:
                raise
            return _fresh(HttpResponse(204, {}, b""))  # it has been swept since it was found

    async def export(self, session_id: str) -> HttpResponse[Body]:
        """Return a whole conversation, with its files, as the JSON of a ChatHistory, to be kept as a file."""
        with uncollected():
            return await self._export(session_id)

    async def _export(self, session_id: str) -> HttpResponse[Body]:
        session = await self._find(session_id)
        chat = await self._attachments.export(self._session(session_id).id, await self._store.load(session_id))
        text = await offload(lambda: chat.to_json().encode())
        headers = {"Content-Type": "application/json", "Content-Disposition": disposition_of(session)}
        return _fresh(HttpResponse(200, headers, text))

    async def import_(self, body: bytes | bytearray, fields: Mapping[str, Sequence[str]]) -> HttpResponse[Body]:
        """Store an exported conversation as a new session, ``sessionId`` or a random one, and return its id."""
        with uncollected():
            return await self._import(body, fields)

    async def _import(self, body: bytes | bytearray, fields: Mapping[str, Sequence[str]]) -> HttpResponse[Body]:
        session_id = imported_id(fields) or str(uuid.uuid4())
        title = parse_title(fields["title"][0]) if "title" in fields else None
        chat = await _read_chat(body, is_owned=self._owner is not None)
        session = self._session(session_id)
        async with session.changing():
            if await self._store.find_session(session_id) is not None:
                raise RequestError(
                    f'There is a conversation "{session_id}" already: import with another sessionId', 409
                )
            chat = await self._attachments.import_(session.id, chat)
            await save_titled(self._store, session_id, chat, title=title)
        return json_response({"id": session_id}, 201)

    # --- what the session is ---

    async def _find(self, session_id: str) -> SessionInfo:
        session = await self._store.find_session(session_id)
        if session is None:
            raise RequestError(UNKNOWN, 404)
        return session

    def _session(self, session_id: str) -> Session:
        return self._sessions.find(session_id, self._owner)

    async def _live_streams(self, session_id: str) -> list[str]:
        """Return the ids of the streams under way, newest last, including one whose answer is being saved here."""
        return await live_streams(self._session(session_id), self._streams)

    async def _live_stream(self, session_id: str) -> str | None:
        return next(reversed(await self._live_streams(session_id)), None)

    # --- changes ---

    async def _select(self, session_id: str, message_id: str) -> None:
        if await self._live_stream(session_id) is not None:
            raise RequestError("A reply is under way: stop it, or wait for its end, before you select a message", 409)
        if await self._store.select(session_id, message_id) is None:
            raise RequestError(f'This conversation has no message "{message_id}"', 404)

    async def _settle(self, session_id: str, page: MessagePage, limit: int) -> tuple[MessagePage | None, Outcome]:
        """Return the page and what became of the question that it ends with, which no stream is answering."""
        recovery = await self._session(session_id).recover(limit=1)
        outcome = Outcome(recovery.live_stream, recovery.unanswered, recovery.error)
        if not recovery.recovered and outcome == NO_OUTCOME:
            # Answered meanwhile, or somebody made the question the end of the path: its newest answer is shown then.
            question = recovery.chat.tree.get(page.messages[-1].id)
            if question is not None and question.children and recovery.chat.tree.active_leaf_id == question.id:
                await self._store.select(session_id, question.children[-1])
        elif not recovery.recovered:
            return page, outcome
        return await self._store.read_page(session_id, limit=limit), outcome


def _lacks_an_answer(page: MessagePage) -> bool:
    """Return whether a path ends with a question, or in the middle of an answer: with a tool's result, or a call."""
    if not page.messages:
        return False
    message = page.messages[-1].message
    return message.get("role") in ("user", "tool") or bool(message.get("tool_calls"))


async def _read_chat(body: bytes | bytearray, *, is_owned: bool) -> ChatHistory:
    left_out = [name for name in _OF_THIS_SERVER if f'"{name}"'.encode() in body]
    if not is_owned and "streamId" in left_out:
        left_out.remove("streamId")

    def read() -> ChatHistory:
        chat = ChatHistory.from_json(body.decode())
        return _without(left_out, chat) if left_out else chat

    try:
        await parse_json(body)  # stricter than ours: no number that overflows, which no page could be told
        return await offload(read, len(body) > _LARGE_BYTES)
    except HistoryError as error:
        raise RequestError(f"The body is not an exported conversation: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RequestError("The body is not valid JSON") from error


def _without(names: Sequence[str], chat: ChatHistory) -> ChatHistory:
    """Return a conversation that waits for no stream and for no approval.

    Which streams a conversation gets its answers from is for this server to say: a client that imports the id of
    another's stream must not be given what it holds. Nor must it have a tool run that no model has called.
    """
    data = chat.tree.serialize()
    found = [
        node["metadata"].pop(name) for node in data["nodes"].values() for name in names if name in node["metadata"]
    ]
    return ChatHistory.from_tree(chat.tree.deserialize(data)) if found else chat


def _fresh(response: HttpResponse[Body], tag: str | None = None) -> HttpResponse[Body]:
    """Return a response that is asked for again each time, with the tag that then saves sending it."""
    headers = {**response.headers, "Cache-Control": "private, no-cache"}
    if tag is not None:
        headers["ETag"] = tag
    return HttpResponse(response.status, headers, response.body)
