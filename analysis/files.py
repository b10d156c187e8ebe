"""Whole files or none: written beside their place, then moved there."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from analysis.errors import AnalysisError


def create(path: Path, text: str) -> None:
    """Create ``path`` whole, or check that it already holds ``text``; never overwrite.

    Raises AnalysisError.
    """
    temporary = _temporary(path.parent, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        if path.read_text() != text:
            message = f"{path}: exists with other content and is never overwritten; move it away"
            raise AnalysisError(message) from None
    finally:
        os.unlink(temporary)


def replace(path: Path, text: str) -> None:
    """Write ``path`` whole, in place of what is there."""
    os.replace(_temporary(path.parent, text), path)


def _temporary(folder: Path, text: str) -> str:
    """A file of ``text``; nothing is left where it cannot be written, on a full disk."""
    with NamedTemporaryFile("w", dir=folder, prefix=".new-", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)
    return file.name
