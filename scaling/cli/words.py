"""Numbers in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``3 min 05 s``, ``2 h 07 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def flops(value: float) -> str:
    """``2.4e+12 FLOPs`` reads worse than ``2.4 TFLOP``."""
    for unit, size in (("ZFLOP", 1e21), ("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if float(f"{value:.3g}") >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e6:.3g} MFLOP"


def count(value: float) -> str:
    """``34.5k``, ``1.22M``, three digits."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if float(f"{value:.3g}") >= size:  # as it will be rounded: 999,936 is 1M, not 1e+03k
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def typed(value: float) -> str:
    """``3e9``, ``0.02``: as one types it, two digits."""
    digits, e, power = f"{value:.2g}".partition("e")
    return f"{digits}e{int(power)}" if e else digits
