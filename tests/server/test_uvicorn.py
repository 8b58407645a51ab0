"""uvicorn is served fast: with the parser and the loop that the extra ``server`` installs."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

SHOW = """
import asyncio, sys, uvicorn

async def app(scope, receive, send):
    raise AssertionError("nothing is asked")

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(type(asyncio.get_running_loop()).__module__, self.config.http_protocol_class.__name__)
        self.should_exit = True

Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off")).run()
"""


def test_uvicorn_runs_on_what_the_extra_installs() -> None:
    ran = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, timeout=60)
    has_uvloop = sys.platform != "win32" and platform.python_implementation() == "CPython"
    loop, protocol = ran.stdout.split()
    assert protocol == "HttpToolsProtocol"
    assert loop.partition(".")[0] == ("uvloop" if has_uvloop else "asyncio")


@pytest.mark.parametrize(
    ("module", "condition"),
    [("httptools", ""), ("uvloop", "sys_platform != 'win32' and platform_python_implementation == 'CPython'")],
)
def test_only_the_extra_installs_them(module: str, condition: str) -> None:
    needed = [re.sub(r'"', "'", line) for line in requires("aibind") or () if line.startswith(module)]
    assert needed
    for line in needed:
        assert "extra == " in line
        assert all(part in line for part in condition.split(" and "))


def test_a_worker_vendors_neither() -> None:
    names = (Path(__file__).parents[2] / "testbed" / "workerd" / "requirements.txt").read_text(encoding="utf-8")
    assert "starlette" in names
    assert not re.search(r"^(httptools|uvloop)\b", names, re.MULTILINE)
