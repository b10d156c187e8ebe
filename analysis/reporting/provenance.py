"""What a page was made from: files by their hashes, and rows by their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from analysis.readers.files import files as files_of

LIBRARIES = ("scaling-laws", "numpy", "scipy", "pandas", "jax", "plotly")
BESIDE = ("curves.parquet", "study.yaml", "plan.json")


def hashes(sources: Sequence[Path]) -> list[tuple[str, str]]:
    """Name and SHA-256 of every file of a table, and of what stands beside it in its results folder. Names
    have no folder: where a machine keeps them is nobody's business."""
    paths = [file.path for file in files_of([*sources])]
    for folder in (source for source in sources if source.is_dir()):
        paths += [folder / name for name in BESIDE if (folder / name).is_file()]
        paths += sorted((folder / "forecasts").glob("*.json"))
    names = [path.name if path.parent.name != "forecasts" else f"forecasts/{path.name}" for path in paths]
    return [(name, _digest(path)) for name, path in zip(names, paths, strict=True)]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> list[tuple[str, str]]:
    """Versions of what computed the page."""
    return [(name, version) for name in LIBRARIES if (version := _version(name))]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def ranges(places: Iterable[int]) -> str:
    """Places in a table as numbers from 1: ``1–4, 7``."""
    rows = np.asarray(list(places), int) + 1
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else []
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
