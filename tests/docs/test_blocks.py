"""The code in README and documentation compiles; what is marked as runnable is run, and prints what the page says."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.models import EchoModel
from aibind.server import StreamHandler, create_app
from aibind.streams import SseParser
from tests.docs.support import PAGES, ROOT, Block, parse_python, read_blocks
from tests.support.http import serve
from tests.support.sources import text_of

BLOCKS = {page: read_blocks(page) for page in PAGES}
ALL = [block for blocks in BLOCKS.values() for block in blocks]


def compile_block(block: Block) -> Any:
    """Compile as a program in whose top level ``await`` may stand; line numbers are those of the page."""
    return compile("\n" * (block.line - 1) + block.code, block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=lambda block: block.name)
def test_python_compiles(block: Block) -> None:
    compile_block(block)


def test_imported_names_exist() -> None:
    for block in ALL:
        if block.language == "python":
            for node in ast.walk(parse_python(block.code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aibind"):
                    for alias in node.names:
                        assert hasattr(importlib.import_module(str(node.module)), alias.name), block.name


def test_the_worker_of_the_readme_is_that_of_the_documentation() -> None:
    readme, page = (
        [block.code for block in BLOCKS[ROOT / name] if block.mark == "worker"]
        for name in ("README.md", "docs/cloudflare.md")
    )
    assert readme == page
    assert len(readme) == 1
    assert len([line for line in readme[0].splitlines() if line.strip()]) <= 20, "the heading says 20 lines"


def test_the_store_of_the_documentation_is_the_example() -> None:
    example = (ROOT / "examples" / "own_store.py").read_text(encoding="utf-8")
    (block,) = (block for block in BLOCKS[ROOT / "docs" / "writing-a-store.md"] if "BaseStreamStore" in block.code)
    imports, store = block.code.split("\n\n\nclass ", 1)
    assert store in example
    assert set(imports.splitlines()) <= set(example.splitlines())


def test_the_configuration_is_that_of_the_example() -> None:
    (block,) = (block for block in BLOCKS[ROOT / "docs" / "cloudflare.md"] if block.language == "toml")
    text = (ROOT / "examples" / "worker" / "wrangler.jsonc").read_text(encoding="utf-8")
    example = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    del example["$schema"]
    assert tomllib.loads(block.code) == example


@pytest.mark.parametrize("block", [b for b in ALL if b.language in {"json", "toml"}], ids=lambda block: block.name)
def test_data_is_valid(block: Block) -> None:
    {"json": json.loads, "toml": tomllib.loads}[block.language](block.code)


def test_blocks_are_marked_as_they_can_be() -> None:
    for block in ALL:
        assert block.language, f"{block.name}: say which language this is"
        if block.mark == "run":
            assert block.language in {"python", "js"}, block.name
        assert len(block.printed) <= 1
    run = [block for block in ALL if block.mark == "run"]
    assert len(run) >= 20


RUNNABLE = [page for page, blocks in BLOCKS.items() if any(b.mark == "run" and b.language == "python" for b in blocks)]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
async def test_python_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks of a page are one program, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "main"}
    for block in BLOCKS[page]:
        if block.mark == "run" and block.language == "python":
            capsys.readouterr()
            result = eval(compile_block(block), names)
            if inspect.isawaitable(result):
                await result
            printed = capsys.readouterr().out
            for expected in block.printed:
                assert printed.strip() == expected.strip(), block.name


async def test_the_first_example_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves ``answer`` and ``last_id`` to the reader; given them, it stores the reply and resumes it there."""

    async def answer() -> AsyncIterator[str]:
        for word in ("one ", "two ", "three ", "four ", "five"):
            yield word

    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in BLOCKS[ROOT / "README.md"] if block.mark == "example")
    assert len([line for line in block.code.splitlines() if line and "import" not in line]) == 5
    names: dict[str, Any] = {"answer": answer, "last_id": 1_000_000_004}
    await eval(compile_block(block), names)
    try:
        sent = b"".join([data async for data in names["events"].body])
        assert text_of(SseParser().feed(sent)) == "two three four five"
    finally:
        await names["client"].aclose()


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md", "docs/tutorial.md", "docs/server.md"])
async def test_the_servers_serve(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the app of a page on a socket, and use it as the page's curl does."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "main"}
    for block in BLOCKS[ROOT / page]:
        if block.mark == "run" and "lifespan" not in names:
            outcome = eval(compile_block(block), names)
            if inspect.isawaitable(outcome):  # a block with await
                await outcome
    app = names.get("app") or create_app(names["handler"])
    async with names["lifespan"](app), serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.post("/__aibind__/stream", content='{"prompt": "/short Hello", "sessionId": "me"}')
        said = text_of(SseParser().feed(response.content))
        assert "Hello" in said
        where = {"id": response.headers["x-stream-id"], "after": "1"}
        rest = await client.get("/__aibind__/stream/resume", params=where)
        assert said.endswith(text_of(SseParser().feed(rest.content)))


async def test_the_durable_route_serves() -> None:
    names: dict[str, Any] = {"__name__": "main"}
    exec(compile_block(BLOCKS[ROOT / "docs" / "existing-routes.md"][0]), names)
    async with serve(names["app"]) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        asked = await client.post("/replies/a")
        assert [message.data for message in SseParser().feed(asked.content)] == ["0", "1", "2"]
        last = {"Last-Event-ID": SseParser().feed(asked.content)[1].id}
        assert [one.data for one in SseParser().feed((await client.get("/replies/a", headers=last)).content)] == ["2"]
        assert (await client.post("/replies/a/stop")).status_code == 200


async def test_the_browser_client_follows(tmp_path: Path) -> None:
    """Run the client of the protocol page in Node, against a server that cuts it off again and again."""
    (block,) = (
        block for block in BLOCKS[ROOT / "docs" / "protocol.md"] if block.language == "js" and block.mark == "run"
    )
    (tmp_path / "client.mjs").write_text(block.code, encoding="utf-8")
    (tmp_path / "run.mjs").write_text(
        """
        import { follow } from "./client.mjs";
        let text = "";
        const end = await follow(process.argv[2], { prompt: process.argv[3] }, (part) => (text += part));
        console.log(JSON.stringify({ end, text }));
        """,
        encoding="utf-8",
    )
    app = Cutter(create_app(StreamHandler(model=EchoModel(tokens_per_second=400), resumable=True)), most_bytes=700)
    async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        for prompt, state in (("/think What is a river?", "done"), ("/fail at once", "error")):
            cuts = app.cuts
            result = json.loads(await run_node(tmp_path / "run.mjs", f"{url}/__aibind__", prompt))
            assert result["end"]["state"] == state
            assert app.cuts > cuts + 1
            where = {"id": app.stream_ids[-1]}
            app.most_bytes, most_bytes = 1 << 30, app.most_bytes
            whole = await client.get("/__aibind__/stream/resume", params=where)
            app.most_bytes = most_bytes
            assert result["text"] == text_of(SseParser().feed(whole.content))
        refused = json.loads(await run_node(tmp_path / "run.mjs", f"{url}/__aibind__", " "))
        assert refused["end"] == {"state": "error", "error": "prompt is required"}


async def run_node(*arguments: object) -> str:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        "node", *map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


class Cutter:
    """Ends every answer after so many bytes, wherever that is, as a network does."""

    def __init__(self, app: Any, most_bytes: int) -> None:
        self._app = app
        self.most_bytes = most_bytes
        self.cuts = 0
        self.stream_ids: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        left = self.most_bytes

        async def cut(message: Any) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                if scope["method"] == "POST" and b"x-stream-id" in headers:
                    self.stream_ids.append(headers[b"x-stream-id"].decode())
            elif left <= 0:
                return
            elif len(message["body"]) >= left:
                self.cuts += 1
                message = {**message, "body": message["body"][:left], "more_body": False}
            left -= len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, cut)
