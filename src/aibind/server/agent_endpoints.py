"""The endpoints of agents: run, and connect and stop, which AG-UI leaves to its servers and CopilotKit names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from .._json import compact_json
from ..errors import RequestError
from ..history import ChatHistory, TreeNode
from ..protocols.ag_ui import AgUiEncoder
from ..protocols.encoder import encoded
from ..streams.batch import EventBatch
from ..streams.events import StreamEvent
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamEnd
from .access import Access, Action, Authorize, owner_of
from .agent_calls import AgentCall, find_call, stopped_run
from .agent_history import agent_messages, page_calls
from .agent_info import agents_info
from .agent_requests import RunRequest, request_id_of
from .contents import texts_of
from .entrance import Enter, not_found
from .exchanges import nodes_of
from .front_end import FrontEnd
from .handler import StreamHandler
from .json_body import parse_json
from .pending import PendingCall
from .requests import check_id
from .responses import json_response
from .session_replies import SessionReplies
from .session_routes import ReadBody

__all__ = ["AgentEndpoints"]


class AgentEndpoints(FrontEnd):
    """The endpoints of agents below a path. The options are those of :func:`create_agent_app`."""

    def __init__(
        self,
        handler: StreamHandler,
        *,
        prefix: str,
        options: Mapping[str, Any],
        agents: Mapping[str, Mapping[str, Any]],
        stop_on_close: bool,
        authorize: Authorize | None,
        allowed_hosts: Iterable[str],
        allowed_origins: Iterable[str],
    ) -> None:
        super().__init__(
            handler,
            prefix=prefix,
            options=options,
            stop_on_close=stop_on_close,
            authorize=authorize,
            allowed_hosts=allowed_hosts,
            allowed_origins=allowed_origins,
        )
        if not agents:
            raise ValueError("agents is empty: name at least one agent")
        self._agents = {agent_id: dict(own) for agent_id, own in agents.items()}

    async def _answer(
        self,
        method: str,
        segments: list[str],
        query: str,
        headers: Mapping[str, str],
        read_json: ReadBody,
        enter: Enter,
    ) -> HttpResponse[Body]:
        del query
        names = [unquote(segment) for segment in segments]
        if (method, names) == ("GET", ["info"]):
            await enter("list", None)
            return json_response(agents_info(self._agents))
        match method, names:
            case "GET", ["files", thread_id, file_id]:
                check_id("threadId", thread_id)
                return await self._handler.file(thread_id, file_id, access=await enter("file", thread_id))
            case "POST", _:
                pass
            case _:
                return not_found()
        if names in ([], [""]):
            return await self._serve(*await self._read(read_json, enter, AgentCall.parse_any, _purpose))
        found = find_call(names)
        if found is None:
            return not_found()
        kind, agent_id, thread_id = found
        if kind == "stop":
            access = await enter("stop", thread_id)
            run_id = await _run_to_stop(headers, read_json)
            return await self._serve(AgentCall("stop", agent_id, thread_id, run_id=run_id), access)
        parse = partial(AgentCall.parse, agent_id=agent_id, kind=kind)
        return await self._serve(*await self._read(read_json, enter, parse, _purpose))

    async def _serve(self, call: AgentCall, access: Access | None) -> HttpResponse[Body]:
        replies = self._replies(access)
        if call.kind == "info":
            return json_response(agents_info(self._agents))
        own = self._options_of(call.agent_id)
        if call.run is not None:
            return await self._run(call.run, own, replies, access)
        if call.kind == "connect":
            return await self._connect(call, replies)
        await self._stop(call, replies, owner_of(access))
        return json_response({"ok": True})

    def _options_of(self, agent_id: str | None) -> Mapping[str, Any]:
        if agent_id is None:
            return next(iter(self._agents.values()))
        if agent_id not in self._agents:
            raise RequestError(f'There is no agent "{agent_id}" here: use one of {", ".join(self._agents)}', 404)
        return self._agents[agent_id]

    # --- running ---

    async def _run(
        self, asked: RunRequest, own: Mapping[str, Any], replies: SessionReplies, access: Access | None
    ) -> HttpResponse[Body]:
        if not asked.goes_on:
            begun = await self._begin(asked, own, replies, access)
            encoder = AgUiEncoder(asked.thread_id, asked.run_id, begun, before_1_0=asked.before_1_0)
            return self._stopping(await replies.follow(begun, encoder), replies, begun)
        results = await self._results_for(asked, replies)
        stream_id = await replies.answer(asked.thread_id, {**results, **asked.approvals})
        known = frozenset(results)
        if stream_id is None:
            return await self._wait_on(asked, known, replies)
        encoder = AgUiEncoder(asked.thread_id, asked.run_id, stream_id, known=known, before_1_0=asked.before_1_0)
        return self._stopping(await replies.follow(stream_id, encoder), replies, stream_id)

    async def _begin(
        self, asked: RunRequest, own: Mapping[str, Any], replies: SessionReplies, access: Access | None
    ) -> str:
        body: dict[str, Any] = {**asked.options, **self._options, **own, "sessionId": asked.thread_id}
        if asked.tools:
            body["tools"] = list(asked.tools)
        if asked.system:
            body["system"] = "\n\n".join(filter(None, [body.get("system"), asked.system]))
        new = {"prompt": asked.prompt, "attachments": list(asked.attachments), "messageId": asked.message_id}
        question = await replies.look_for(asked.thread_id, lambda chat: _question_in(chat, asked.message_id))
        if question is None:
            return await replies.begin({**body, **new}, request_id=asked.request_id)
        claim = self._handler.stream_ids.claim("stream", body, asked.request_id, owner=owner_of(access))
        if claim is not None and question.metadata.get("streamId") == claim.stream_id:
            return claim.stream_id  # the run that asked it first, once more
        if "\n".join(texts_of(question.message.get("content"))) != asked.prompt:
            return await replies.begin({**body, **new, "edit": question.id}, request_id=asked.request_id)
        return await replies.begin({**body, "regenerate": question.id}, request_id=asked.request_id)

    async def _results_for(self, asked: RunRequest, replies: SessionReplies) -> Mapping[str, Any]:
        """Return the results of calls that the page was asked to run: the client sends all that it knows."""
        if not asked.results:
            return {}
        called = await replies.look_for(asked.thread_id, lambda chat: page_calls(chat, asked.results.keys()))
        if not called and not asked.approvals:
            raise RequestError("No call of this thread waits for these results: connect to it again", 409)
        return {call_id: result for call_id, result in asked.results.items() if call_id in (called or ())}

    async def _wait_on(self, asked: RunRequest, known: frozenset[str], replies: SessionReplies) -> HttpResponse[Body]:
        """Return the run of answers that were not all: it waits with the rest."""
        waiting = await _waiting_calls(asked.thread_id, replies)
        if not waiting:
            raise RequestError("These calls were answered before, and their run has expired: connect again", 409)
        known |= {call.id for call in waiting}
        encoder = AgUiEncoder(asked.thread_id, asked.run_id, asked.run_id, known=known, before_1_0=asked.before_1_0)
        return HttpResponse(200, encoder.headers, encoded(_only(waiting), encoder))

    # --- threads ---

    async def _connect(self, call: AgentCall, replies: SessionReplies) -> HttpResponse[Body]:
        """Return the messages of a thread, and the run that is under way in it, or what it waits for."""
        thread_id = call.thread_id
        stream_id = await replies.live_stream(thread_id)
        chat = await replies.load_whole(thread_id, live=stream_id)
        files = f"{self._prefix}/files/{quote(thread_id, safe='')}"
        history = compact_json(agent_messages(chat, files, without=stream_id))
        if stream_id is not None:
            encoder = AgUiEncoder(thread_id, stream_id, stream_id, history, before_1_0=call.before_1_0)
            try:
                return await replies.follow(stream_id, encoder)
            except RequestError as error:
                if error.status != 404:
                    raise
        waiting = await _waiting_calls(thread_id, replies)
        known = frozenset(call.id for call in waiting)
        encoder = AgUiEncoder(thread_id, thread_id, thread_id, history, known, call.before_1_0)
        return HttpResponse(200, encoder.headers, encoded(_only(waiting), encoder))

    async def _stop(self, call: AgentCall, replies: SessionReplies, owner: str | None) -> None:
        if call.run_id is not None:
            request_id = request_id_of(call.thread_id, call.run_id)
            claim = self._handler.stream_ids.claim("stream", {}, request_id, owner=owner)
            if claim is not None and await replies.is_kept(claim.stream_id):
                await replies.stop_stream(claim.stream_id)  # and no other, should it have ended
                return
        await replies.stop(call.thread_id)


def _purpose(call: AgentCall | None) -> tuple[Action, str | None]:
    return ("stream", None) if call is None else call.purpose


async def _run_to_stop(headers: Mapping[str, str], read_json: ReadBody) -> str | None:
    """Return the run that is to be stopped, which a body may name."""
    data = await read_json() if "content-type" in headers else b""
    return stopped_run(await parse_json(data)) if data else None


def _question_in(chat: ChatHistory, message_id: str) -> TreeNode | None:
    for node in reversed(nodes_of(chat)):
        if node.message.get("role") == "user" and message_id in (node.id, node.metadata.get("messageId")):
            return node
    return None


async def _waiting_calls(thread_id: str, replies: SessionReplies) -> list[PendingCall]:
    pending = await replies.pending(thread_id)
    return [] if pending is None else [call for call in pending.open if call.answer is None]


async def _only(waiting: list[PendingCall]) -> AsyncGenerator[EventBatch]:
    """Yield a run that has nothing but calls which wait."""
    events = [StreamEvent("approval_request", compact_json(call.to_json())) for call in waiting]
    yield EventBatch(tuple(enumerate(events, 1)), 0, len(events), StreamEnd("done"))
