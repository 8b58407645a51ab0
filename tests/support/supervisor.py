"""A supervisor: ``python -m tests.support.supervisor -- COMMAND …`` runs a command, and starts it again when it ends.

SIGUSR1 restarts it as ``systemctl restart`` does: SIGTERM, and a new process when the old one has ended. SIGHUP is
passed on. SIGTERM ends both.
"""

from __future__ import annotations

import signal
import subprocess
import sys


class Supervisor:
    """Keeps one process running."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._is_ending = False
        self._process = subprocess.Popen(command)

    def restart(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def pass_on(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        self._is_ending = True
        self._process.send_signal(signal.SIGTERM)

    def run(self) -> int:
        for number, act in ((signal.SIGUSR1, self.restart), (signal.SIGHUP, self.pass_on), (signal.SIGTERM, self.end)):
            signal.signal(number, lambda *_, act=act: act())
        while True:
            code = self._process.wait()
            if self._is_ending:
                return code
            self._process = subprocess.Popen(self._command)


if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[sys.argv.index("--") + 1 :]).run())
