"""The endpoints (contract §8): one method each, from a decoded body to a HttpResponse."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast
from weakref import WeakSet

from ..conversations.store import ConversationStore
from ..errors import AibindError, RequestError, StreamNotFoundError
from ..models.model import Message, Model, ModelRequest
from ..streams.durable import HEARTBEAT_MS, DurableStream, KeepAlive
from ..streams.memory import MemoryStreamStore
from ..streams.normalize import EventNormalizer
from ..streams.response import Body, HttpResponse
from ..streams.sse import HEADERS, encode_message
from ..streams.sse_body import encode_end
from ..streams.store import StreamEnd, StreamStore
from ..streams.writer import SHUT_DOWN
from . import prompts
from .generation import Generation
from .requests import ChatBody, CompactBody, CompleteBody, StreamBody, TitleBody, parse_id
from .responses import json_response, text_response
from .sessions import Sessions
from .tools import Tool, run_rounds
from .turns import Turn, begin_turn

__all__ = ["StreamHandler"]

MAX_ID_DIGITS = 100
"""More digits than any message id has; Python refuses to read thousands of them, and in its own words."""

logger = logging.getLogger("aibind")


class StreamHandler:
    """Answers the requests of the aibind clients.

    ``model``, or ``models`` by key (the first is the default), answers. With ``resumable`` a reply is a durable
    stream in ``store`` (by default in memory), which outlives its reader and can be resumed and stopped by its id.
    With ``conversations`` a request that names a ``sessionId`` continues a stored conversation, of which the model
    sees the last ``max_messages`` before the question. ``toolsets`` are the tools that ``chat`` may run, by name.
    ``keep_alive`` is given each producer's task, so that a Worker keeps it running when its request is over.

    Every method raises RequestError for a wrong request; :meth:`answer` turns all errors into replies.
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
        toolsets: Mapping[str, Sequence[Tool]] | None = None,
        complete_prompt: str = prompts.COMPLETE,
        title_prompt: str = prompts.TITLE,
        compact_prompt: str = prompts.COMPACT,
        flush_interval_ms: float | None = None,
        heartbeat_ms: float = HEARTBEAT_MS,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        if (model is None) == (not models):
            raise ValueError("Give the handler either a model or models")
        if max_messages is not None and max_messages < 0:
            raise ValueError(f"max_messages is {max_messages}: use 0 or more, or None for all")
        if store is not None and not resumable:
            raise ValueError("A stream store is used by resumable streams only: add resumable=True")
        self._models: dict[str, Model] = dict(models) if models else {}
        self._default = model if model is not None else next(iter(self._models.values()))
        self._store: StreamStore | None = (store or MemoryStreamStore()) if resumable else None
        self._conversations = conversations
        self._max_messages = max_messages
        self._toolsets = toolsets or {}
        self._complete_prompt = complete_prompt
        self._title_prompt = title_prompt
        self._compact_prompt = compact_prompt
        self._flush_interval_ms = flush_interval_ms
        self._heartbeat_ms = heartbeat_ms
        self._keep_alive = keep_alive
        self._sessions = Sessions()
        self._live: dict[str, list[str]] = {}  # stream ids by session, the newest last
        self._producing: WeakSet[DurableStream] = WeakSet()  # a stream that has ended is let go
        self._closed = False

    @property
    def resumable(self) -> bool:
        """Say whether replies are durable streams."""
        return self._store is not None

    def live_stream(self, session_id: str) -> str | None:
        """Tell the id of the newest stream that this process is producing for a conversation."""
        streams = self._live.get(session_id)
        return streams[-1] if streams else None

    def changing(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """Hold a stored conversation while you load, change and save it, so that no turn of this handler is lost."""
        return self._sessions.find(session_id).changing()

    async def aclose(self) -> None:
        """End the replies that are under way, and store what there is of them; call this before closing the stores.

        Their readers find the text so far and the error ``The server was shut down``. Later requests for a durable
        stream are answered with 503.
        """
        self._closed = True
        await asyncio.gather(*(stream.abort(SHUT_DOWN) for stream in list(self._producing)))

    # --- endpoints ---

    async def stream(self, body: object) -> HttpResponse[Body]:
        """Answer a prompt with text, in or outside a stored conversation."""
        return await self._stream(StreamBody.parse(body), structured=False)

    async def structured(self, body: object) -> HttpResponse[Body]:
        """Answer a prompt with JSON, as it grows."""
        return await self._stream(StreamBody.parse(body), structured=True)

    async def chat(self, body: object) -> HttpResponse[Body]:
        """Answer a conversation that the client keeps, running the tools of a toolset when it names one."""
        request = ChatBody.parse(body)
        model = self._pick(request.model)
        tools: Sequence[Tool] = ()
        if request.toolset is not None:
            if request.toolset not in self._toolsets:
                raise RequestError(f'Unknown toolset: "{request.toolset}"')
            tools = self._toolsets[request.toolset]
        asked = ModelRequest(request.messages, system=request.system)
        return await self._send(Generation(run_rounds(model, asked, tools, request.max_steps)), None, str(uuid.uuid4()))

    async def complete(self, body: object) -> HttpResponse[Body]:
        """Continue what somebody is writing."""
        request = CompleteBody.parse(body)
        generation = self._ask(request.model, request.input, request.system or self._complete_prompt)
        return text_response(await generation.read())

    async def title(self, body: object) -> HttpResponse[Body]:
        """Name a conversation."""
        request = TitleBody.parse(body)
        title = await self._ask(request.model, _transcript(request.messages), self._title_prompt).read()
        reply = text_response(title.strip(), content_type="text/plain; charset=utf-8")
        return HttpResponse(reply.status, {**reply.headers, "Cache-Control": "no-cache"}, reply.body)

    async def compact(self, body: object) -> HttpResponse[Body]:
        """Condense a conversation; with a session, the stored one is replaced by the summary."""
        request = CompactBody.parse(body)
        generation = self._ask(request.model, _transcript(request.messages), self._compact_prompt)
        summary = await generation.read()
        if request.session_id and self._conversations is not None and summary:
            async with self.changing(request.session_id):
                chat = await self._conversations.load(request.session_id)
                chat.compact({"role": "system", "content": summary})
                await self._conversations.save(request.session_id, chat)
        saved = generation.usage.input_tokens - generation.usage.output_tokens
        return json_response({"summary": summary, "tokensSaved": saved})

    async def stop(self, body: object) -> HttpResponse[Body]:
        """Stop a durable stream, wherever it is produced. One that is unknown or has ended needs no stopping."""
        store = self._require_store()
        stream_id = parse_id(body)
        producer = DurableStream.find(store, stream_id)
        if producer is not None:
            await producer.stop()
        else:
            try:
                await store.stop(stream_id)
            except StreamNotFoundError:
                logger.debug("Stop of unknown stream %s", stream_id)
        return json_response({"ok": True})

    async def resume(self, stream_id: str | None, after: str | None) -> HttpResponse[Body]:
        """Go on with a durable stream after the message with id ``after`` (default: from its beginning)."""
        store = self._require_store()
        if not stream_id:
            raise RequestError("id parameter is required")
        if after and not (len(after) <= MAX_ID_DIGITS and after.isascii() and after.isdigit()):
            raise RequestError("after parameter must be the id of the last message seen, a whole number")
        try:
            response = await DurableStream.resume(store, stream_id, int(after or 0), heartbeat_ms=self._heartbeat_ms)
        except ValueError as error:
            raise RequestError(str(error)) from error
        except StreamNotFoundError as error:
            raise RequestError(str(error), 404) from error
        return HttpResponse(200, response.headers, response.body)

    # --- the parts they share ---

    def _pick(self, key: str | None) -> Model:
        if key is None or not self._models:
            return self._default
        try:
            return self._models[key]
        except KeyError:
            raise RequestError(f'Unknown model key: "{key}"') from None

    def _require_store(self) -> StreamStore:
        if self._store is None:
            raise RequestError("Not Found", 404)
        return self._store

    def _ask(self, model: str | None, text: str, system: str) -> Generation:
        request = ModelRequest([{"role": "user", "content": text}], system=system)
        return Generation(self._pick(model).stream(request))

    async def _stream(self, body: StreamBody, *, structured: bool) -> HttpResponse[Body]:
        model = self._pick(body.model)
        stream_id = str(uuid.uuid4())
        turn: Turn | None = None
        if body.session_id and self._conversations is not None:
            known = stream_id if self._store is not None else None
            session = self._sessions.find(body.session_id)
            turn = await begin_turn(self._conversations, session, body, body.session_id, known, self._store)
            messages = turn.messages(self._max_messages)
        elif body.edit or body.regenerate:
            raise RequestError("edit and regenerate need stored conversations, which this server does not keep")
        else:
            messages = [{"role": "user", "content": body.prompt}]
        request = ModelRequest(messages, system=body.system, json_schema=body.schema if structured else None)
        pace = self._store.flush_pace if self._store is not None else None
        return await self._send(Generation(model.stream(request), structured=structured, pace=pace), turn, stream_id)

    async def _send(self, generation: Generation, turn: Turn | None, stream_id: str) -> HttpResponse[Body]:
        if self._store is None:
            if turn is not None:
                await turn.save_question()
            return HttpResponse(200, HEADERS, _plain_body(generation, turn))
        return await self._send_durable(self._store, generation, turn, stream_id)

    async def _send_durable(
        self, store: StreamStore, generation: Generation, turn: Turn | None, stream_id: str
    ) -> HttpResponse[Body]:
        if self._closed:
            raise RequestError(SHUT_DOWN, 503)

        async def on_end(end: StreamEnd) -> None:
            if turn is not None:
                self._unlist(turn.session_id, stream_id)
                await turn.save_answer(generation.text, end, stream_id)

        if turn is not None:
            self._live.setdefault(turn.session_id, []).append(stream_id)
        creating = DurableStream.create(
            store,
            generation.stream(),
            stream_id=stream_id,
            flush_interval_ms=self._flush_interval_ms,
            heartbeat_ms=self._heartbeat_ms,
            keep_alive=self._keep_alive,
            on_end=on_end,
        )
        saving = turn.save_question() if turn is not None else asyncio.sleep(0)
        stream, failure = await asyncio.gather(creating, saving, return_exceptions=True)
        if isinstance(stream, BaseException):
            if turn is not None:
                self._unlist(turn.session_id, stream_id)
            raise stream
        if failure is not None:
            await stream.stop()
            raise failure
        self._producing.add(stream)
        if self._closed:  # meanwhile, so that nobody else ends it
            await stream.abort(SHUT_DOWN)
        response = stream.response()
        return HttpResponse(200, response.headers, response.body)

    def _unlist(self, session_id: str, stream_id: str) -> None:
        streams = self._live.get(session_id, [])
        if stream_id in streams:
            streams.remove(stream_id)
        if not streams:
            self._live.pop(session_id, None)


async def _plain_body(generation: Generation, turn: Turn | None) -> AsyncGenerator[bytes]:
    """Send an answer that nobody can resume: text is numbered from 0, other events have no id."""
    cleaner = EventNormalizer()
    number = 0
    end = StreamEnd("stopped")  # unless it gets to its end, the client has gone
    events = generation.stream()
    try:
        async for raw in events:
            event = cleaner.clean(raw)
            if event is None:
                continue
            if event.event:
                yield encode_message(event.data, event=event.event)
            else:
                yield encode_message(event.data, id=number)
                number += 1
        end = StreamEnd("done")
    except AibindError as error:
        end = StreamEnd("error", str(error))
    finally:
        await events.aclose()
        if turn is not None:
            try:
                await turn.save_answer(generation.text, end, None)
            except Exception:
                logger.exception("The answer to a turn could not be stored")  # its reader has it nevertheless
    yield encode_end(end)


def _transcript(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"{message['role']}: {_text_of(message.get('content'))}" for message in messages)


def _text_of(content: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    parts = cast("list[dict[str, Any]]", content)
    return "\n".join(str(part.get("text", "")) for part in parts)
