"""Attachments: what a request may bring, what is stored of it, and what every model that is asked later sees."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import FileReference, MemoryConversationStore, StoredFile
from aibind.errors import RequestError
from aibind.history import ChatHistory
from aibind.models import OpenAIModel
from aibind.server import Endpoints, HttpResponse, StreamHandler
from aibind.server.attachments import Attachments
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3
from testbed.counting import CountingClient
from tests.support.endpoint import Endpoint, Reply, texts
from tests.support.models import ScriptedModel

PNG = b"\x89PNG\r\n picture"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
PICTURE = {"mimeType": "image/png", "data": base64.b64encode(PNG).decode(), "name": "a picture.png"}
PNG_HASH = StoredFile.of(PNG, "image/png").reference.sha256
REFERENCE = StoredFile.of(PNG, "image/png", "a picture.png").reference.to_part()


def attach(data: bytes, mime_type: str, name: str | None = None) -> dict[str, Any]:
    named = {"name": name} if name else {}
    return {"mimeType": mime_type, "data": base64.b64encode(data).decode(), **named}


@asynccontextmanager
async def open_store(folder: Path, **options: Any) -> AsyncIterator[SqliteMessageStore]:
    async with wrap_sqlite3(folder / "chat.db") as client:
        await migrate(client)
        yield SqliteMessageStore(client, **options)


async def say(handler: StreamHandler, prompt: str, *attachments: dict[str, Any], **fields: Any) -> None:
    body = {"prompt": prompt, "sessionId": "s", "attachments": list(attachments), **fields}
    reply = await handler.stream(body)
    assert not isinstance(reply.body, bytes)
    async for _ in reply.body:
        pass


def seen(model: ScriptedModel, place: int = -1) -> Any:
    """The content of a message, as a model was sent it last."""
    return model.requests[-1].messages[place]["content"]


# --- turns ---


@pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])
async def test_a_message_holds_the_reference_and_models_see_the_file(resumable: bool, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("a bird")
        handler = StreamHandler(model=model, conversations=store, resumable=resumable)
        await say(handler, "what is it?", PICTURE)
        shown = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
        assert seen(model) == shown
        chat = await store.load("s")
        assert chat.messages[0]["content"] == [{"type": "text", "text": "what is it?"}, REFERENCE]
        assert PICTURE["data"] not in chat.to_json()
        assert await store.find_file("s", PNG_HASH) == StoredFile.of(PNG, "image/png", "a picture.png")
        other = ScriptedModel("a gull")
        await say(StreamHandler(model=other, conversations=store), "which bird?")
        assert seen(other, 0) == shown
        assert seen(other) == "which bird?"


async def test_an_endpoint_is_sent_the_attachment_of_an_earlier_turn(tmp_path: Path) -> None:
    async with (
        open_store(tmp_path) as store,
        Endpoint(Reply(texts("a bird")), Reply(texts("a gull"))) as endpoint,
        OpenAIModel("m", base_url=endpoint.base_url, api_key="k") as model,
    ):
        handler = StreamHandler(model=model, conversations=store, resumable=True)
        await say(handler, "what is it?", PICTURE, attach(b"%PDF-1.7", "application/pdf", "a.pdf"))
        await say(handler, "which bird?")
        question, answer, following = endpoint.exchanges[-1].body["messages"]
        assert question == {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": PNG_URL}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
                },
            ],
        }
        assert answer["content"] == "a bird"
        assert following == {"role": "user", "content": "which bird?"}


async def test_other_stores_keep_attachments_in_the_message() -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel("a bird")
    handler = StreamHandler(model=model, conversations=conversations)
    await say(handler, "what is it?", PICTURE)
    await say(handler, "which bird?")
    shown = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
    assert (await conversations.load("s")).messages[0]["content"] == shown
    assert seen(model, 0) == shown


async def test_without_a_session_attachments_are_for_this_request(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("a bird")
        await say(StreamHandler(model=model, conversations=store), "what is it?", PICTURE, sessionId=None)
        assert seen(model)[1] == {"type": "image_url", "image_url": {"url": PNG_URL}}
        assert await store.list_sessions() == []


async def test_an_address_is_not_fetched(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("ok")
        handler = StreamHandler(model=model, conversations=store)
        picture = {"mimeType": "image/png", "url": "https://example.org/a.png"}
        paper = {"mimeType": "application/pdf", "url": "https://example.org/a.pdf", "name": "a.pdf"}
        await say(handler, "compare", picture, paper)
        parts = [
            {"type": "text", "text": "compare"},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://example.org/a.pdf"}},
        ]
        assert seen(model) == (await store.load("s")).messages[0]["content"] == parts


async def test_an_attachment_needs_no_prompt(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("a bird")
        await say(StreamHandler(model=model, conversations=store), "", PICTURE)
        assert (await store.load("s")).messages[0]["content"] == [REFERENCE]
        assert seen(model) == [{"type": "image_url", "image_url": {"url": PNG_URL}}]


@pytest.mark.parametrize(
    ("attachment", "part"),
    [
        (
            attach("grüße".encode(), "text/plain; charset=utf-8", "C:\\notes\\hi\n.txt"),
            {"type": "text", "text": 'The attached file "hi.txt":\n\ngrüße'},
        ),
        (
            attach(b"{}", "application/vnd.api+json"),
            {"type": "text", "text": "The attached file of type application/vnd.api+json:\n\n{}"},
        ),
        (
            attach(b"\xff\xfe", "text/csv", "a.csv"),
            {"type": "file", "file": {"filename": "a.csv", "file_data": "data:text/csv;base64,//4="}},
        ),
        (attach(b"RIFF", "audio/wav"), {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        (
            attach(b"zip", "application/zip"),
            {"type": "file", "file": {"filename": "file", "file_data": "data:application/zip;base64,emlw"}},
        ),
        (
            {"mimeType": "IMAGE/PNG", "url": "data:image/png;base64,aGk="},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ),
        (
            {"mimeType": "text/plain", "url": "data:,a%20b"},
            {"type": "text", "text": "The attached file of type text/plain:\n\na b"},
        ),
    ],
)
async def test_the_forms_that_a_model_is_sent(attachment: dict[str, Any], part: dict[str, Any], tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        stored, kept, sent = ScriptedModel("ok"), ScriptedModel("ok"), ScriptedModel("ok")
        for conversations, model in ((store, stored), (MemoryConversationStore(), kept)):
            handler = StreamHandler(model=model, conversations=conversations)
            await say(handler, "one", attachment)
            await say(handler, "two")
        await StreamHandler(model=sent).chat(
            {"messages": [{"role": "user", "content": "one"}], "attachments": [attachment]}
        )
        reply = await StreamHandler(model=sent).stream({"prompt": "one", "attachments": [attachment]})
        assert not isinstance(reply.body, bytes)
        async for _ in reply.body:
            pass
        expected = [{"type": "text", "text": "one"}, part]
        assert seen(stored, 0) == seen(kept, 0) == seen(sent, 0) == expected


async def test_an_edit_and_a_regeneration(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("a bird")
        handler = StreamHandler(model=model, conversations=store)
        await say(handler, "what is it?", PICTURE)
        question, answer = (await store.load("s")).node_ids
        await say(handler, "", regenerate=answer)
        assert seen(model)[1]["type"] == "image_url"
        await say(handler, "and this?", attach(b"GIF", "image/gif"), edit=question)
        assert seen(model)[1] == {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}}
        assert (await store.load("s")).messages[0]["content"][1]["file"]["mimeType"] == "image/gif"
        with pytest.raises(RequestError, match="leave out attachments"):
            await say(handler, "", PICTURE, regenerate=answer)


async def test_a_turn_of_a_session_with_attachments_reads_only_what_its_model_sees(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as local:
        await migrate(local)
        client = CountingClient(local)
        handler = StreamHandler(
            model=ScriptedModel("ok"), conversations=SqliteMessageStore(client), max_messages=2, resumable=True
        )

        async def reads(prompt: str, *attachments: dict[str, Any]) -> int:
            log = len(client.log)
            await say(handler, prompt, *attachments)
            return sum("f.data" in sql for sql in client.log[log:])

        assert await reads("one", PICTURE) == 0  # it is at hand
        assert await reads("two") == 1
        assert await reads("three") == 0
        log = len(client.log)
        await say(handler, "four")
        assert not any("files" in sql for sql in client.log[log:])


async def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("ok")
        handler = StreamHandler(model=model, conversations=store)
        await say(handler, "one", PICTURE)
        await store._client.execute("DELETE FROM aibind_files")
        await say(handler, "two")
        note = 'The attached file "a picture.png" is left out here: it is no longer stored'
        assert seen(model, 0)[1] == {"type": "text", "text": f"[{note}]"}


async def test_the_newest_files_come_first_where_not_all_fit(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        model = ScriptedModel("ok")
        handler = StreamHandler(model=model, conversations=store, max_attachment_bytes=100)
        for number, size in enumerate((30, 60, 70)):
            await say(handler, str(number), attach(b"x" * size, "application/zip", f"{size}.zip"))
        kinds = [seen(model, place)[1]["type"] for place in (0, 2, 4)]
        assert kinds == ["file", "text", "file"]
        assert '"60.zip" is left out here: 60 bytes are too many' in seen(model, 2)[1]["text"]


async def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=store, max_attachment_bytes=100)
        large = attach(b"x" * 51, "application/zip")
        with pytest.raises(
            RequestError, match="The attachments have 102 bytes, and this server takes at most 100"
        ) as e:
            await say(handler, "one", large, large)
        assert e.value.status == 413
        assert await store.list_sessions() == []
        assert (await store._client.execute("SELECT * FROM aibind_message_files")).rows == []
        with pytest.raises(ValueError, match="max_attachment_bytes"):
            StreamHandler(model=ScriptedModel("ok"), max_attachment_bytes=-1)


@pytest.mark.parametrize(
    ("attachments", "error"),
    [
        ("x", "attachments must be a list"),
        ([None], "Attachment 1 needs a mimeType"),
        ([PICTURE, {"mimeType": "png", "data": "aGk="}], "Attachment 2 needs a mimeType"),
        ([{"mimeType": "a/b\r\nX: y", "data": "aGk="}], "Attachment 1 needs a mimeType"),
        ([{"mimeType": "image/png"}], "Attachment 1 needs data"),
        ([{"mimeType": "image/png", "data": ""}], "Attachment 1 needs data"),
        ([{"mimeType": "image/png", "url": "file:///etc/passwd"}], 'the url "file:///etc/passwd": use https or data'),
        ([{"mimeType": "image/png", "url": "http://169.254.169.254/"}], "use https or data"),
        ([{"mimeType": "image/png", "url": "javascript:alert(1)"}], "use https or data"),
        ([{"mimeType": "image/png", "url": "HTTPS:evil"}], "use https or data"),
        ([{"mimeType": "image/png", "url": "//evil.example/a.png", "data": "aGk="}], "use https or data"),
        ([{"mimeType": "image/png", "url": 5, "data": ""}], "Attachment 1 needs data"),
        ([{"mimeType": "image/png", "data": "a"}], "Attachment 1 is not valid base64"),
        ([{"mimeType": "image/png", "data": "aGk=\n"}], "Attachment 1 is not valid base64"),
        ([{"mimeType": "image/png", "data": "aG-_"}], "Attachment 1 is not valid base64"),
        ([{"mimeType": "image/png", "data": "ü"}], "Attachment 1 is not valid base64"),
        ([{"mimeType": "image/png", "url": "data:image/png;base64,%"}], "Attachment 1 is not valid base64"),
        ([{"mimeType": "image/png", "url": "data:image/png"}], "Attachment 1 is not valid base64"),
    ],
)
async def test_wrong_attachments(attachments: object, error: str) -> None:
    handler = StreamHandler(model=ScriptedModel("ok"))
    with pytest.raises(RequestError, match=error) as raised:
        await handler.stream({"prompt": "x", "attachments": attachments})
    assert raised.value.status == 400
    with pytest.raises(RequestError, match=error):
        await handler.chat({"messages": [{"role": "user", "content": "x"}], "attachments": attachments})


async def test_a_store_that_fails_fails_the_request(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store._client.execute("DROP TABLE aibind_files")
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=store, resumable=True)

        async def read_body() -> bytes:
            return json.dumps({"prompt": "x", "sessionId": "s", "attachments": [PICTURE]}).encode()

        reply = await Endpoints(handler).answer("POST", "/__aibind__/stream", "", {}, read_body)
        assert (reply.status, reply.body) == (500, b'{"error":"The server\'s database is not set up"}')
        assert await store.list_sessions() == []


async def test_titles_and_summaries_name_what_was_attached() -> None:
    model = ScriptedModel("A bird")
    handler = StreamHandler(model=model)
    content = [{"type": "text", "text": "what is it?"}, REFERENCE, {"type": "image_url", "image_url": {"url": "x"}}]
    await handler.title({"messages": [{"role": "user", "content": content}]})
    assert seen(model) == "user: what is it?\n(attached: a picture.png)\n(attached: a file)"


# --- over HTTP ---


async def fetch(handler: StreamHandler, file_id: str, session_id: str = "s") -> HttpResponse[Any]:
    return await handler.file(session_id, file_id)


async def test_a_file_is_served_to_those_who_have_its_session(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=store)
        await say(handler, "one", PICTURE)
        for file_id in (PNG_HASH, f"sha256:{PNG_HASH}"):
            reply = await fetch(handler, file_id)
            assert (reply.status, reply.body) == (200, PNG)
            assert reply.headers == {
                "Content-Type": "image/png",
                "Content-Disposition": "inline; filename*=UTF-8''a%20picture.png",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, max-age=31536000, immutable",
                "ETag": f'"{PNG_HASH}"',
            }
        for session_id, file_id in (("other", PNG_HASH), ("s", "0" * 64), ("s", "../x"), ("s", "")):
            with pytest.raises(RequestError, match="no such file") as raised:
                await fetch(handler, file_id, session_id)
            assert raised.value.status == 404
        with pytest.raises(RequestError, match="no such file"):
            await StreamHandler(model=ScriptedModel(), conversations=MemoryConversationStore()).file("s", PNG_HASH)
        await store.delete("s")
        with pytest.raises(RequestError, match="no such file"):
            await fetch(handler, PNG_HASH)


@pytest.mark.parametrize("mime_type", ["text/html", "image/svg+xml", "application/pdf", "application/xhtml+xml"])
async def test_what_may_hold_scripts_is_saved(mime_type: str, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=store)
        file = StoredFile.of(b"<script>", mime_type, 'a"; x="ü.html')
        await say(handler, "one", attach(file.data, mime_type, file.reference.name))
        headers = (await fetch(handler, file.reference.sha256)).headers
        assert headers["Content-Type"] == mime_type
        assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%22%3B%20x%3D%22%C3%BC.html"


async def test_a_type_that_is_none_is_not_sent(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        file = StoredFile.of(b"x", "text/html\r\nX: y", None)
        chat = ChatHistory()
        message_id = chat.append({"role": "user", "content": [file.reference.to_part()]})
        await store.put_files("s", message_id, [file])
        await store.save("s", chat)
        headers = (
            await StreamHandler(model=ScriptedModel(), conversations=store).file("s", file.reference.sha256)
        ).headers
        assert (headers["Content-Type"], headers["Content-Disposition"]) == ("application/octet-stream", "attachment")


# --- exported and imported ---


async def test_an_export_brings_its_files(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=store)
        await say(handler, "one", PICTURE, attach(b"notes", "text/plain"))
        await say(handler, "two", PICTURE)
        chat = await store.load("s")
        attachments = Attachments(store, 100)
        exported = (await attachments.export("s", chat)).to_json()
        assert exported.count(PNG_URL) == 2
        assert (await store.load("s")).to_json() == chat.to_json()
        await store.delete("s")

        imported = await attachments.import_("new", ChatHistory.from_json(exported))
        await store.save("new", imported)
        assert (await store.load("new")).to_json() == chat.to_json()
        assert await store.find_file("new", PNG_HASH) == StoredFile.of(PNG, "image/png", "a picture.png")
        assert len((await store._client.execute("SELECT * FROM aibind_files")).rows) == 2

        elsewhere = await Attachments(MemoryConversationStore(), 100).import_("new", ChatHistory.from_json(exported))
        assert elsewhere.messages[0]["content"][1:] == [
            {"type": "image_url", "image_url": {"url": PNG_URL}},
            {"type": "text", "text": "The attached file of type text/plain:\n\nnotes"},
        ]


async def test_a_conversation_without_files_is_exported_and_imported_as_it_is() -> None:
    chat = ChatHistory()
    chat.append({"role": "user", "content": "one"})
    chat.append({"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG_URL}}]})
    attachments = Attachments(MemoryConversationStore(), 100)
    assert await attachments.export("s", chat) is chat
    assert await attachments.import_("s", chat) is chat


async def test_an_import_gets_at_no_file_by_its_hash(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await say(StreamHandler(model=ScriptedModel("ok"), conversations=store), "one", PICTURE)
        forged = ChatHistory()
        forged.append({"role": "user", "content": [REFERENCE]})
        imported = await Attachments(store, 100).import_("mine", forged)
        await store.save("mine", imported)
        assert "did not come with this conversation" in imported.messages[0]["content"][0]["text"]
        assert await store.find_file("mine", PNG_HASH) is None


@pytest.mark.parametrize(
    ("changes", "data"),
    [({}, "data:;base64,b3RoZXI="), ({}, "data:;base64,%"), ({}, 7), ({"size": 1}, PNG_URL), ({}, "https://x")],
)
async def test_an_import_with_other_bytes_is_refused(changes: dict[str, Any], data: Any, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        chat = ChatHistory()
        file = {**REFERENCE["file"], **changes, "file_data": data}
        assert FileReference.from_part({"type": "file", "file": file}) is not None
        chat.append({"role": "user", "content": [{"type": "file", "file": file}]})
        with pytest.raises(RequestError, match=r'The file "a picture\.png" is not what its reference says'):
            await Attachments(store, 100).import_("s", chat)


# --- messages that the client keeps ---


async def chat(handler: StreamHandler, *messages: dict[str, Any], **fields: Any) -> None:
    reply = await handler.chat({"messages": list(messages), **fields})
    assert not isinstance(reply.body, bytes)
    async for _ in reply.body:
        pass


async def test_each_message_brings_its_own_attachments() -> None:
    model = ScriptedModel("a gull")
    address = {"mimeType": "image/png", "url": "https://example.com/a.png"}
    await chat(
        StreamHandler(model=model),
        {"role": "user", "content": "what is it?", "attachments": [PICTURE, address]},
        {"role": "assistant", "content": "a bird", "attachments": [PICTURE]},
        {"role": "user", "content": "", "attachments": [attach(b"notes", "text/plain", "a.txt")]},
        {"role": "user", "content": "which bird?", "attachments": []},
        attachments=[PICTURE],
    )
    picture = {"type": "image_url", "image_url": {"url": PNG_URL}}
    assert seen(model, 0) == [
        {"type": "text", "text": "what is it?"},
        picture,
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    assert seen(model, 1) == "a bird"
    assert [part["type"] for part in seen(model, 2)] == ["text"]
    assert seen(model, 2)[0]["text"].endswith("notes")
    assert seen(model, 3) == [{"type": "text", "text": "which bird?"}, picture]
    assert all(set(message) == {"role", "content"} for message in model.requests[-1].messages)


@pytest.mark.parametrize(
    ("attachments", "status", "error"),
    [
        ([{"data": "AA=="}], 400, "Message 2: Attachment 1 needs a mimeType"),
        ({"mimeType": "image/png"}, 400, "Message 2: attachments must be a list"),
        ([PICTURE, {"mimeType": "image/png", "url": "blob:x"}], 400, 'Message 2: Attachment 2 has the url "blob:x"'),
        ([attach(b"x" * 600, "image/png")] * 2, 413, "The attachments have 1,200 bytes"),
        ([PICTURE] * 21, 413, "Message 2 has 21 attachments"),
    ],
)
async def test_what_is_wrong_with_the_attachments_of_a_message(attachments: Any, status: int, error: str) -> None:
    model = ScriptedModel("x")
    handler = StreamHandler(model=model, max_attachment_bytes=1000)
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "attachments": attachments}]
    with pytest.raises(RequestError) as caught:
        await handler.chat({"messages": messages})
    assert (caught.value.status, str(caught.value)[: len(error)]) == (status, error)
    assert model.requests == []
