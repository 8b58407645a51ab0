"""The demo as its user runs it: a process of its own, to be ended, killed and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]

RATE = 400
"""How fast the offline model talks to the browser tests, in tokens a second."""


def report_folder(name: str) -> Path:
    """Make a folder of the test report: ``test-report/`` in the repository's root, or ``AIBIND_TEST_REPORT``."""
    folder = Path(os.environ.get("AIBIND_TEST_REPORT") or ROOT / "test-report") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class DemoProcess:
    """Runs ``aibind demo`` on one database; every start takes the same port."""

    def __init__(self, database: Path, *arguments: str, tokens_per_second: float | None = None) -> None:
        self._database = database
        self._arguments = list(arguments)
        if tokens_per_second is not None:
            self._arguments += ["--tokens-per-second", str(tokens_per_second)]
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        command = [sys.executable, "-m", "aibind", "demo", "--port", str(self._port), "--database", str(self._database)]
        self._process = subprocess.Popen([*command, *self._arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"Page +http://127\.0\.0\.1:(\d+)", line):
                self._port = int(found[1])
            if "Ctrl+C" in line:
                return self
        raise AssertionError(f"the demo ended with {self._process.wait()}")

    def end(self) -> int:
        """End it politely, and return its exit code."""
        return self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end()

    def get(self, path: str) -> Any:
        """Ask the server, apart from any browser."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.url + path, timeout=60) as response:
            return json.load(response)

    def messages(self, session_id: str) -> list[dict[str, Any]]:
        """Read a conversation as it is stored."""
        stored = self.get(f"/__aibind__/sessions/{session_id}")["messages"]
        return [{**each["message"], "metadata": each["metadata"]} for each in stored]


def until(condition: Any, seconds: float = 60) -> Any:
    """Wait until a condition holds, and return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {seconds} s")
        time.sleep(0.02)
