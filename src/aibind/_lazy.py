"""Packages that load each name when it is first used, since a Worker pays for its imports at every start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ._public import publish

__all__ = ["load_on_demand"]


def load_on_demand(package: str, homes: Mapping[str, str], *, extra: str = "") -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names are ``homes``, by module: ``{"module": "Name another"}``.

    It raises AttributeError for any other name, and ImportError with advice for one that needs the ``extra``.
    """
    names = {module: found.split() for module, found in homes.items()}
    modules = {name: module for module, found in names.items() for name in found}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f".{modules[name]}", package), name)
        except ModuleNotFoundError as error:
            if not extra or error.name is None or error.name.partition(".")[0] == "aibind":
                raise
            advice = f'install it with pip install "aibind[{extra}]"'
            raise ImportError(f"{name} needs {error.name}: {advice}") from error
        setattr(sys.modules[package], name, value)
        if "." in package:  # aibind itself only repeats what its packages export
            # Every module that this has loaded: its objects are seen without anyone asking for their names.
            for module, found in names.items():
                if f"{package}.{module}" in sys.modules:
                    publish(package, found, f"{package}.{module}")
        return value

    return load
