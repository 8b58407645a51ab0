"""The JavaScript modules that pages import have types, which TypeScript checks in its strictest mode."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from testbed.node import install_packages
from tests.docs.support import ROOT
from tests.frontends.driver import FOLDER

TRANSPORT = ROOT / "src" / "aibind" / "server" / "transport.js"


def check(config: Path) -> str:
    """Return what TypeScript has to say; nothing when all is well."""
    modules = install_packages(FOLDER, "the chat clients of the tests")
    done = subprocess.run([str(modules / ".bin/tsc"), "-p", str(config)], capture_output=True, text=True)
    assert bool(done.returncode) == bool(done.stdout)
    return done.stdout


def test_the_modules_and_pages_that_use_them() -> None:
    """``typed_pages.ts`` says of each mistake that it expects it to be found."""
    assert check(FOLDER / "tsconfig.json") == ""


def check_alone(folder: Path, module: str, library: str) -> str:
    """Check a module with a version of the AI SDK."""
    config = json.loads((FOLDER / "tsconfig.json").read_text(encoding="utf-8"))
    (folder / "transport.js").write_text(module, encoding="utf-8")
    config["compilerOptions"]["paths"] = {"ai": [str(FOLDER / "node_modules" / library)]}
    config["files"] = ["transport.js"]
    (folder / "tsconfig.json").write_text(json.dumps(config))
    return check(folder / "tsconfig.json")


def test_the_transport_is_one_of_the_version_before(tmp_path: Path) -> None:
    assert check_alone(tmp_path, TRANSPORT.read_text(encoding="utf-8"), "ai-6") == ""


def test_a_mistake_is_found(tmp_path: Path) -> None:
    module = TRANSPORT.read_text(encoding="utf-8")
    wrong = module.replace("response.headers.get(", "response.headers.find(")
    assert "Property 'find' does not exist" in check_alone(tmp_path, wrong, "ai")
    wrong = module.replace("async reconnectToStream(", "async reconnect(")
    assert "reconnectToStream" in check_alone(tmp_path, wrong, "ai")
