"""The chat that the tutorial builds: run by its last command, asked by two users, and opened in a browser."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, sync_playwright

from aibind.server import session_key
from aibind.sqlite import SqliteMessageStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.demo.conftest import OPTIONS, find_chromium
from tests.docs.support import ROOT, read_blocks
from tests.support.endpoint import Endpoint, Reply, texts
from tests.support.http import serve
from tests.support.sources import text_of

PAGE = ROOT / "docs" / "tutorial.md"
FINISHED = ROOT / "examples" / "tutorial"
BLOCKS = read_blocks(PAGE)
PYTHON = [block.code for block in BLOCKS if block.language == "python"]
COMMANDS = "".join(block.code for block in BLOCKS if block.language == "sh")


def definitions(source: str) -> dict[str, str]:
    """Return the statements at the top of a program by what each defines; a later one replaces an earlier one."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            found.update({alias.name: f"from {node.module}" for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.name: "import" for alias in node.names})
        elif isinstance(node, ast.Assign):
            found[ast.unparse(node.targets[0])] = ast.unparse(node.value)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = ast.unparse(node)
    return found


def test_the_steps_end_in_the_finished_files() -> None:
    (argument,) = re.findall(r"`(toolsets=.+?)`", PAGE.read_text(encoding="utf-8"))
    built = definitions("\n".join(PYTHON[1:]))
    built["handler"] = ast.unparse(ast.parse(built["handler"][:-1] + f", {argument})", mode="eval"))
    finished = definitions((FINISHED / "main.py").read_text(encoding="utf-8"))
    assert built.pop("model").startswith("OpenAIModel(")  # one line, by which the steps differ from the file
    assert finished.pop("model") == "EchoModel()"
    del built["OpenAIModel"]
    assert built == finished

    (page,) = (block.code for block in BLOCKS if block.language == "html")
    (changed,) = (block.code for block in BLOCKS if block.language == "js")
    line = re.search(r"^ +body: .*\n", page, re.MULTILINE)
    assert line
    assert page.replace(line[0], changed) == (FINISHED / "index.html").read_text(encoding="utf-8")


async def test_one_line_makes_the_model_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = (code for code in PYTHON if code.startswith("model = OpenAIModel("))
    async with Endpoint(Reply(texts("It is", " a river."))) as endpoint:
        (address,) = re.findall(r'base_url="([^"]+)"', line)
        program = PYTHON[1].replace("model = EchoModel()\n", line.replace(address, endpoint.base_url))
        names: dict[str, Any] = {}
        exec(compile(program, "main.py", "exec"), names)
        async with (
            names["lifespan"](names["app"]),
            serve(names["app"]) as url,
            httpx2.AsyncClient(trust_env=False) as client,
        ):
            reply = await client.post(f"{url}/__aibind__/stream", json={"prompt": "What is the Danube?"})
            assert text_of(SseParser().feed(reply.content)) == "It is a river."
        await names["model"].aclose()


@contextmanager
def served(folder: Path, command: str, port: str = "0") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a command of the page on a port, by default a free one; give its address and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command), "--port", port],
        cwd=folder,
        env={**os.environ, "CHAT_SECRET": "any secret"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = ""
        while not ("startup complete" in said and "running on" in said):  # workers say it in the other order
            line = process.stderr.readline()
            assert line, said
            said += line
        yield said.split("running on ")[1].split()[0], process
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def signed_in(url: str, name: str, password: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, trust_env=False) as client:
        assert client.post("/login", data={"name": name, "password": password}).status_code == 303
        yield client


def ask_as_two_users(url: str) -> None:
    """Do what the page does with curl, and be refused without a password."""
    with httpx2.Client(base_url=url, trust_env=False) as stranger:
        assert stranger.get("/__aibind__/sessions").status_code == 401
        for form in ({}, {"name": "eve"}, {"name": "ada", "password": "paint"}):
            assert stranger.post("/login", data=form).status_code == 401
    with signed_in(url, "ada", "engine") as ada, signed_in(url, "bob", "paint") as bob:
        asked = {"prompt": "/tools dice", "sessionId": "mine", "toolset": "games"}
        reply = ada.post("/__aibind__/stream", json=asked, headers={"Accept": "text/event-stream"})
        assert '"name":"roll","result":' in reply.text
        path = "/__aibind__/sessions/mine"
        roles = [each["message"]["role"] for each in ada.get(path).json()["messages"]]
        assert roles == ["user", "assistant", "tool", "assistant"]
        assert bob.get(path).status_code == 404
        assert bob.get("/__aibind__/sessions").json()["sessions"] == []
        stream_id = {"id": reply.headers["x-stream-id"]}
        assert bob.get("/__aibind__/stream/resume", params=stream_id).status_code == 404


def wait_for_characters(page: Page, count: int) -> str:
    page.wait_for_function(f"document.querySelector('.assistant')?.textContent.length > {count}")
    return str(page.locator(".assistant").text_content())


@pytest.mark.browser
@pytest.mark.processes
def test_the_finished_chat(tmp_path: Path) -> None:
    """Reload the page in the middle of a reply, stop the server, which lets the reply end, and start it again."""
    single, workers = re.findall(r"^uvicorn .*", COMMANDS, re.MULTILINE)
    assert "--workers 2" in workers
    shutil.copy(FINISHED / "index.html", tmp_path)
    program = (FINISHED / "main.py").read_text(encoding="utf-8")
    assert "EchoModel()" in program
    (tmp_path / "main.py").write_text(program.replace("EchoModel()", "EchoModel(tokens_per_second=100)"))
    faults: list[str] = []
    with served(tmp_path, workers) as (url, process), sync_playwright() as playwright:
        ask_as_two_users(url)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        page = browser.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        page.locator("[name=password]").fill("engine")
        page.locator("[name=name]").fill("ada")
        page.get_by_role("button", name="Sign in").click()
        page.locator("[name=prompt]").fill("/long 250 Tell me about rivers")
        page.get_by_role("button", name="Send").click()
        seen = wait_for_characters(page, 60)
        page.reload()
        more = wait_for_characters(page, len(seen))
        assert more.startswith(seen)
        assert page.get_by_role("button", name="Send").is_disabled(), "the reply had ended before the reload"
        assert faults == []

        process.terminate()
        assert process.wait(30) == 0
        session_id = session_key(page.evaluate("localStorage.sessionId"), "ada")
        with ThreadPoolExecutor() as pool:  # Playwright runs an event loop in this thread
            (_, question), (role, answer) = pool.submit(asyncio.run, stored(tmp_path / "chat.db", session_id)).result()
        assert (question, role) == ("/long 250 Tell me about rivers", "assistant")
        assert len(answer) > len(more)
        with served(tmp_path, single, url.rpartition(":")[2]):
            assert wait_for_characters(page, len(answer) - 1) == answer
            browser.close()


async def stored(database: Path, session_id: str) -> list[tuple[str, str]]:
    async with wrap_sqlite3(database) as client:
        chat = await SqliteMessageStore(client).load(session_id)
        return [(message["role"], message["content"]) for message in chat.messages]
