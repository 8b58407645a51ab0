"""Starts and stops workerd, and talks to the Workers in it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from .bundle import ROOT, Python, build
from .install import HERE, NODE_MODULES, node

START_S = 120
ANSWER_S = 90
"""How long an answer may take, in seconds: a first one starts Python, and the machine may be busy."""
LOG_LINES = 60

CHECKS_FILES = {
    "entry.py": HERE / "inside" / "entry.py",
    "tests/__init__.py": ROOT / "tests" / "__init__.py",
    "tests/support/__init__.py": ROOT / "tests" / "support" / "__init__.py",
    "tests/support/differences.py": ROOT / "tests" / "support" / "differences.py",
    "tests/fixtures": ROOT / "tests" / "fixtures",
    "tests/workerd/__init__.py": HERE / "__init__.py",
    "tests/workerd/inside": HERE / "inside",
}


class RigError(Exception):
    """Tells that workerd did not do what it should, with the end of its log."""


class Rig:
    """Is one workerd with three Workers, each an isolate of its own, over one D1 database and one KV namespace.

    ``checks`` and ``second`` run the checks in ``inside/``, the first with a counting D1 binding; ``example`` is
    examples/worker. An isolate starts its Python, which takes seconds, when it is first asked something.
    """

    def __init__(self, python: Python) -> None:
        self.python = python
        self.data = Path(tempfile.mkdtemp(prefix="aibind-workerd-"))
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._log: list[str] = []
        self.urls: Mapping[str, str] = {}

    def start(self) -> None:
        """Start workerd, unless it runs."""
        if self._process is not None:
            return
        pyodide = self.python.describe()
        workers = [{**worker, "pyodide": pyodide} for worker in self.build_workers()]
        options = self.data / "options.json"
        options.write_text(json.dumps({"persist": str(self.data), "workers": workers}))
        self._answers = queue.Queue()
        self._process = subprocess.Popen(
            [node(), str(HERE / "rig.mjs"), str(options)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, to be killed whole
            env={**os.environ, "NODE_PATH": str(NODE_MODULES), "WRANGLER_SEND_METRICS": "false"},
        )
        for stream, take in ((self._process.stdout, self._answers.put), (self._process.stderr, self._log.append)):
            threading.Thread(target=_pump, args=(stream, take), daemon=True).start()
        self.urls = self._answer()["urls"]

    def build_workers(self) -> list[dict[str, Any]]:
        """Build the Workers, and tell of each its name, its folder and whether its D1 is metered."""
        checks = self.build("checks", CHECKS_FILES)
        example = self.build("example", {"": ROOT / "examples" / "worker" / "src"})
        return [
            {"name": "checks", "build": checks, "meter": True},
            {"name": "second", "build": checks, "meter": True},
            {"name": "example", "build": example},
        ]

    def build(self, name: str, files: Mapping[str, Path]) -> str:
        """Make the folder of a Worker, for this rig alone: another may run at the same time."""
        return str(build(name, self.python, files, into=self.data / "build"))

    def stop(self) -> None:
        """Stop workerd in an orderly way, and remove its data."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            else:
                self._forget()
        shutil.rmtree(self.data, ignore_errors=True)

    def kill(self) -> None:
        """Kill workerd and everything in it at once, as a machine that fails; the data stays."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process = None

    def command(self, **command: Any) -> Any:
        """Give the rig a command and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RigError(f"{answer['error']}\n{self.log()}")
        return answer

    def _answer(self) -> Any:
        try:
            return json.loads(self._answers.get(timeout=START_S))
        except queue.Empty:
            raise RigError(f"workerd did not answer:\n{self.log()}") from None

    def log(self) -> str:
        """Return the end of what workerd and Python printed."""
        return "".join(self._log[-LOG_LINES:])

    def client(self, worker: str, *, timeout_s: float = ANSWER_S) -> httpx2.Client:
        """Make an HTTP client of a Worker.

        Each request has a connection of its own: workerd measures the idle time of one by a clock that stands still
        while Python is busy, and then closes it at once.
        """
        limits = httpx2.Limits(max_keepalive_connections=0)
        return httpx2.Client(base_url=self.urls[worker], timeout=timeout_s, limits=limits)

    def meter(self, worker: str, delay_ms: int) -> dict[str, Any]:
        """Read a Worker's D1 meter, begin anew, and delay each of its calls by ``delay_ms`` from now on."""
        with self.client(worker) as client:
            counted: dict[str, Any] = client.get("/.rig/meter").json()
            client.post("/.rig/meter", json={"delayMs": delay_ms})
        return counted

    def ask(self, worker: str, path: str, body: object = None, **params: Any) -> Any:
        """Ask a Worker of ``inside/`` for something, and return its JSON."""
        with self.client(worker) as client:
            response = client.post(path, json=body, params=params)
        if response.status_code != 200:
            raise RigError(f"{response.status_code}: {response.text}\n{self.log()}")
        return response.json()


def _pump(stream: Any, take: Any) -> None:
    try:
        for line in stream:
            take(line)
    except ValueError:  # closed meanwhile
        pass
