"""Make the folder of a Worker: the JavaScript around Python, Pyodide, and the site packages as one archive."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from .install import HERE, ROOT, install_worker_packages
from .setting import Python

__all__ = ["build_worker"]


def build_worker(name: str, python: Python, files: Mapping[str, Path], classes: Collection[str], *, into: Path) -> Path:
    """Make the folder of a Worker and return it.

    ``files`` are the Worker's files or folders, by their place in its site packages; aibind and the packages that a
    Worker vendors are there always. ``classes`` are its Durable Objects.
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
    exports = "".join(f'export const {name} = objectClass("{name}");\n' for name in sorted(classes))
    (folder / "objects.mjs").write_text(f'import {{ objectClass }} from "./object.mjs";\n{exports}')
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
