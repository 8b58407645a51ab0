"""Every program in examples/ is run, as a reader would run it."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import io
import itertools
import os
import sys
import tokenize
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from aibind.client import AsyncClient
from tests.support.cutting import CuttingProxy, every
from tests.support.endpoint import Endpoint, Reply
from tests.support.recordings import read_recording

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# What a run prints, in part. The programs check themselves as well.
PRINTS = {
    "anthropic_client": ("data: High water is at noon.", "event: usage"),
    "branches": ("The Danube. (2 of 2)", "Back to the first question", "1 message taken over from the other tab"),
    "langchain_model": ("data: Good", "event: done"),
    "langgraph_agent": ("data: The", "event: done"),
    "openai_agents_agent": ("data: High", "event: usage"),
    "openai_client": ("data: High", "event: reasoning", "event: usage"),
    "own_model": ('"result":21', "degrees"),
    "pydantic_ai_agent": ("event: tool_call", "event: tool_result", "event: usage"),
    "own_store": ("passed: every text comes back as it was", "passed: a renewed lease holds"),
    "stream_and_resume": ("cut off after id", "the stream is done"),
    "two_processes": ("follower: read '1 2 3 ", "my source was closed", "the stream is stopped"),
}
SERVED = {"client", "server"}
FRAMEWORKS = (
    "anthropic_client",
    "langchain_model",
    "langgraph_agent",
    "openai_agents_agent",
    "openai_client",
    "pydantic_ai_agent",
)
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PRINTS.keys() | SERVED


MESSAGES = [
    '{"type":"message_start","message":{"id":"m","usage":{"input_tokens":9,"output_tokens":1}}}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"High water is at noon."}}',
    '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":6}}',
    '{"type":"message_stop"}',
]
RECORDED = {
    "anthropic_client": Reply(MESSAGES, done=False, names_events=True),
    "openai_agents_agent": Reply(read_recording("responses-summary"), done=False),
    "openai_client": Reply(read_recording("responses-summary"), done=False),
}
"""What the endpoint of an SDK answers an example with."""


async def run(*arguments: str | Path, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("name", PRINTS)
async def test_example(name: str) -> None:
    async with Endpoint(RECORDED.get(name, Reply())) as endpoint:
        keys = {"OPENAI_API_KEY": "sk-example", "ANTHROPIC_API_KEY": "sk-example", "NO_PROXY": "*"}
        urls = {"OPENAI_BASE_URL": endpoint.base_url, "ANTHROPIC_BASE_URL": endpoint.origin}
        output = await run(EXAMPLES / f"{name}.py", **keys, **urls)
        assert len(endpoint.exchanges) == (name in RECORDED)
    for expected in PRINTS[name]:
        assert expected in output


def own_lines(path: Path) -> int:
    """Count the lines with code on them, without imports, docstrings and the call of main()."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    skipped: set[int] = set()
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.stmt)):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_start = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        if isinstance(node, ast.Import | ast.ImportFrom) or is_docstring or is_start:
            assert node.end_lineno is not None
            skipped |= set(range(node.lineno, node.end_lineno + 1))
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in SKIPPED]
    code = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    return len(code - skipped)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_takes_few_lines(name: str) -> None:
    """tests/integrations/test_frameworks.py holds what these programs make to the behaviour of every integration."""
    assert 0 < own_lines(EXAMPLES / f"{name}.py") <= 15


@asynccontextmanager
async def served(database: Path) -> AsyncIterator[str]:
    """Run examples/server.py on a port that is free; give its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / "server.py",
        "--port",
        "0",
        "--database",
        database,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = ""
        while "running on " not in said:
            line = (await process.stderr.readline()).decode()
            assert line, said
            said += line
        yield said.split("running on ")[1].split()[0]
    finally:
        process.terminate()
        await process.communicate()


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_server_that_is_shut_down_keeps_what_there_is(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    async with served(database) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        asking = {"prompt": "/long 5000", "sessionId": "me"}
        async with client.stream("POST", "/__aibind__/stream", json=asking) as response:
            stream_id = response.headers["x-stream-id"]
            async for data in response.aiter_raw():
                if b"##" in data:  # the first heading
                    break

    async with served(database) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        said = (await client.get("/sessions/me")).json()
        assert [message["role"] for message in said] == ["user", "assistant"]
        assert "##" in said[1]["content"]
        resumed = await client.get("/__aibind__/stream/resume", params={"id": stream_id})
        assert "event: error\ndata: The server was shut down\n" in resumed.text


async def test_client_resumes_when_its_connection_is_cut(tmp_path: Path) -> None:
    """The program has no say in it: the other end goes in the middle of a message."""
    async with served(tmp_path / "chat.db") as url:
        sizes = itertools.count(700, 100)
        proxy = CuttingProxy(url, every(lambda: next(sizes)))
        async with proxy.serving() as proxied:
            output = await run(EXAMPLES / "client.py", proxied, "/short What is a river?")
    assert proxy.cuts > 1
    assert f"(done; {proxy.connections} connections, " in output


async def test_server_and_client(tmp_path: Path) -> None:
    """The server is restarted between two turns of a conversation."""
    database = tmp_path / "chat.db"
    async with served(database) as url, AsyncClient(url) as client:
        assert await client.ask("/short Hello there", session_id="me").read()

    async with served(database) as url, AsyncClient(url) as client:
        assert await client.ask("/short Hello there", session_id="me").read()
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            said = (await http.get("/sessions/me")).json()
        assert [message["role"] for message in said] == ["user", "assistant", "user", "assistant"]
        output = await run(EXAMPLES / "client.py", url, "/short Once more")
        assert "(done; 1 connections, " in output
