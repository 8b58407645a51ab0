"""The recipes: each is run as its reader runs it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from aibind.streams import SseMessage, SseParser
from testbed.node import find_node, install_packages
from tests.demo.conftest import OPTIONS, find_chromium
from tests.docs.support import ROOT, read_blocks
from tests.frontends.driver import FOLDER

pytestmark = pytest.mark.anyio

RECIPES = ROOT / "examples" / "recipes"
PAGE = ROOT / "docs" / "recipes.md"
MODULES = ROOT / "src" / "aibind" / "server"

PAGES = {"react": "transport.js", "assistant-ui": "transport.js", "svelte": "aibind.js", "html": None}
"""The folders with pages, and the module that each copies."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one server."""
    return "asyncio"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipes in a folder of their own, with the packages that they install."""
    modules = install_packages(FOLDER, "the chat clients of the tests")
    folder = tmp_path_factory.mktemp("recipes") / "recipes"
    shutil.copytree(RECIPES, folder)
    (folder / "node_modules").symlink_to(modules)
    return folder


@contextlib.asynccontextmanager
async def serving(folder: Path, app: str = "main:app", *options: str) -> AsyncIterator[tuple[str, int]]:
    """Run uvicorn in a folder on a free port; give its address and the id of its process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", app, "--port", "0", *options), cwd=folder, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = ""
    starts = 2 if options else 1
    try:
        while "running on " not in said or said.count("startup complete") < starts:
            line = (await process.stderr.readline()).decode()
            assert line, said
            said += line
        reading = asyncio.ensure_future(process.stderr.read())
        yield said.split("running on ")[1].split()[0], process.pid
    finally:
        process.terminate()
        await process.wait()
    await reading


@pytest.fixture(scope="module")
async def url(recipes: Path) -> AsyncIterator[str]:
    async with serving(recipes) as (url, _):
        yield url


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        yield launched
        await launched.close()


def text_of(messages: list[SseMessage]) -> str:
    return "".join(message.data for message in messages if not message.event)


def test_the_page_shows_the_files() -> None:
    """Each block of the page is a file of the recipes, or commands."""
    blocks = read_blocks(PAGE)
    shown = {block.code for block in blocks}
    files = {file.read_text(encoding="utf-8") for file in RECIPES.rglob("*.*") if file.name != "chat.css"}
    assert files <= shown
    assert {block.code for block in blocks if block.language != "sh"} <= files


def build(recipes: Path, page: str) -> None:
    """Run the last of the commands of a recipe, with the module that its reader gets from the server."""
    folder, module = recipes / page, PAGES[page]
    if module is None:
        return
    shutil.copy(MODULES / module, folder)
    commands = [block.code for block in read_blocks(PAGE) if block.code.startswith("npm install")]
    *_, fetched, command = commands[list(PAGES).index(page)].splitlines()
    assert fetched.endswith(f"/{module}")
    words = command.split()
    program = [find_node()] if words[0] == "node" else [str(recipes / "node_modules/.bin" / words[1])]
    arguments = words[1:] if words[0] == "node" else [*words[2:], "--log-level=error"]
    subprocess.run([*program, *arguments], cwd=folder, check=True)


