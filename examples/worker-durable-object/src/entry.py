"""A chat in Durable Objects: each conversation is an object that runs the model; D1 has the list of conversations."""

import secrets
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from page import PAGE
from workers import Response, WorkerEntrypoint

from aibind.cloudflare import DurableStreamObject, ObjectRouter, SessionIndex, WorkersAIModel, wrap_d1
from aibind.models import EchoModel


class Chat(DurableStreamObject):
    """One conversation, with its replies and the model."""

    def make_model(self):
        return WorkersAIModel(self.env.AI) if hasattr(self.env, "AI") else EchoModel()


def guest_of(headers):
    """Return the id of a browser that has been here: replace this by your login."""
    cookie = SimpleCookie(headers.get("cookie", "")).get("guest")
    return cookie.value if cookie is not None and len(cookie.value) == 32 else None


async def authorize(request, action, session_id, stream_id):  # noqa: ARG001
    return guest_of(request.headers)  # None: 401


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        url = urlsplit(request.url)
        if url.path == "/":
            headers = {"Content-Type": "text/html; charset=utf-8"}
            if guest_of(request.headers) is None:
                secure = "; Secure" if url.scheme == "https" else ""
                headers["Set-Cookie"] = f"guest={secrets.token_hex(16)}; Path=/; HttpOnly; SameSite=Lax{secure}"
            return Response(PAGE, headers=headers)
        index = SessionIndex(wrap_d1(self.env.DB))
        return await ObjectRouter(self.env.CHATS, authorize=authorize, index=index).fetch(request)
