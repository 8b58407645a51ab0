"""Starting servers as processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def run_server(
    database: Path, environment: Mapping[str, str] | None = None, /, **options: object
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start tests.support.server; give the process and its address. It is killed in the end, if it still lives."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "tests.support.server", f"--database={database}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    assert process.stdout is not None
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/__aibind__"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                assert time.monotonic() < deadline, "The server did not come up"
                time.sleep(0.02)
        yield process, url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
