"""The endpoints that the AI SDK's chat calls: send and its variants, resume, stop, and the stored messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from ..errors import RequestError
from ..history import ChatHistory
from ..protocols.encoder import encoded
from ..protocols.ui_messages import UiMessageEncoder
from ..streams.batch import EventBatch
from ..streams.position import END_ID
from ..streams.response import Body, HttpResponse
from .access import Action, Authorize
from .browser_modules import TRANSPORT_NAME, module_response
from .entrance import Enter, not_found
from .exchanges import nodes_of
from .front_end import FrontEnd
from .handler import StreamHandler
from .requests import check_id, parse_after
from .responses import json_response
from .session_replies import RECENT, SessionReplies
from .session_routes import ReadBody
from .ui_history import UiMessage, ui_messages
from .ui_requests import UiRequest

__all__ = ["ChatEndpoints"]


class ChatEndpoints(FrontEnd):
    """The endpoints of the AI SDK's chat below the path ``api``.

    The options are those of :func:`create_chat_app`. Raises ValueError for a handler that keeps no replies or no
    conversations.
    """

    def __init__(
        self,
        handler: StreamHandler,
        *,
        api: str,
        options: Mapping[str, Any],
        typed_tools: Collection[str],
        replay_ended: bool,
        stop_on_close: bool,
        authorize: Authorize | None,
        allowed_hosts: Iterable[str],
        allowed_origins: Iterable[str],
    ) -> None:
        super().__init__(
            handler,
            prefix=api,
            options=options,
            stop_on_close=stop_on_close,
            authorize=authorize,
            allowed_hosts=allowed_hosts,
            allowed_origins=allowed_origins,
        )
        self._typed_tools = frozenset(typed_tools)
        self._replay_ended = replay_ended

    async def _answer(
        self,
        method: str,
        segments: list[str],
        query: str,
        headers: Mapping[str, str],
        read_json: ReadBody,
        enter: Enter,
    ) -> HttpResponse[Body]:
        names = [unquote(segment) for segment in segments]
        match (method, *names):
            case ("POST",) | ("POST", ""):
                return await self._post(headers, read_json, enter)
            case ("GET", "resume", stream_id) if stream_id != "stream":
                return await self._resume(check_id("The stream's id", stream_id), _after(query, headers), enter)
            case ("GET", name) if name == TRANSPORT_NAME:
                return module_response(name, headers)
            case ("GET", chat_id):
                check_id("The chat's id", chat_id)
                return await self._messages(chat_id, self._replies(await enter("open", chat_id)))
            case ("GET", chat_id, "stream"):
                check_id("The chat's id", chat_id)
                after = _after(query, headers)
                return await self._reconnect(chat_id, after, self._replies(await enter("attach", chat_id)))
            case ("GET", chat_id, "files", file_id):
                check_id("The chat's id", chat_id)
                return await self._handler.file(chat_id, file_id, access=await enter("file", chat_id))
            case ("POST", chat_id, "stop"):
                check_id("The chat's id", chat_id)
                await self._replies(await enter("stop", chat_id)).stop(chat_id)
                return json_response({"ok": True})
            case _:
                return not_found()

    # --- asking ---

    async def _post(self, headers: Mapping[str, str], read_json: ReadBody, enter: Enter) -> HttpResponse[Body]:
        asked, access = await self._read(read_json, enter, UiRequest.parse, _purpose)
        return await self._ask(asked, self._replies(access), headers.get("idempotency-key"))

    async def _ask(self, asked: UiRequest, replies: SessionReplies, request_id: str | None) -> HttpResponse[Body]:
        if not asked.is_question:
            return await self._go_on(asked, replies)
        known = await replies.look_for(asked.chat_id, lambda chat: _known(_whole_messages(chat), asked.message_id))
        body: dict[str, Any] = {**asked.options, **self._options, "sessionId": asked.chat_id}
        if asked.tools:
            body["tools"] = list(asked.tools)
        new = {"prompt": asked.prompt, "attachments": asked.attachments, "messageId": asked.message_id}
        if known is None:
            stream_id = await replies.begin({**body, **new}, request_id=request_id or asked.request_id)
            return await self._follow(replies, stream_id)
        stored = known.question.last
        if asked.trigger == "submit-message":
            if not asked.names_it:
                return await self._repeat(replies, known, asked.chat_id)
            begun = None if request_id is None else await replies.answering(request_id, asked.chat_id)
            if begun is not None:  # by the same edit: what it changed is stored already
                return await self._follow(replies, begun)
            if asked.attachments or stored.message.get("content") != asked.prompt:
                edited = {**body, **new, "edit": stored.id}
                return await self._follow(replies, await replies.begin(edited, request_id=request_id))
            if known.stream_id is not None and await replies.is_active(known.stream_id):
                return await self._follow(replies, known.stream_id)  # the same edit once more
        again = {**body, "regenerate": stored.id}
        return await self._follow(replies, await replies.begin(again, request_id=request_id))

    async def _go_on(self, asked: UiRequest, replies: SessionReplies) -> HttpResponse[Body]:
        """Go on with an answer whose calls the user has allowed or refused, or the page has run."""
        shown = await replies.look_for(asked.chat_id, lambda chat: _answer_in(_whole_messages(chat), asked.message_id))
        if shown is None:
            raise RequestError(f'This conversation has no answer "{asked.message_id}": load it again', 404)
        answers = {call_id: answer for call_id, answer in asked.answers.items() if call_id in shown.requested}
        stream_id = await replies.answer(asked.chat_id, answers) if answers else None
        if stream_id is not None:
            return await self._follow(replies, stream_id, asked.chat_id, sends_before=False)
        encoder = UiMessageEncoder(shown.id, self._typed_tools, tuple(shown.events), sends_before=False)
        return HttpResponse(200, encoder.headers, encoded(_as_batches(UiMessage(shown.id, shown.role)), encoder))

    async def _repeat(self, replies: SessionReplies, known: _Known, chat_id: str) -> HttpResponse[Body]:
        """Return the answer to a question that was sent before: from its stream, or from the conversation."""
        stream_id = known.stream_id
        if stream_id is not None and await replies.is_kept(stream_id):
            return await self._follow(replies, stream_id, chat_id)
        if known.answer is None:
            raise RequestError("This message was sent before, and its answer is lost: regenerate it", 409)
        encoder = UiMessageEncoder(known.answer.id, self._typed_tools)
        return HttpResponse(200, encoder.headers, encoded(_as_batches(known.answer), encoder))

    # --- following ---

    async def _reconnect(self, chat_id: str, after: int | None, replies: SessionReplies) -> HttpResponse[Body]:
        stream_id = await replies.live_stream(chat_id)
        if stream_id is None and self._replay_ended:
            stream_id = _last_stream(await replies.load(chat_id, limit=1))
        if stream_id is not None and after != END_ID:
            try:
                return await replies.follow(stream_id, await self._encoder(replies, stream_id, chat_id), after=after)
            except RequestError as error:
                if error.status != 404:
                    raise
        return _nothing_left()

    async def _resume(self, stream_id: str, after: int | None, enter: Enter) -> HttpResponse[Body]:
        replies = self._replies(await enter("resume", None, stream_id))
        if after == END_ID and await replies.is_kept(stream_id):
            return _nothing_left()
        chat_id = await replies.session_of(stream_id)
        return await replies.follow(stream_id, await self._encoder(replies, stream_id, chat_id), after=after)

    async def _messages(self, chat_id: str, replies: SessionReplies) -> HttpResponse[Body]:
        chat = await replies.load_whole(chat_id, live=await replies.live_stream(chat_id))
        files = f"{self._prefix}/{quote(chat_id, safe='')}/files"
        shown = [message.to_json(files, self._typed_tools) for message in ui_messages(chat)]
        response = json_response({"id": chat_id, "messages": shown})
        return HttpResponse(response.status, {**response.headers, "Cache-Control": "private, no-cache"}, response.body)

    async def _follow(
        self, replies: SessionReplies, stream_id: str, chat_id: str | None = None, *, sends_before: bool = True
    ) -> HttpResponse[Body]:
        """Return the response to a ``POST``; the stream may go on with an earlier one if its chat is named."""
        encoder = await self._encoder(replies, stream_id, chat_id, sends_before=sends_before)
        return self._stopping(await replies.follow(stream_id, encoder), replies, stream_id)

    async def _encoder(
        self, replies: SessionReplies, stream_id: str, chat_id: str | None, *, sends_before: bool = True
    ) -> UiMessageEncoder:
        """Return the encoder of a stream, which may go on with a message of its chat."""
        if chat_id is not None:
            for message in ui_messages(await replies.load(chat_id, limit=RECENT)):
                before = message.up_to(stream_id)
                if before is not None:
                    return UiMessageEncoder(before.id, self._typed_tools, tuple(before.events), sends_before)
        return UiMessageEncoder(stream_id, self._typed_tools)


@dataclass(frozen=True, slots=True)
class _Known:
    """A stored question, and its answer on the current path."""

    question: UiMessage
    answer: UiMessage | None

    @property
    def stream_id(self) -> str | None:
        """The id of the stream that answers, or answered, the question last."""
        found = (self.answer or self.question).last.metadata.get("streamId")
        return found if isinstance(found, str) else None


def _after(query: str, headers: Mapping[str, str]) -> int | None:
    """Return the id of the last message that a client has, None when it has none."""
    given = headers.get("last-event-id") or parse_qs(query).get("after", [None])[0]
    return None if given is None else parse_after(given)


def _nothing_left() -> HttpResponse[Body]:
    return HttpResponse(204, {"Cache-Control": "no-store"}, b"")


def _purpose(asked: UiRequest | None) -> tuple[Action, str | None]:
    if asked is None:
        return "stream", None
    return "stream" if asked.is_question else "approve", asked.chat_id


def _whole_messages(chat: ChatHistory) -> list[UiMessage]:
    messages = ui_messages(chat)
    return messages[1:] if chat.has_more_above else messages  # the first may lack its beginning


def _answer_in(messages: list[UiMessage], message_id: str) -> UiMessage | None:
    return next((message for message in messages if message.role == "assistant" and message.id == message_id), None)


def _known(messages: list[UiMessage], message_id: str) -> _Known | None:
    for place, message in enumerate(messages):
        if message.role == "user" and message.is_known_as(message_id):
            after = messages[place + 1] if place + 1 < len(messages) else None
            return _Known(message, after if after is not None and after.role == "assistant" else None)
    return None


def _last_stream(chat: ChatHistory) -> str | None:
    """Return the id of the stream that answered, or was to answer, the end of a conversation."""
    nodes = nodes_of(chat)
    stream_id = nodes[-1].metadata.get("streamId") if nodes else None
    return stream_id if isinstance(stream_id, str) else None


async def _as_batches(answer: UiMessage) -> AsyncGenerator[EventBatch]:
    """Yield a stored answer as its stream had it, in one batch."""
    events = tuple(enumerate(answer.events, 1))
    yield EventBatch(events, 0, len(events), answer.end)
