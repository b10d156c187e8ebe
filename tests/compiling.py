"""How programs are compiled in tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

import pytest

# XLA's older emitters for processors, and a program in one piece: compiled in a quarter of the time.
# A process that is given an option its jax does not know ends; 0.12 knows none of these emitters.
KNOWN = (0, 11)
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
FLAGS += "--xla_cpu_multi_thread_eigen=false"  # as jobs have it: by these emitters sums differ with threads


def compile_in_one_piece() -> None:
    """Set ``XLA_FLAGS`` of this process, before it loads jax, and of those that it starts. Flags of the
    shell's are kept alone: ``XLA_FLAGS=" "`` compiles as users do."""
    version = tuple(map(int, metadata.version("jaxlib").split(".")[:2]))
    if version < KNOWN:
        os.environ.setdefault("XLA_FLAGS", FLAGS)


@contextmanager
def compiling_quickly() -> Iterator[None]:
    """Compile in half the time, here and in new processes."""
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", before)
