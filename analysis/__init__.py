"""What runs mean: tables -> laws -> fits -> criticism -> forecasts -> figures and reports.

Stands alone: needs no other package of this distribution, works on any table with ``params``, ``tokens``
and ``loss``, and changes no global state. The public names are those of ``__init__.pyi``; each is imported on
first use, so that importing this package costs nothing.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any


def _read_stub() -> dict[str, str]:
    """Public name -> its dotted path below this package, from the imports of the stub beside this file."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    return {
        alias.asname or alias.name: f"{statement.module}.{alias.name}".removeprefix(f"{__name__}.")
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


_PUBLIC = _read_stub()
__all__ = sorted(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    path = _PUBLIC[name]
    try:
        value = import_module(f"analysis.{path}")  # a module, such as ``analysis.figures``
    except ModuleNotFoundError as error:
        if error.name != f"analysis.{path}":
            raise
        module, _, attribute = path.rpartition(".")
        value = getattr(import_module(f"analysis.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
