"""What is published: the wheel and the sdist, built offline and installed without any dependency."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.python import install_command

from .test_package import PUBLIC

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "aibind"
PACKAGES = sorted({*PUBLIC, "aibind.cli", "aibind.demo", "aibind.errors"})

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A built file, and the Python of an environment in which it alone is installed."""

    wheel: Path
    python: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.python, "-I", *arguments], capture_output=True, text=True, timeout=60)


def build(source: Path, target: str, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [built] = into.iterdir()
    return built


def unpack(sdist: Path, into: Path) -> Path:
    with tarfile.open(sdist) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                place = into / member.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read())
    [folder] = into.iterdir()
    return folder


def install(wheel: Path, folder: Path) -> Distribution:
    venv.create(folder)
    [python] = folder.glob("bin/python")
    command = [*install_command(str(python)), "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Distribution(wheel, python)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Install the wheel, and the wheel that the sdist alone is enough to build."""
    folder = tmp_path_factory.mktemp(request.param)
    source = ROOT
    if request.param == "sdist":
        source = unpack(request.getfixturevalue("sdist"), folder / "source")
    return install(build(source, "wheel", folder / "wheel"), folder / "environment")


def files_of_the_package() -> set[str]:
    """Return all files in the source, by their place in the package."""
    found = (file for file in SOURCE.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {f"aibind/{file.relative_to(SOURCE).as_posix()}" for file in found}


def test_the_sdist_has_the_package_and_what_describes_it(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name.removeprefix("src/") for name in names if name.startswith("src/")} == files_of_the_package()
    others = {name for name in names if not name.startswith("src/")}
    expected = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
    assert others == expected | {"PKG-INFO", ".gitignore"}  # the build backend adds these two


def test_the_wheel_has_the_package_alone(installed: Distribution) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    assert inside == files_of_the_package()
    assert {"aibind/py.typed", "aibind/server/aibind.js", "aibind/demo/static/index.html"} < inside
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_every_package_can_be_imported_alone(installed: Distribution) -> None:
    """Without any extra; a name that needs one may say so when it is asked for."""
    code = f"""
import importlib, sys
for name in {PACKAGES!r}:
    for loaded in [module for module in sys.modules if module.partition(".")[0] == "aibind"]:
        del sys.modules[loaded]
    package = importlib.import_module(name)
    for public in package.__all__:
        try:
            getattr(package, public)
        except ImportError as error:
            assert 'install it with pip install "aibind[' in str(error), error
            print("needs an extra:", name, public)
"""
    ran = installed.run("-c", code)
    assert ran.returncode == 0, ran.stderr
    needing = {tuple(line.removeprefix("needs an extra: ").split()) for line in ran.stdout.splitlines()}
    elsewhere = {name for package, name in needing if not package.startswith("aibind.integrations")}
    assert elsewhere == {
        "Client",
        "OpenAIModel",
        "Reply",
    }  # AsyncClient asks for it when it is made
    for package in PACKAGES:
        if package.startswith("aibind.integrations."):
            assert any(needs == package for needs, _ in needing), f"{package} needs its extra"


def test_the_command_says_which_extra_it_needs(installed: Distribution) -> None:
    ran = installed.run("-m", "aibind", "demo")
    assert ran.returncode == 1
    assert 'pip install "aibind[cli]"' in ran.stderr
    assert "Traceback" not in ran.stderr


def test_it_works_as_installed(installed: Distribution) -> None:
    code = """
import asyncio
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream

async def source():
    yield "Hello"

async def main():
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        stream = await DurableStream.create(SqliteStreamStore(client), source())
        print((b"".join([data async for data in stream.response().body])).count(b"data: Hello"))

asyncio.run(main())
"""
    ran = installed.run("-c", code)
    assert ran.stdout == "1\n", ran.stderr


def test_an_option_says_which_extra_it_needs(installed: Distribution) -> None:
    code = """
from aibind.models import EchoModel
from aibind.server import StreamHandler, create_app
create_app(StreamHandler(model=EchoModel()))
create_app(StreamHandler(model=EchoModel()), cors_origins=["*"])
"""
    ran = installed.run("-c", code)
    assert ran.stderr.strip().endswith(
        'ImportError: cors_origins needs starlette: install it with pip install "aibind[server]"'
    )