@pytest.mark.parametrize("name", PAGES)
async def test_pages(recipes: Path, url: str, browser: Browser, name: str) -> None:
    """Asked, reloaded in the middle of the reply, and stopped."""
    build(recipes, name)
    page = await browser.new_page()
    expect.set_options(timeout=20_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    await page.goto(f"{url}/{name}/")
    await say(page, "/short Hello")
    answer = page.locator("p").nth(1)
    await expect(answer).to_contain_text("Hello")
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await say(page, "/long 3000")
    answer = page.locator("p").nth(3)
    await expect(answer).to_contain_text("#")
    await page.reload()
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await expect(answer).to_contain_text("#")
    await press(page, page.get_by_role("button", name="Stop"), while_growing=answer)
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await page.reload()
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        stored = (await client.get(f"/__aibind__/sessions/my-{name}-chat")).json()["messages"]
    assert [one["message"]["role"] for one in stored] == ["user", "assistant"] * 2
    assert stored[-1]["metadata"]["finish"] == "stopped"
    await expect(page.locator("p")).to_have_count(4)
    for place, one in enumerate(stored):
        await expect(page.locator("p").nth(place)).to_have_text(one["message"]["content"])
    assert not problems
    await page.close()


async def say(page: Page, text: str) -> None:
    """Send a message."""
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def press(page: Page, button: Locator, *, while_growing: Locator) -> None:
    """Click as people do, who hold the mouse button down while the reply grows by a few lines."""
    await button.hover()
    await page.mouse.down()
    before = await height_of(while_growing)
    while await height_of(while_growing) < before + 48:
        await asyncio.sleep(0.02)
    await page.mouse.up()


async def height_of(shown: Locator) -> float:
    """Return the height of something on a page, in pixels."""
    box = await shown.bounding_box()
    assert box is not None
    return box["height"]


async def stored_answer(url: str, session: str) -> str:
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        stored = (await client.get(f"/__aibind__/sessions/{session}")).json()["messages"]
    text: str = stored[-1]["message"]["content"]
    return text


async def run(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0
    return output


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl(recipes: Path, url: str) -> None:
    rest = SseParser().feed((await run("sh", "resume.sh", url, cwd=recipes)).encode())
    kept = SseParser().feed((recipes / "first.txt").read_bytes())
    assert rest[-1].event == "done"
    assert text_of(kept + rest) == await stored_answer(url, "my-curl-chat")
    assert text_of(kept)
    assert text_of(rest)


async def test_python(recipes: Path, url: str) -> None:
    printed = await run(sys.executable, "ask.py", url, cwd=recipes)
    assert printed == await stored_answer(url, "my-python-chat") + "\n(done)\n"


@contextlib.contextmanager
def nginx(folder: Path, url: str) -> Iterator[str]:
    """Run nginx with the configuration of the recipe, before ``url``, on a free port; give its address."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (folder / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    changes = {"127.0.0.1:8000": url.removeprefix("http://"), "listen 8080": f"listen 127.0.0.1:{port}"}
    changes["http {"] = f"error_log stderr; pid {folder}/nginx.pid; daemon off; http {{ access_log off; {temporary}"
    for before, after in changes.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    (folder / "tested.conf").write_text(text, encoding="utf-8")
    process = subprocess.Popen(["nginx", "-c", str(folder / "tested.conf"), "-e", "stderr"])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx")
async def test_nginx(recipes: Path, url: str) -> None:
    """Tokens pass one by one while the reply is under way, and it is resumed."""
    with nginx(recipes, url) as address:
        async with httpx2.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:
            parser, read = SseParser(), list[SseMessage]()
            pieces = 0
            is_live = None
            asking = {"prompt": "/long 40", "sessionId": "nginx"}
            async with client.stream("POST", "/__aibind__/stream", json=asking) as response:
                stream_id = response.headers["x-stream-id"]
                async for data in response.aiter_raw():
                    read += parser.feed(data)
                    pieces += 1
                    if is_live is None and text_of(read):
                        live = await client.get("/__aibind__/sessions", params={"live": "true"})
                        (found,) = (one for one in live.json()["sessions"] if one["id"] == asking["sessionId"])
                        is_live = found["liveStream"] is not None
            assert read[-1].event == "done"
            assert is_live
            assert pieces > len(read) // 2
            place = len(read) // 2
            rest = await client.get(
                "/__aibind__/stream/resume", params={"id": stream_id}, headers={"Last-Event-ID": read[place].id}
            )
            assert text_of(SseParser().feed(rest.content)) == text_of(read[place + 1 :])
            page = await client.get("/api/chat/transport.js")
            assert page.content == (MODULES / "transport.js").read_bytes()


def worker_of(response: httpx2.Response, workers: list[psutil.Process]) -> psutil.Process:
    """Return the process that answers."""
    client: Any = response.extensions["network_stream"].get_extra_info("client_addr")
    (found,) = (
        worker
        for worker in workers
        if any(connection.raddr and connection.raddr.port == client[1] for connection in worker.net_connections("tcp"))
    )
    return found


async def test_several_workers(recipes: Path) -> None:
    """A reply is followed at the worker that does not produce it, and resumed when that one is killed."""
    async with serving(recipes, "main:app", "--workers", "2") as (url, pid):
        workers = [
            child for child in psutil.Process(pid).children() if "resource_tracker" not in " ".join(child.cmdline())
        ]
        async with contextlib.AsyncExitStack() as stack:
            asking = {"prompt": "/long 80", "sessionId": "workers"}

            async def open_stream(method: str, path: str, **options: Any) -> httpx2.Response:
                client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30))
                return await stack.enter_async_context(client.stream(method, path, **options))

            asked = await open_stream("POST", "/__aibind__/stream", json=asking)
            stream = {"id": asked.headers["x-stream-id"]}
            producer = worker_of(asked, workers)
            while True:
                followed = await open_stream("GET", "/__aibind__/stream/resume", params=stream)
                if worker_of(followed, workers) != producer:
                    break
            parser, read = SseParser(), list[SseMessage]()
            with contextlib.suppress(httpx2.TransportError):
                async for data in followed.aiter_raw():
                    read += parser.feed(data)
                    if len(read) > 5:
                        worker_of(followed, workers).kill()
                        break
            assert read[-1].event != "done"
            rest = await open_stream(
                "GET", "/__aibind__/stream/resume", params=stream, headers={"Last-Event-ID": read[-1].id}
            )
            read += SseParser().feed(await rest.aread())
        assert read[-1].event == "done"
        assert text_of(read) == await stored_answer(url, "workers")


async def test_fastapi_with_its_own_users(recipes: Path) -> None:
    async with serving(recipes, "authorized:app") as (url, _):

        def user(name: str) -> httpx2.AsyncClient:
            headers = {"Authorization": f"Bearer secret-of-{name}"}
            return httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False)

        async with user("ada") as ada, user("eve") as eve, user("nobody") as nobody:
            assert [(await one.get("/me")).status_code for one in (ada, eve, nobody)] == [200, 200, 401]
            asking = {"prompt": "/short Hello", "sessionId": "mine"}
            asked = await ada.post("/__aibind__/stream", json=asking)
            assert SseParser().feed(asked.content)[-1].event == "done"
            assert (await nobody.post("/__aibind__/stream", json=asking)).status_code == 401
            statuses = [(await one.get("/__aibind__/sessions/mine")).status_code for one in (ada, eve, nobody)]
            assert statuses == [200, 404, 401]
            shown = [(await one.get("/api/chat/mine")).json() for one in (ada, eve)]
            assert [len(one["messages"]) for one in shown] == [2, 0]
            where = {"id": asked.headers["x-stream-id"]}
            assert (await eve.get("/__aibind__/stream/resume", params=where)).status_code == 404
