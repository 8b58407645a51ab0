"""examples/worker, copied out of the checkout as its README says.

pywrangler resolves pyproject.toml with ``uv pip compile --no-build``, and installs what that finds into
python_modules, from where wrangler takes it. It needs the Python of Pyodide for that, which uv downloads; here the same
commands are run for aibind alone, without a network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.cloudflare.test_wrangler import run_wrangler

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "worker"
OWN_UV = ROOT / ".tools" / "uv" / "bin" / "uv"  # where scripts/setup.sh puts it

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def path_with_uv() -> str:
    uv = shutil.which("uv") or (str(OWN_UV) if OWN_UV.exists() else None)
    if uv is None:
        if os.environ.get("CI"):
            raise RuntimeError("uv is not installed")
        pytest.skip("uv is not installed")
    return f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, path_with_uv: str) -> Path:
    """Run the first commands of the README, with another folder as the target."""
    folder = tmp_path_factory.mktemp("elsewhere") / "aibind-chat"
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[0]
    assert commands.count("../aibind-chat") == 2
    run("sh", "-ec", commands.replace("../aibind-chat", str(folder)), folder=ROOT, path=path_with_uv)
    return folder


def run(*command: str | Path, folder: Path, path: str) -> str:
    environment = {**os.environ, "PATH": path, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def vendored(copied: Path, path_with_uv: str) -> Path:
    """Resolve and install aibind as pywrangler does, into python_modules."""
    project = copied / "pyproject.toml"
    whole = project.read_text(encoding="utf-8")
    project.write_text(whole.replace('  "starlette>=1.0",\n', ""), encoding="utf-8")
    compile_ = ["uv", "pip", "compile", str(project), "--no-build", "--no-header", "-o", "pylock.toml"]
    try:
        run(*compile_, "--offline", "--python-version", "3.13", folder=copied, path=path_with_uv)
    finally:
        project.write_text(whole, encoding="utf-8")
    (package,) = tomllib.loads((copied / "pylock.toml").read_text(encoding="utf-8"))["packages"]
    assert package["name"] == "aibind"
    install = ["uv", "pip", "install", "--offline", "--no-deps", "--only-binary", ":all:", "--python", sys.executable]
    run(*install, "--target", "python_modules", package["archive"]["path"], folder=copied, path=path_with_uv)
    return copied / "python_modules"


def test_nothing_in_the_copy_leads_back(copied: Path) -> None:
    for file in copied.rglob("*"):
        if file.is_file() and file.suffix != ".whl":
            text = file.read_text(encoding="utf-8")
            assert str(ROOT) not in text, file
            assert file.suffix == ".md" or "../" not in text, file
    source = tomllib.loads((copied / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["sources"]["aibind"]
    assert [copied / source["path"]] == list((copied / "wheels").glob("*.whl")), "the wheel has the name that it needs"


def test_the_wheel_has_what_a_worker_needs(copied: Path) -> None:
    (wheel,) = (copied / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for name in ("aibind/py.typed", "aibind/sqlite/migrations/0001_streams.sql"):
            assert archive.read(name).decode() == (ROOT / "src" / name).read_text(encoding="utf-8")
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert not [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]


def test_it_is_resolved_and_imported_from_the_copy(vendored: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(vendored)!r})\n"
        "import aibind, aibind.server, aibind.models\n"
        "from aibind.cloudflare import KVConversationStore, WorkersAIModel, wrap_d1\n"
        "from aibind.sqlite import SqliteStreamStore, migrations\n"
        "print(aibind.__file__, len(migrations()))\n"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{vendored / 'aibind' / '__init__.py'} 8\n"


@pytest.mark.usefixtures("node_modules")
def test_wrangler_would_deploy_the_copy(copied: Path, vendored: Path) -> None:
    output = run_wrangler(copied, "deploy", "--dry-run", "--outdir", "out")
    assert all(f"env.{name}" in output for name in ("DB", "CONVERSATIONS", "AI"))
    assert "Vendored Modules" in output
    bundled = {file.relative_to(copied / "out") for file in (copied / "out").rglob("*.py")}
    for file in vendored.rglob("aibind/cloudflare/*.py"):
        assert file.relative_to(copied) in bundled
    assert (copied / "out" / "entry.py").read_text() == (EXAMPLE / "src" / "entry.py").read_text()
