"""A chat inside a FastAPI app, for the users whom the app knows: ``uvicorn authorized:app``."""

from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from aibind.models import EchoModel
from aibind.server import StreamHandler, create_app, create_chat_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3

TOKENS = {"secret-of-ada": "ada", "secret-of-eve": "eve"}  # or a session, a JWT, your database


def current_user(request: Request) -> str:
    user = TOKENS.get(request.headers.get("authorization", "").removeprefix("Bearer "))
    if user is None:
        raise HTTPException(401, "Sign in first")
    return user


def authorize(request, action, session_id, stream_id):
    return current_user(request)  # the owner of what the request makes, and of what it may see


database = wrap_sqlite3("chat.db")
handler = StreamHandler(
    model=EchoModel(),
    resumable=True,
    store=SqliteStreamStore(database),
    conversations=SqliteMessageStore(database),
)


@asynccontextmanager
async def lifespan(app):
    async with database:
        await migrate(database)
        async with handler.running():
            yield


app = FastAPI(lifespan=lifespan)


@app.get("/me")
def me(user: Annotated[str, Depends(current_user)]) -> str:
    return user


app.mount("/__aibind__", create_app(handler, authorize=authorize))
app.mount("/api", create_chat_app(handler, authorize=authorize))
