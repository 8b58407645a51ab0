"""Public names, shown as the package's that exports them: a repr or a pickle names no module inside a package."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FunctionType

__all__ = ["publish"]

_SEPARATORS = str.maketrans(dict.fromkeys("[](),.|'\"", " "))


def publish(package: str, names: Iterable[str], module: str | None = None) -> None:
    """Make ``package`` the ``__module__`` of its classes and functions ``names``.

    Names that come from another package stay there. They are taken from the package itself, or from ``module``.
    """
    from inspect import get_annotations  # here: ``import aibind`` does not need it

    target = vars(sys.modules[package])
    source = vars(sys.modules[module or package])
    for name in names:
        value = source.get(name)
        if not isinstance(value, type | FunctionType) or not value.__module__.startswith(f"{package}."):
            continue
        home = vars(sys.modules[value.__module__])
        value.__module__ = package
        if isinstance(value, type) and (annotations := get_annotations(value)):
            # typing.get_type_hints looks up what a class's annotations name in the module of the class.
            for named in " ".join(annotations.values()).translate(_SEPARATORS).split():
                if named in home:
                    target.setdefault(named, home[named])
