"""The real wrangler, for the tests that run it."""

from __future__ import annotations

import os

import pytest

from testbed.workerd.install import CannotInstallError, install_node_modules


@pytest.fixture(scope="session")
def node_modules() -> None:
    """Install wrangler, or skip the test where that cannot be done; CI has to be able to."""
    try:
        install_node_modules()
    except CannotInstallError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
