"""The endpoints that AG-UI's clients call: run, and connect and stop, which the protocol leaves to its servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import unquote

from .._json import compact_json, is_list
from ..errors import RequestError
from ..history import ChatHistory, TreeNode
from ..protocols.ag_ui import AgUiEncoder
from ..protocols.encoder import encoded
from ..streams.batch import EventBatch
from ..streams.response import Body, HttpResponse
from ..streams.store import StreamEnd
from .access import Access, Action, owner_of
from .agent_requests import RunRequest, thread_of
from .contents import texts_of
from .entrance import Enter, not_found
from .exchanges import is_approval, nodes_of
from .front_end import FrontEnd
from .requests import check_id
from .responses import json_response
from .session_replies import SessionReplies
from .session_routes import ReadBody

__all__ = ["AgentEndpoints"]


class AgentEndpoints(FrontEnd):
    """The endpoints of AG-UI below a path. The options are those of :func:`create_agent_app`."""

    async def _answer(
        self,
        method: str,
        segments: list[str],
        query: str,
        headers: Mapping[str, str],
        read_json: ReadBody,
        enter: Enter,
    ) -> HttpResponse[Body]:
        del query, headers
        names = [unquote(segment) for segment in segments]
        match (method, *names):
            case ("POST",) | ("POST", "") | ("POST", "run"):
                return await self._run(read_json, enter)
            case ("POST", "connect"):
                thread_id, access = await self._read(read_json, enter, thread_of, lambda found: ("attach", found))
                return await self._connect(thread_id, self._replies(access))
            case ("POST", "stop", thread_id):
                check_id("threadId", thread_id)
                await self._replies(await enter("stop", thread_id)).stop(thread_id)
                return json_response({"ok": True})
            case _:
                return not_found()

    async def _run(self, read_json: ReadBody, enter: Enter) -> HttpResponse[Body]:
        asked, access = await self._read(read_json, enter, RunRequest.parse, _purpose)
        replies = self._replies(access)
        stream_id = await (self._resume(asked, replies) if asked.approvals else self._begin(asked, replies, access))
        return await replies.follow(stream_id, AgUiEncoder(asked.thread_id, asked.run_id, stream_id))

    async def _begin(self, asked: RunRequest, replies: SessionReplies, access: Access | None) -> str:
        body: dict[str, Any] = {**asked.options, **self._options, "sessionId": asked.thread_id}
        question = await replies.look_for(asked.thread_id, lambda chat: _question_in(chat, asked.message_id))
        if question is None:
            new = {"prompt": asked.prompt, "attachments": list(asked.attachments), "messageId": asked.message_id}
            return await replies.begin({**body, **new}, request_id=asked.request_id)
        claim = self._handler.stream_ids.claim("stream", body, asked.request_id, owner=owner_of(access))
        if claim is not None and question.metadata.get("streamId") == claim.stream_id:
            return claim.stream_id  # the run that asked it first, once more
        return await replies.begin({**body, "regenerate": question.id}, request_id=asked.request_id)

    async def _resume(self, asked: RunRequest, replies: SessionReplies) -> str:
        stream_id = await replies.answer(asked.thread_id, asked.approvals)
        if stream_id is None:
            raise RequestError("The run waits for more answers: resume it with all of them at once", 409)
        return stream_id

    async def _connect(self, thread_id: str, replies: SessionReplies) -> HttpResponse[Body]:
        """Return the messages of a thread, and the run that is under way in it."""
        stream_id = await replies.live_stream(thread_id)
        chat = await replies.load_whole(thread_id, live=stream_id)
        history = compact_json(_messages(chat, without=stream_id))
        if stream_id is not None:
            try:
                return await replies.follow(stream_id, AgUiEncoder(thread_id, stream_id, stream_id, history))
            except RequestError as error:
                if error.status != 404:
                    raise
        encoder = AgUiEncoder(thread_id, thread_id, thread_id, history)
        return HttpResponse(200, encoder.headers, encoded(_nothing_new(), encoder))


def _purpose(asked: RunRequest | None) -> tuple[Action, str | None]:
    if asked is None:
        return "stream", None
    return "approve" if asked.approvals else "stream", asked.thread_id


def _question_in(chat: ChatHistory, message_id: str) -> TreeNode | None:
    for node in reversed(nodes_of(chat)):
        if node.message.get("role") == "user" and message_id in (node.id, node.metadata.get("messageId")):
            return node
    return None


def _messages(chat: ChatHistory, *, without: str | None) -> list[dict[str, Any]]:
    """Return the messages of the current path as AG-UI has them, but for the answer of one stream."""
    found: list[dict[str, Any]] = []
    for node in nodes_of(chat):
        message, own_id = node.message, node.metadata.get("messageId")
        role = message.get("role")
        if role not in ("user", "assistant", "system", "tool") or is_approval(message):
            continue
        if without is not None and role != "user" and node.metadata.get("streamId") == without:
            continue
        shown: dict[str, Any] = {"id": own_id if isinstance(own_id, str) else node.id, "role": role}
        shown["content"] = "\n".join(texts_of(message.get("content")))
        if role == "tool":
            shown["toolCallId"] = str(message.get("tool_call_id", ""))
        calls = message.get("tool_calls")
        if role == "assistant" and is_list(calls) and calls:
            shown["toolCalls"] = calls
            if not shown["content"]:
                del shown["content"]
        found.append(shown)
    return found


async def _nothing_new() -> AsyncGenerator[EventBatch]:
    yield EventBatch((), 0, StreamEnd("done"))
