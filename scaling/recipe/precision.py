"""In what precision matrices are multiplied, and which devices can."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "tf32", "bfloat16"]
