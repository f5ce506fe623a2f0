"""Imports at first use: names of a package, and packages that an extra of probseg installs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from probseg.errors import MissingDependencyError


def require(module: str, *, extra: str, for_: str) -> Any:
    """Import a module of an optional package and return it.

    To keep its types, call this and then import the module as usual.

    Raises:
        MissingDependencyError: The package is not installed.
        ImportError: The package is installed, and fails to import.

    >>> require("lightbulb.pytorch", extra="train", for_="probseg.training.fit")
    Traceback (most recent call last):
    ...
    probseg.errors.MissingDependencyError: probseg.training.fit needs the package 'lightbulb', \
which is not installed; run: pip install 'probseg[train]'
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:  # a part of the package, or what it needs in turn
            raise
        raise MissingDependencyError(
            f"{for_} needs the package {package!r}, which is not installed; "
            f"run: pip install 'probseg[{extra}]'",
            name=package,
        ) from error


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__`` for names and their submodules."""

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return __getattr__, __dir__
