"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def closest(name: str, names: Sequence[str], cutoff: float = 0.6) -> str | None:
    """Return the likeliest of ``names`` that was meant by ``name``, if any is as like as ``cutoff``."""
    folded = {n.lower().replace("_", "-"): n for n in names}
    wanted = name[:100].lower().replace("_", "-")
    nearest = difflib.get_close_matches(wanted, list(folded), n=1, cutoff=cutoff)
    return folded[nearest[0]] if nearest else None
