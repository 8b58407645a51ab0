"""The endpoints that begin a reply: to a prompt, and to a conversation that the client keeps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import replace

from .._offload import offload
from ..errors import RequestError
from ..models.model import Message, Model
from ..models.resuming import can_resume
from ..streams.response import Body, HttpResponse
from .access import Access, owner_of
from .asking import Asking
from .attachments import Attachments
from .busy import OnBusy, choose_on_busy
from .claims import Claim
from .continuation import Continuation, Task
from .generation import Generation
from .limits import Limits
from .page_tools import with_page_tools
from .reply_events import ReplyEvent
from .requests import ChatBody, StreamBody, is_large
from .sessions import Session, Sessions
from .starting import ReplyStarter
from .tools import Tool

__all__ = ["Questions"]


class Questions:
    """The endpoints of a handler that begin a reply, which is the response.

    ``sessions`` is None where conversations are not stored. ``tools_of`` returns the tools of a toolset by its name.
    The methods take the values of :meth:`StreamHandler.stream`, and raise RequestError for a wrong request.
    """

    def __init__(
        self,
        starter: ReplyStarter,
        asking: Asking,
        limits: Limits,
        attachments: Attachments,
        *,
        sessions: Sessions | None,
        tools_of: Callable[[str | None], Sequence[Tool]],
        on_busy: OnBusy,
    ) -> None:
        self._starter = starter
        self._asking = asking
        self._limits = limits
        self._attachments = attachments
        self._sessions = sessions
        self._tools_of = tools_of
        self._on_busy: OnBusy = on_busy

    async def answer(
        self,
        endpoint: str,
        body: object,
        request_id: str | None,
        access: Access | None,
        sent: Collection[str] | None,
    ) -> HttpResponse[Body]:
        """Answer a prompt with text or, at the endpoint ``structured``, with JSON as it grows."""
        structured = endpoint == "structured"
        self._limits.check(body)
        claim, asked = await self._starter.read(endpoint, body, request_id, StreamBody.parse, owner=owner_of(access))
        on_busy = choose_on_busy(self._on_busy, body, resumable=self._starter.is_resumable)
        self._attachments.check(asked.attachments)
        model = self._asking.pick(asked.model)
        tools = with_page_tools(self._tools_of(asked.toolset), asked.tools)
        session: Session | None = None
        if asked.session_id and self._sessions is not None:
            session = self._sessions.find(asked.session_id, owner_of(access))
        elif asked.edit or asked.regenerate:
            raise RequestError("edit and regenerate need stored conversations, which this server does not keep")

        def ask(messages: Sequence[Message]) -> AsyncGenerator[ReplyEvent]:
            request = self._asking.request(messages, access, asked.model, asked.session_id, system=asked.system)
            request = replace(request, json_schema=asked.schema) if structured else request
            if tools:
                return self._asking.answer_with_tools(model, request, tools, asked.max_steps)
            return self._asking.answer(model, request)

        pace = self._starter.pace
        again = asked.to_go_on(structured=structured) if session is not None else None

        async def begin() -> HttpResponse[Body]:
            if session is not None and on_busy != "branch":
                return await self._starter.start_in_order(
                    session,
                    asked,
                    claim,
                    on_busy,
                    ask,
                    structured=structured,
                    again=again,
                    owner=owner_of(access),
                    events=sent,
                )
            turn = await session.begin(asked, claim) if session is not None else None
            messages = turn.messages if turn else [await offload(asked.question, is_large(body))]
            events = ask(messages)
            task = Task(
                asked.model,
                asked.system,
                asked.toolset,
                asked.max_steps,
                asked.session_id,
                messages=None if turn else messages,  # the conversation has those of a turn
            )
            continuation = None if structured else await self._continuation(model, task, is_large(body))
            generation = Generation(events, structured=structured, pace=pace, turn=again, continuation=continuation)
            return await self._starter.start(generation, turn, claim, owner=owner_of(access), events=sent)

        async def check_question(claim: Claim) -> None:
            if session is not None and not asked.regenerate:
                await session.save_claimed(asked, claim)

        return await self._starter.once(claim, begin, check_question, owner=owner_of(access), events=sent)

    async def chat(
        self, body: object, request_id: str | None, access: Access | None, sent: Collection[str] | None
    ) -> HttpResponse[Body]:
        """Answer a conversation that the client keeps, running the tools of a toolset when it names one."""
        self._limits.check(body)
        claim, asked = await self._starter.read("chat", body, request_id, ChatBody.parse, owner=owner_of(access))
        self._attachments.check(asked.attachments)
        model = self._asking.pick(asked.model)
        tools = self._tools_of(asked.toolset)
        request = self._asking.request(asked.messages, access, asked.model, system=asked.system)

        async def begin() -> HttpResponse[Body]:
            task = Task(asked.model, asked.system, asked.toolset, asked.max_steps, messages=asked.messages)
            generation = Generation(
                self._asking.answer_with_tools(model, request, tools, asked.max_steps),
                continuation=await self._continuation(model, task, is_large(body)),
            )
            return await self._starter.start(generation, None, claim, owner=owner_of(access), events=sent)

        return await self._starter.once(claim, begin, owner=owner_of(access), events=sent)

    async def _continuation(self, model: Model, task: Task, is_large: bool) -> Continuation | None:
        """Return how another process goes on with a reply; None where none can."""
        if not can_resume(model) or not self._starter.is_resumable:
            return None
        return Continuation(await offload(task.to_text, is_large), model, task.model)
