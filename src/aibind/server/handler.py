"""The endpoints: one method each, from a decoded body to a response (contract, section 8)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any, Self

from ..conversations.sessions import SessionStore
from ..conversations.store import ConversationStore
from ..errors import RequestError
from ..models.model import ChooseModel, Model, ModelFunction
from ..streams.durable import HEARTBEAT_MS, KeepAlive
from ..streams.memory import MemoryStreamStore
from ..streams.position import END_ID
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamStore
from . import prompts
from .access import Access, owner_of, session_key
from .approvals import Approvals
from .asking import Asking
from .attachments import MAX_ATTACHMENT_BYTES, Attachments, file_response
from .begun_replies import BegunReplies
from .busy import MAX_QUEUED, OnBusy, check_on_busy
from .completions import Completions
from .housekeeping import HOUSEKEEPING_INTERVAL_S, Housekeeping, sweep
from .limits import Limits
from .load import Load
from .models import Models
from .questions import Questions
from .recovery import Recovery
from .replies import DurableReplies
from .requests import check_id, parse_after, parse_id
from .responses import json_response
from .session_endpoints import SessionEndpoints
from .session_replies import SessionReplies
from .sessions import Session, Sessions
from .shutdown import GRACE_S, Shutdown
from .signals import noticing_signals
from .starting import ReplyStarter
from .stream_ids import StreamIds
from .takeovers import Takeovers
from .tools import Tool

__all__ = ["StreamHandler"]


class StreamHandler:
    """The endpoints that aibind's clients call, and the replies and conversations behind them.

    ``model``, or ``models`` by key (the first is the default), answers: each an object with ``stream(request)``, or
    a function from a request to an async iterator, such as an async generator function. ``choose_model`` is a
    function, or coroutine function, from a request to the model that answers it, or to its key in ``models``.
    ``settings`` reach the model, as :attr:`ModelRequest.settings`. With ``resumable`` a reply is a durable stream
    in ``store`` (by default in memory), which outlives its reader and can be resumed and stopped by its id. With
    ``conversations`` a request that names a ``sessionId`` continues a stored conversation, of which the model sees
    the last ``max_messages`` before the question, with at most ``max_attachment_bytes`` of attached files.
    ``toolsets`` are tools by name, which a request may let the model call.
    With ``whole_chunks`` servers with the JavaScript packages can resume what is sent here: see
    :meth:`DurableStream.create`.
    ``keep_alive`` is given each producer's task, so that a Worker keeps it running when its request is over.
    ``on_busy`` is what becomes of a request in a session that has a reply under way (see :data:`OnBusy`), and
    ``max_queued`` how many may wait in one session. ``limits`` are the bounds of what clients may ask for.
    Every ``housekeeping_interval_s`` seconds from the first reply on, :meth:`sweep` is called (None: never).
    ``stream_prefix`` begins the id of each new stream, so that a router finds from an id where the stream is.

    An endpoint takes the :class:`Access` that its request was granted: sessions and streams belong to its owner, and
    another owner's are as unknown as those that do not exist. Without one, they belong to nobody, and any stream may be
    read by its id. Every endpoint raises RequestError for a wrong request, and ModelError or the error of a store when
    it fails before it has begun to answer; :meth:`Endpoints.answer` turns all of them into responses.

    Raises TypeError for what is not a model, and ValueError for options that do not go together.
    """

    def __init__(
        self,
        *,
        model: Model | ModelFunction | None = None,
        models: Mapping[str, Model | ModelFunction] | None = None,
        choose_model: ChooseModel | None = None,
        settings: Mapping[str, Any] | None = None,
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
        pack_events: bool | None = None,
        whole_chunks: bool = False,
        heartbeat_ms: float = HEARTBEAT_MS,
        keep_alive: KeepAlive | None = None,
        on_busy: OnBusy = "branch",
        max_queued: int = MAX_QUEUED,
        limits: Limits | None = None,
        housekeeping_interval_s: float | None = HOUSEKEEPING_INTERVAL_S,
        stream_prefix: str = "",
    ) -> None:
        check_on_busy(on_busy, max_queued, resumable=resumable)
        self._models = Models(model, models, choose_model)
        self._conversations = conversations
        if max_messages is not None and max_messages < 0:
            raise ValueError(f"max_messages is {max_messages}: use 0 or more, or None for all")
        if max_attachment_bytes < 0:
            raise ValueError(f"max_attachment_bytes is {max_attachment_bytes}: use 0 or more")
        if store is not None and not resumable:
            raise ValueError("A stream store is used by resumable streams only: add resumable=True")
        if pack_events and whole_chunks:
            raise ValueError("pack_events and whole_chunks exclude each other: JavaScript servers know no packs")
        store = (store or MemoryStreamStore()) if resumable else None
        self._store = store
        self._limits = limits or Limits()
        self._asking = Asking(self._models, settings, self._limits)
        self._load = Load(self._limits)
        self._stream_ids = StreamIds(stream_prefix)
        self._replies: DurableReplies | None = None
        self._begun: BegunReplies | None = None
        if store is not None:
            self._begun = BegunReplies(store, self._load, whole_chunks=whole_chunks, heartbeat_ms=heartbeat_ms)
            self._replies = DurableReplies(
                store,
                flush_interval_ms=flush_interval_ms,
                pack_events=pack_events,
                whole_chunks=whole_chunks,
                heartbeat_ms=heartbeat_ms,
                keep_alive=keep_alive,
                load=self._load,
                ids=self._stream_ids,
            )
        self._shutdown = Shutdown(self._replies)
        self._housekeeping = Housekeeping(store, conversations, self.sweep, housekeeping_interval_s)
        self._starter = ReplyStarter(
            self._replies,
            self._begun,
            self._shutdown,
            self._housekeeping,
            self._load,
            self._stream_ids,
            max_queued=max_queued,
        )
        self._attachments = Attachments(conversations, max_attachment_bytes)
        self._sessions: Sessions | None = None
        if conversations is not None:
            self._sessions = Sessions(conversations, store, max_messages, self._attachments, self._stream_ids)
        self._toolsets = toolsets or {}
        self._takeovers = Takeovers(store, self._replies, self._sessions, self._asking, self._tools, self._shutdown)
        self.approvals = Approvals(self._sessions, self._begun, self._starter, self._asking, self._tools)
        self._questions = Questions(
            self._starter,
            self._asking,
            self._limits,
            self._attachments,
            sessions=self._sessions,
            tools_of=self._tools,
            on_busy=on_busy,
        )
        self._completions = Completions(
            self._asking,
            self._limits,
            self._load,
            self._shutdown,
            conversations=conversations,
            sessions=self._sessions,
            complete_prompt=complete_prompt,
            title_prompt=title_prompt,
            compact_prompt=compact_prompt,
        )

    def __repr__(self) -> str:
        return f"<StreamHandler models={self._models!r} store={self._store!r} conversations={self._conversations!r}>"

    @property
    def resumable(self) -> bool:
        """Whether replies are durable streams."""
        return self._replies is not None

    @property
    def stream_ids(self) -> StreamIds:
        """The ids of new streams, for a front end that looks for the stream of a request."""
        return self._stream_ids

    @property
    def lists_sessions(self) -> bool:
        """Whether the conversations are in a SessionStore, which the endpoints below ``sessions`` need."""
        return isinstance(self._conversations, SessionStore)

    @property
    def keeps_sessions(self) -> bool:
        """Whether replies are durable streams and conversations are stored, which other front ends need."""
        return self._replies is not None and self._sessions is not None

    def session_replies(self, access: Access | None = None) -> SessionReplies:
        """Return the replies of an owner's sessions, for a front end with another format.

        Raises RuntimeError for a handler without ``resumable`` or without ``conversations``.
        """
        if self._store is None or self._begun is None or self._conversations is None or self._sessions is None:
            raise RuntimeError("This handler keeps no sessions: create it with resumable=True and conversations=…")
        return SessionReplies(
            self.stream,
            self.approvals.answer,
            self._conversations,
            self._sessions,
            self._store,
            self._begun,
            access,
        )

    def sessions(self, access: Access | None = None) -> SessionEndpoints:
        """Return the endpoints of an owner's stored sessions; without ``access``, of all.

        Raises RequestError, with status 501, when the conversations are in no SessionStore.
        """
        if self._sessions is None or not isinstance(self._conversations, SessionStore):
            raise RequestError(
                "This server does not list sessions: give its StreamHandler a SqliteMessageStore for conversations="
                ' (one in memory is SqliteMessageStore(wrap_sqlite3(":memory:")))',
                501,
            )
        return SessionEndpoints(
            self._conversations,
            self._sessions,
            self._store,
            self._begun,
            self._attachments,
            owner=owner_of(access),
        )

    # --- stored conversations ---

    def live_stream(self, session_id: str, *, owner: str | None = None) -> str | None:
        """Return the id of the newest stream that this process is producing for a conversation, or None.

        A stream is live until its answer is stored.
        """
        return self._sessions.find(session_id, owner).live_stream if self._sessions is not None else None

    def changing(self, session_id: str, *, owner: str | None = None) -> AbstractAsyncContextManager[None]:
        """Hold a stored conversation while you load, change and save it: no turn of this handler goes on meanwhile.

        The store has the conversation of an ``owner`` under :func:`session_key`.
        """
        return self._session(session_id, owner).changing()

    async def recover(self, session_id: str, *, owner: str | None = None) -> Recovery:
        """Return what became of a conversation's last question, after recovering an answer that was lost.

        An answer is lost when its server was killed before it could save it. As much as the stream holds is added to
        the conversation, and the stream is ended as failed. This takes up to a lease, in which a producer
        that is alive would write. Every turn does it first. Raises what the stores raise, and RuntimeError for a
        handler without ``conversations``.
        """
        return await self._session(session_id, owner).recover()

    async def sweep(self) -> int:
        """Remove expired streams, and return how many; recover the answers of lost producers in all conversations.

        Housekeeping calls it. Where that is off, and on Workers, call it every few minutes in place of the store's
        ``cleanup()``. A conversation that cannot be loaded or saved is logged, and its streams stay.
        """
        if self._store is None:
            return 0
        await self._takeovers.sweep()
        return await sweep(self._store, self._recover_end if self._sessions is not None else None)

    async def continue_reply(self, stream_id: str, *, lease: int) -> bool:
        """Go on with a reply whose producer is known to be lost, and return whether this handler does.

        ``lease`` is the ``expires_at`` that the stream was seen with: a producer that has renewed it since is alive. No
        lease is waited for, as in a Durable Object that has started again. :meth:`sweep` finds lost replies by itself.
        Raises the store's errors.
        """
        return bool(await self._takeovers.take_over(stream_id, lease))

    async def _recover_end(self, session_id: str) -> None:
        await self._session(session_id).recover(limit=1)

    # --- endpoints ---

    async def stream(
        self,
        body: object,
        *,
        request_id: str | None = None,
        access: Access | None = None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Answer a prompt with text, in or outside a stored conversation, with the tools of a toolset if named.

        ``request_id`` is the value of the header ``Idempotency-Key``, here and in :meth:`structured` and :meth:`chat`:
        a request that its owner repeats with it, at any process, is answered with the stream that the first one began.
        ``events`` are the names of the events that the response has beside text and the end, here and in the other
        endpoints that return a stream (None: all). They are all stored.
        """
        return await self._questions.answer("stream", body, request_id, access, events)

    async def structured(
        self,
        body: object,
        *,
        request_id: str | None = None,
        access: Access | None = None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Answer a prompt with JSON, as it grows."""
        return await self._questions.answer("structured", body, request_id, access, events)

    async def chat(
        self,
        body: object,
        *,
        request_id: str | None = None,
        access: Access | None = None,
        events: Collection[str] | None = None,
    ) -> HttpResponse[Body]:
        """Answer a conversation that the client keeps, running the tools of a toolset when it names one."""
        return await self._questions.chat(body, request_id, access, events)

    async def complete(self, body: object, *, access: Access | None = None) -> HttpResponse[Body]:
        """Continue a text that is being written."""
        return await self._completions.complete(body, access)

    async def title(self, body: object, *, access: Access | None = None) -> HttpResponse[Body]:
        """Name a conversation; with a session in a SessionStore, make the name its title."""
        return await self._completions.title(body, access)

    async def compact(self, body: object, *, access: Access | None = None) -> HttpResponse[Body]:
        """Condense a conversation; with a session, replace the stored one by the summary."""
        return await self._completions.compact(body, access)

    async def stop(self, body: object, *, access: Access | None = None) -> HttpResponse[Body]:
        """Stop a durable stream, wherever it is produced, and answer the same when it is unknown or has ended."""
        begun = self._require_begun()
        stream_id = parse_id(body)
        is_produced_here = begun.produces(stream_id)
        await begun.stop(stream_id, owner_of(access))
        if not is_produced_here:
            await self._takeovers.cancel(stream_id, owner_of(access))
        return json_response({"ok": True})

    async def resume(
        self,
        stream_id: str | None,
        after: str | None,
        *,
        last_event_id: str | None = None,
        access: Access | None = None,
        events: Collection[str] | None = None,
        short: bool = False,
    ) -> HttpResponse[Body]:
        """Continue a durable stream after the message with id ``after`` (default: from its beginning).

        ``last_event_id`` is the header that a browser's ``EventSource`` reconnects with; it overrides ``after``, which
        is older. After that of ``done`` the answer is a 204, which tells the ``EventSource`` to stop. With ``short``
        text comes in messages of at most 64 bytes, for a connection that breaks before longer ones have arrived.
        """
        begun = self._require_begun()
        if not stream_id:
            raise RequestError("id parameter is required")
        check_id("id", stream_id)
        position = parse_after(last_event_id or after, stream_id)
        if last_event_id and position == END_ID:
            return await begun.confirm_end(stream_id, owner_of(access))
        return await begun.resume(stream_id, position, owner_of(access), events=events, short=short)

    async def file(self, session_id: str, file_id: str, *, access: Access | None = None) -> HttpResponse[Body]:
        """Return a file that a message of a session refers to, by the ``id`` in the message.

        Pictures are shown in place, and anything else is saved. Raises RequestError for a file that the session does
        not refer to.
        """
        found = await self._attachments.find(session_key(session_id, owner_of(access)), file_id)
        if found is None:
            raise RequestError("This conversation has no such file", 404)
        response = file_response(found)
        if access is None:
            return response
        # A browser keeps it, and is not to show it to a user who signs in later.
        return HttpResponse(response.status, {**response.headers, "Vary": "Authorization, Cookie"}, response.body)

    # --- the life of the server ---

    @asynccontextmanager
    async def running(self, *, grace_s: float = GRACE_S) -> AsyncGenerator[Self]:
        """Do the housekeeping from the start, and shut down when the server is told to end: for an app's lifespan.

        ``SIGTERM``, while the server handles it, begins ``aclose(grace_s=grace_s)`` at once: servers end the lifespan
        only when their connections have ended. ``SIGINT``, of Ctrl+C, begins one without grace. Leaving ends what is
        left of it.
        """
        closing: list[asyncio.Task[None]] = []

        def close(number: int) -> None:
            closing.append(asyncio.create_task(self.aclose(grace_s=0 if number == signal.SIGINT else grace_s)))

        self._housekeeping.start()
        with noticing_signals(signal.SIGTERM, signal.SIGINT, notice=close):
            try:
                yield self
            finally:
                await self.aclose(grace_s=grace_s)
                await asyncio.gather(*closing)

    async def aclose(self, *, grace_s: float = 0) -> None:
        """Shut down: call this before closing the stores.

        New replies are refused from now on, with 503 and ``Retry-After``. Those under way have ``grace_s`` seconds to
        end; they can be followed, resumed and stopped meanwhile. Then the rest is ended, and what there is of it is
        stored: its readers find the text so far and the error ``The server was shut down``. Last, responses that an
        app is still sending are ended, so that their clients resume at another process.
        """
        await self._shutdown.run(grace_s)
        await self._housekeeping.stop()

    def responding(self, sending: asyncio.Future[Any], leaving: asyncio.Future[Any]) -> AbstractContextManager[None]:
        """Note a response while an app sends it, so that :meth:`aclose` can end it, by cancelling ``leaving``."""
        return self._shutdown.response(sending, leaving)

    # --- shared by endpoints ---

    def _tools(self, toolset: str | None) -> Sequence[Tool]:
        if toolset is None:
            return ()
        if toolset not in self._toolsets:
            raise RequestError(f'Unknown toolset: "{toolset}"')
        return self._toolsets[toolset]

    def _session(self, session_id: str, owner: str | None = None) -> Session:
        if self._sessions is None:
            raise RuntimeError("This handler keeps no conversations: create it with conversations=…")
        return self._sessions.find(session_id, owner)

    def _require_begun(self) -> BegunReplies:
        if self._begun is None:
            raise RequestError("Not Found", 404)
        return self._begun
