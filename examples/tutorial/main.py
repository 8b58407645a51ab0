"""The chat of docs/tutorial.md: a page, a tool, and users with their own conversations.

export CHAT_SECRET=$(python -c "import secrets; print(secrets.token_hex())")
uvicorn main:app
"""

import os
import random
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.routing import Mount, Route

from aibind.models import EchoModel
from aibind.server import StreamHandler, Tool, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3


async def roll(sides: int) -> int:
    return random.randint(1, sides)


dice = Tool(
    "roll",
    "Roll a die and return the number",
    roll,
    {"type": "object", "properties": {"sides": {"type": "integer", "minimum": 2}}, "required": ["sides"]},
)
model = EchoModel()
client = wrap_sqlite3("chat.db")
handler = StreamHandler(
    model=model,
    resumable=True,
    store=SqliteStreamStore(client),
    conversations=SqliteMessageStore(client),
    toolsets={"games": [dice]},
)


@asynccontextmanager
async def lifespan(app):
    async with client:
        await migrate(client)  # creates missing tables
        async with handler.running():
            yield


async def page(request):
    return FileResponse("index.html")


USERS = {"ada": "engine", "bob": "paint"}  # in place of your table of users, which has hashes of passwords
SIGN_IN = """<!doctype html><title>Sign in</title>
<form method="post"><input name="name"> <input name="password" type="password"> <button>Sign in</button></form>"""


async def login(request):
    if request.method == "GET":
        return HTMLResponse(SIGN_IN)
    form = dict(parse_qsl((await request.body()).decode()))
    name, password = form.get("name"), form.get("password")
    if not password or USERS.get(name) != password:
        return HTMLResponse("Wrong name or password" + SIGN_IN, status_code=401)
    request.session["user"] = name
    return RedirectResponse("/", status_code=303)


def authorize(request, action, session_id, stream_id):
    return request.session.get("user")  # None is answered with 401


app = Starlette(
    routes=[
        Route("/", page),
        Route("/login", login, methods=["GET", "POST"]),
        Mount("/__aibind__", create_app(handler, authorize=authorize)),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=os.environ["CHAT_SECRET"])],
    lifespan=lifespan,
)
