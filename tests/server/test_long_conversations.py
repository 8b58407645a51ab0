"""A turn of a long conversation: nothing is loaded that the model does not see, whatever the turn is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aibind.history import ChatHistory
from aibind.server import HttpResponse, StreamHandler
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3
from testbed.counting import CountingClient
from tests.support.models import ScriptedModel


async def drain(reply: HttpResponse[Any]) -> None:
    assert not isinstance(reply.body, bytes)
    async for _ in reply.body:
        pass


@pytest.mark.parametrize("kind", ["question", "edit", "regenerate", "compact"])
@pytest.mark.parametrize("resumable", [False, True])
async def test_a_turn_costs_the_same_at_any_length(kind: str, resumable: bool, tmp_path: Path) -> None:
    costs = []
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        for count in (40, 4000):
            client = CountingClient(local)
            store = SqliteMessageStore(client)
            chat = ChatHistory()
            for number in range(count):
                chat.append({"role": "assistant" if number % 2 else "user", "content": str(number)})
            session_id = f"s{count}"
            await store.save(session_id, chat)
            model = ScriptedModel("an answer")
            handler = StreamHandler(model=model, conversations=store, max_messages=10, resumable=resumable)
            last = chat.node_ids[-1]
            before = client.statements, client.rows_read, client.rows_written
            body: dict[str, Any] = {"sessionId": session_id}
            match kind:
                case "question":
                    await drain(await handler.stream({**body, "prompt": "next"}))
                case "edit":
                    await drain(await handler.stream({**body, "prompt": "another", "edit": chat.node_ids[-2]}))
                case "regenerate":
                    await drain(await handler.stream({**body, "regenerate": last}))
                    assert [message["content"] for message in model.requests[0].messages] == [
                        str(number) for number in range(count - 12, count - 1)
                    ]
                case _:
                    await handler.compact({**body, "messages": [{"role": "user", "content": "x"}]})
            costs.append((client.statements - before[0], client.rows_read - before[1], client.rows_written - before[2]))
    assert costs[0] == costs[1]
