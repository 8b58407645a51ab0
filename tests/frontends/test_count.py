"""Every client does in the tests whatever it has a notion of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.frontends.count import cases_of, lacking_in


def test_no_client_lacks_an_action(request: pytest.FixtureRequest) -> None:
    cases = cases_of(request.session.items)
    if len(cases) >= 60 and not lacking_in(cases):
        return
    # Only some of the tests were collected: count all of them.
    done = subprocess.run([sys.executable, "-m", "tests.frontends.count"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= 60
