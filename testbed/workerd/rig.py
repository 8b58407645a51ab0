"""Start and stop workerd, and talk to the Workers in it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx2

from .bundle import build_worker
from .install import HERE, install_node, install_node_modules
from .setting import Python, Setting

__all__ = ["ANSWER_S", "Rig", "RigError", "Worker"]

START_S = 120
"""Seconds to wait for workerd to start."""
ANSWER_S = 90
"""Seconds to wait for an answer: the first one starts Python, and the machine may be busy."""
LOG_LINES = 60
"""Lines of the log that an error shows."""


class RigError(Exception):
    """Raised when workerd or a Worker did not do what it should, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A Worker to run: its files by their place in its site packages, and whether its D1 binding and its objects count.

    The module ``entry`` among the files has the Worker's class, and those of its Durable Objects: ``objects`` has their
    names, by those of their bindings, and ``Class@worker`` for those of another Worker. Workers with equal files and
    objects share one folder.
    """

    name: str
    files: Mapping[str, Path]
    meter: bool = False
    objects: Mapping[str, str] = field(default_factory=dict)
    date: str | None = None
    """Its compatibility date, unless it is that of the rig's setting."""
    flags: Sequence[str] = ()
    """Its compatibility flags."""


class Rig:
    """One workerd with several Workers, each an isolate, over one D1 database and one KV namespace.

    An isolate starts its Python, which takes seconds, when it is first asked something.
    """

    def __init__(self, setting: Setting, workers: Sequence[Worker]) -> None:
        self.setting = setting
        self._workers = workers
        self._built: list[dict[str, Any]] = []
        self.data = Path(tempfile.mkdtemp(prefix="aibind-workerd-"))
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._log: list[str] = []
        self.urls: Mapping[str, str] = {}

    @property
    def python(self) -> Python:
        """The Python that the Workers run."""
        return self.setting.python

    def start(self) -> None:
        """Start workerd, unless it runs."""
        if self._process is not None:
            return
        release = self.setting.release
        modules = install_node_modules(release.folder)
        self._built = self._built or self._build()
        options = self.data / "options.json"
        options.write_text(json.dumps({"modules": str(modules), "persist": str(self.data), "workers": self._built}))
        self._answers = queue.Queue()
        self._process = subprocess.Popen(
            [install_node(release.oldest_node), str(HERE / "rig.mjs"), str(options)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group, to be killed whole
            env={**os.environ, "WRANGLER_SEND_METRICS": "false"},
        )
        for stream, take in ((self._process.stdout, self._answers.put), (self._process.stderr, self._log.append)):
            threading.Thread(target=_pump, args=(stream, take), daemon=True).start()
        self.urls = self._answer()["urls"]

    def _build(self) -> list[dict[str, Any]]:
        """Make the Workers' folders, for this rig alone: another may run at the same time."""
        built: list[dict[str, Any]] = []
        folders: list[tuple[Mapping[str, Path], set[str], Path]] = []
        for worker in self._workers:
            classes = _own_classes(worker)
            folder = next((folder for *of, folder in folders if of == [worker.files, classes]), None)
            if folder is None:
                folder = build_worker(worker.name, self.python, worker.files, classes, into=self.data / "build")
                folders.append((worker.files, classes, folder))
            built.append(
                {
                    "name": worker.name,
                    "build": str(folder),
                    "meter": worker.meter,
                    "objects": dict(worker.objects),
                    "date": worker.date or self.setting.date,
                    "flags": list(worker.flags),
                    "pyodide": self.python.describe(),
                }
            )
        return built

    def stop(self) -> None:
        """Shut workerd down, and remove its data."""
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
        """Kill workerd and everything in it, as a failing machine does; the data stays."""
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
        """Send a command to rig.mjs and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RigError(f"{answer['error']}\n{self.log()}")
        return answer

    def evict(self, worker: str, class_name: str, name: str) -> None:
        """Evict the Durable Object of a name, as a machine short of memory does. The oldest workerd cannot."""
        self.command(evict=worker, **{"class": class_name}, object=name)

    def _answer(self) -> Any:
        try:
            return json.loads(self._answers.get(timeout=START_S))
        except queue.Empty:
            raise RigError(f"workerd did not answer:\n{self.log()}") from None

    def log(self) -> str:
        """Return the last lines that workerd and Python printed."""
        return "".join(self._log[-LOG_LINES:])

    def client(self, worker: str, *, timeout_s: float = ANSWER_S) -> httpx2.Client:
        """Make an HTTP client of a Worker.

        Each request has its own connection: workerd measures the idle time of one by a clock that stands still
        while Python is busy, and then closes it at once.
        """
        limits = httpx2.Limits(max_keepalive_connections=0)
        return httpx2.Client(base_url=self.urls[worker], timeout=timeout_s, limits=limits)

    def meter(self, worker: str, delay_ms: float) -> dict[str, Any]:
        """Read and reset a Worker's meter, and delay each of its calls to D1 by ``delay_ms`` from now on."""
        with self.client(worker) as client:
            counted: dict[str, Any] = client.get("/.rig/meter").json()
            client.post("/.rig/meter", json={"delayMs": delay_ms})
        return counted

    def ask(self, worker: str, path: str, body: object = None, *, timeout_s: float = ANSWER_S) -> Any:
        """Post JSON to a Worker and return the JSON that it answers."""
        with self.client(worker, timeout_s=timeout_s) as client:
            response = client.post(path, json=body)
        if response.status_code != 200:
            raise RigError(f"{response.status_code}: {response.text}\n{self.log()}")
        return response.json()


def _own_classes(worker: Worker) -> set[str]:
    return {name for name in worker.objects.values() if "@" not in name}


def _pump(stream: IO[str], take: Callable[[str], None]) -> None:
    try:
        for line in stream:
            take(line)
    except ValueError:  # closed meanwhile
        pass
