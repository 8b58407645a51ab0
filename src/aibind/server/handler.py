"""The endpoints: one method each, from a decoded body to a response (contract, section 8)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from ..conversations.sessions import SessionStore
from ..conversations.store import ConversationStore
from ..errors import AibindError, RequestError
from ..models.model import Message, Model, ModelRequest
from ..streams.durable import HEARTBEAT_MS, KeepAlive
from ..streams.memory import MemoryStreamStore
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamStore
from . import prompts
from .attachments import MAX_ATTACHMENT_BYTES, Attachments, file_response
from .generation import Generation
from .models import Models, ask_model
from .recovery import Recovery
from .replies import DurableReplies, start_plain_reply
from .requests import ChatBody, CompactBody, CompleteBody, StreamBody, TitleBody, parse_after, parse_id
from .responses import json_response, text_response
from .session_endpoints import SessionEndpoints
from .session_titles import bounded_title
from .sessions import Session, Sessions, Turn
from .tools import Tool, run_rounds

__all__ = ["StreamHandler"]

logger = logging.getLogger("aibind")


class StreamHandler:
    """The endpoints that aibind's clients call, and the replies and conversations behind them.

    ``model``, or ``models`` by key (the first is the default), answers. With ``resumable`` a reply is a durable
    stream in ``store`` (by default in memory), which outlives its reader and can be resumed and stopped by its id.
    With ``conversations`` a request that names a ``sessionId`` continues a stored conversation, of which the model sees
    the last ``max_messages`` before the question, with at most ``max_attachment_bytes`` of attached files. ``toolsets``
    are tools by name, which a request may let the model call. ``keep_alive`` is given each producer's task, so that a
    Worker keeps it running when its request is over.

    Every endpoint raises RequestError for a wrong request, and ModelError or the error of a store when it fails before
    it has begun to answer; :meth:`Endpoints.answer` turns all of them into responses.

    Raises TypeError for a model without ``stream``, and ValueError for options that do not go together.
    """

    def __init__(
        self,
        *,
        model: Model | None = None,
        models: Mapping[str, Model] | None = None,
        resumable: bool = False,
        store: StreamStore | None = None,
        conversations: ConversationStore | None = None,
        max_messages: int | None = None,
        max_attachment_bytes: int = MAX_ATTACHMENT_BYTES,
        toolsets: Mapping[str, Sequence[Tool]] | None = None,
        complete_prompt: str = prompts.COMPLETE,
        title_prompt: str = prompts.TITLE,
        compact_prompt: str = prompts.COMPACT,
        flush_interval_ms: float | None = None,
        heartbeat_ms: float = HEARTBEAT_MS,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        self._models = Models(model, models)
        self._conversations = conversations
        if max_messages is not None and max_messages < 0:
            raise ValueError(f"max_messages is {max_messages}: use 0 or more, or None for all")
        if max_attachment_bytes < 0:
            raise ValueError(f"max_attachment_bytes is {max_attachment_bytes}: use 0 or more")
        if store is not None and not resumable:
            raise ValueError("A stream store is used by resumable streams only: add resumable=True")
        store = (store or MemoryStreamStore()) if resumable else None
        self._store = store
        self._replies: DurableReplies | None = None
        if store is not None:
            self._replies = DurableReplies(
                store, flush_interval_ms=flush_interval_ms, heartbeat_ms=heartbeat_ms, keep_alive=keep_alive
            )
        self._attachments = Attachments(conversations, max_attachment_bytes)
        self._sessions: Sessions | None = None
        if conversations is not None:
            self._sessions = Sessions(conversations, store, max_messages, self._attachments)
        self._toolsets = toolsets or {}
        self._complete_prompt = complete_prompt
        self._title_prompt = title_prompt
        self._compact_prompt = compact_prompt

    def __repr__(self) -> str:
        return f"<StreamHandler models={self._models!r} store={self._store!r} conversations={self._conversations!r}>"

    @property
    def resumable(self) -> bool:
        """Whether replies are durable streams."""
        return self._replies is not None

    @property
    def sessions(self) -> SessionEndpoints:
        """The endpoints of stored sessions.

        Raises RequestError, with status 501, when the conversations are in no SessionStore.
        """
        if self._sessions is None or not isinstance(self._conversations, SessionStore):
            raise RequestError(
                "This server does not list sessions: give its StreamHandler a SqliteMessageStore for conversations="
                ' (one in memory is SqliteMessageStore(wrap_sqlite3(":memory:")))',
                501,
            )
        return SessionEndpoints(self._conversations, self._sessions, self._store, self._replies, self._attachments)

    # --- stored conversations ---

    def live_stream(self, session_id: str) -> str | None:
        """Return the id of the newest stream that this process is producing for a conversation, or None.

        A stream is live until its answer is stored.
        """
        return self._sessions.find(session_id).live_stream if self._sessions is not None else None

    def changing(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """Hold a stored conversation while you load, change and save it: no turn of this handler goes on meanwhile."""
        return self._session(session_id).changing()

    async def recover(self, session_id: str) -> Recovery:
        """Return what became of a conversation's last question, after recovering an answer that was lost.

        An answer is lost when its server was killed before it could save it. As much as the stream holds is added to
        the conversation, and the stream is ended as failed. This takes up to a tenth of a lease, in which a producer
        that is alive would write. Every turn does it first. Raises what the stores raise, and RuntimeError for a
        handler without ``conversations``.
        """
        return await self._session(session_id).recover()

    async def sweep(self) -> int:
        """Recover the answers of lost producers in all conversations, then remove expired streams; return how many.

        Call it when a server starts and every few minutes, in place of the store's ``cleanup()``. A conversation that
        cannot be loaded or saved is logged, and its streams stay.
        """
        if self._store is None:
            return 0
        if self._sessions is not None:
            lost = await self._store.lost_streams()
            for session_id in dict.fromkeys(one.status.session_id for one in lost):
                if session_id is not None:
                    await self._recover_logged(session_id)
        return await self._store.cleanup()

    async def _recover_logged(self, session_id: str) -> None:
        try:
            await self._session(session_id).recover(limit=1)
        except AibindError:
            logger.exception("The answers of lost producers in conversation %s could not be recovered", session_id)

    # --- endpoints ---

    async def stream(self, body: object) -> HttpResponse[Body]:
        """Answer a prompt with text, in or outside a stored conversation, with the tools of a toolset if named."""
        return await self._answer(body, structured=False)

    async def structured(self, body: object) -> HttpResponse[Body]:
        """Answer a prompt with JSON, as it grows."""
        return await self._answer(body, structured=True)

    async def chat(self, body: object) -> HttpResponse[Body]:
        """Answer a conversation that the client keeps, running the tools of a toolset when it names one."""
        asked = ChatBody.parse(body)
        model = self._models.pick(asked.model)
        tools = self._tools(asked.toolset)
        request = ModelRequest(asked.messages, system=asked.system)
        return await self._start(Generation(run_rounds(model, request, tools, asked.max_steps)), None)

    async def complete(self, body: object) -> HttpResponse[Body]:
        """Continue a text that is being written."""
        asked = CompleteBody.parse(body)
        generation = self._ask(asked.model, asked.input, asked.system or self._complete_prompt)
        return text_response(await generation.read())

    async def title(self, body: object) -> HttpResponse[Body]:
        """Name a conversation; with a session in a SessionStore, make the name its title."""
        asked = TitleBody.parse(body)
        generation = self._ask(asked.model, prompts.transcript(asked.messages), self._title_prompt)
        title = (await generation.read()).strip()
        if asked.session_id and title and isinstance(self._conversations, SessionStore):
            await self._conversations.rename(asked.session_id, bounded_title(title))
        response = text_response(title, content_type="text/plain; charset=utf-8")
        return HttpResponse(response.status, {**response.headers, "Cache-Control": "no-cache"}, response.body)

    async def compact(self, body: object) -> HttpResponse[Body]:
        """Condense a conversation; with a session, replace the stored one by the summary."""
        asked = CompactBody.parse(body)
        generation = self._ask(asked.model, prompts.transcript(asked.messages), self._compact_prompt)
        summary = await generation.read()
        if asked.session_id and self._sessions is not None and summary:
            await self._sessions.find(asked.session_id).compact(summary)
        saved = generation.usage.input_tokens - generation.usage.output_tokens
        return json_response({"summary": summary, "tokensSaved": saved})

    async def stop(self, body: object) -> HttpResponse[Body]:
        """Stop a durable stream, wherever it is produced, and answer the same when it is unknown or has ended."""
        replies = self._require_replies()
        await replies.stop(parse_id(body))
        return json_response({"ok": True})

    async def resume(self, stream_id: str | None, after: str | None) -> HttpResponse[Body]:
        """Continue a durable stream after the message with id ``after`` (default: from its beginning)."""
        replies = self._require_replies()
        if not stream_id:
            raise RequestError("id parameter is required")
        return await replies.resume(stream_id, parse_after(after))

    async def file(self, session_id: str, file_id: str) -> HttpResponse[Body]:
        """Return a file that a message of a session refers to, by the ``id`` in the message.

        Pictures are shown in place, and anything else is saved. Raises RequestError for a file that the session does
        not refer to.
        """
        found = await self._attachments.find(session_id, file_id)
        if found is None:
            raise RequestError("This conversation has no such file", 404)
        return file_response(found)

    async def aclose(self) -> None:
        """End the replies under way, and store what there is of them; call this before closing the stores.

        Their readers find the text so far and the error ``The server was shut down``. Later requests for a durable
        stream are answered with 503.
        """
        if self._replies is not None:
            await self._replies.aclose()

    # --- shared by endpoints ---

    async def _answer(self, body: object, *, structured: bool) -> HttpResponse[Body]:
        asked = StreamBody.parse(body)
        self._attachments.check(asked.attachments)
        model = self._models.pick(asked.model)
        tools = self._tools(asked.toolset)
        turn: Turn | None = None
        messages: Sequence[Message] = [asked.question()]
        if asked.session_id and self._sessions is not None:
            turn = await self._sessions.find(asked.session_id).begin(asked)
            messages = turn.messages
        elif asked.edit or asked.regenerate:
            raise RequestError("edit and regenerate need stored conversations, which this server does not keep")
        request = ModelRequest(messages, system=asked.system, json_schema=asked.schema if structured else None)
        pace = self._replies.pace if self._replies is not None else None
        events = run_rounds(model, request, tools, asked.max_steps) if tools else ask_model(model, request)
        return await self._start(Generation(events, structured=structured, pace=pace), turn)

    async def _start(self, generation: Generation, turn: Turn | None) -> HttpResponse[Body]:
        if self._replies is None:
            return await start_plain_reply(generation, turn)
        return await self._replies.start(generation, turn)

    def _ask(self, key: str | None, text: str, system: str) -> Generation:
        request = ModelRequest([{"role": "user", "content": text}], system=system)
        return Generation(ask_model(self._models.pick(key), request))

    def _tools(self, toolset: str | None) -> Sequence[Tool]:
        if toolset is None:
            return ()
        if toolset not in self._toolsets:
            raise RequestError(f'Unknown toolset: "{toolset}"')
        return self._toolsets[toolset]

    def _session(self, session_id: str) -> Session:
        if self._sessions is None:
            raise RuntimeError("This handler keeps no conversations: create it with conversations=…")
        return self._sessions.find(session_id)

    def _require_replies(self) -> DurableReplies:
        if self._replies is None:
            raise RequestError("Not Found", 404)
        return self._replies
