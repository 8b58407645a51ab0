"""The vendored modules are what scripts/vendor makes of the packages that its lock file pins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testbed.node import CannotInstallError, find_node, install_packages

from .support import ROOT

PACKAGES = ROOT / "scripts" / "page-packages"
VENDOR = ROOT / "src" / "aibind" / "demo" / "static" / "vendor"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_vendored_files_are_those_of_the_packages(tmp_path: Path) -> None:
    try:
        install_packages(PACKAGES, "the page's packages")
    except CannotInstallError as error:
        pytest.fail(str(error), pytrace=False)
    subprocess.run([find_node(), "build.mjs", str(tmp_path / "vendor")], cwd=PACKAGES, check=True)
    made, kept = files(tmp_path / "vendor"), files(VENDOR)
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


def test_each_module_has_its_licence() -> None:
    readme = (VENDOR / "README.md").read_text(encoding="utf-8")
    for folder in (path for path in VENDOR.iterdir() if path.is_dir()):
        assert (folder / "LICENSE").stat().st_size > 500
        for module in (path for path in folder.iterdir() if not path.name.startswith("LICENSE")):
            assert f"`{folder.name}/{module.name}`" in readme
            assert "sourceMappingURL" not in module.read_text(encoding="utf-8")
