"""Make the folder of a Worker: the JavaScript around Python, Pyodide, and the site packages as one archive."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .install import HERE, ROOT, install_node_modules, install_worker_packages

__all__ = ["PYTHONS", "Python", "build_worker"]


@dataclass(frozen=True, slots=True)
class Python:
    """One Python that Workers run, as its Pyodide from npm."""

    name: str
    version: str
    platform: str
    abi: str

    @property
    def label(self) -> str:
        """The name of this Python for people: "Python 3.13"."""
        return f"Python {self.version.rpartition('.')[0]}"

    @property
    def folder(self) -> Path:
        """The folder of its Pyodide, installed."""
        return install_node_modules() / f"pyodide-{self.name.removeprefix('py')}"

    def describe(self) -> dict[str, str]:
        """Return what the loader in the Worker must know."""
        pyodide = json.loads((self.folder / "package.json").read_text())["version"]
        return {"version": pyodide, "python": self.version, "platform": self.platform, "abi": self.abi}


PYTHONS = {
    "py314": Python("py314", "3.14.2", "emscripten_5_0_3", "2026_0"),
    "py313": Python("py313", "3.13.2", "emscripten_4_0_9", "2025_0"),
    "py312": Python("py312", "3.12.1", "emscripten_3_1_58", "2024_0"),
}


def build_worker(name: str, python: Python, files: Mapping[str, Path], *, into: Path) -> Path:
    """Make the folder of a Worker and return it.

    ``files`` are the Worker's files or folders, by their place in its site packages; aibind and the packages that a
    Worker vendors are there always.
    """
    folder = into / f"{python.name}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "worker", folder)
    for file in ("pyodide.mjs", "pyodide.asm.wasm"):
        shutil.copy(python.folder / file, folder)
    shutil.copy(python.folder / "python_stdlib.zip", folder / "stdlib.zip")
    module = python.folder / "pyodide.asm.mjs"
    if module.exists():
        shutil.copy(module, folder)
        (folder / "classic.mjs").write_text("")
    else:  # a script, which leaves its one function in the global scope
        script = (python.folder / "pyodide.asm.js").read_text()
        (folder / "pyodide.asm.mjs").write_text(f"{script}\nexport default _createPyodideModule;\n")
    with zipfile.ZipFile(folder / "site.zip", "w") as archive:
        _add(archive, "", install_worker_packages())
        _add(archive, "aibind", ROOT / "src" / "aibind")
        for place, source in files.items():
            _add(archive, place, source)
    return folder


def _add(archive: zipfile.ZipFile, place: str, source: Path) -> None:
    if source.is_file():
        archive.write(source, place)
        return
    for file in sorted(source.rglob("*")):
        if file.is_file() and not {"__pycache__", "node_modules", "bin"} & set(file.relative_to(source).parts):
            archive.write(file, str(Path(place) / file.relative_to(source)))
