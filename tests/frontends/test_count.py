"""Every client does in the tests whatever it has a notion of."""

from __future__ import annotations

import subprocess
import sys


def test_no_client_lacks_an_action() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.frontends.count"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= 60
