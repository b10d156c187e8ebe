"""The weights of a model in one file: safetensors, float32, under the names of the parameter table.

The header has ``shape`` and ``run`` as JSON. The identity of weights is a hash of names, dimensions and
values: what else is in the file does not matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.canonical import canonical_json
from scaling.errors import Complaint, UserError
from scaling.files import aside
from scaling.run import Run, run_id

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".safetensors"
HINT = "give a file that `scaling export RESULTS RUN --weights FILE` wrote"
Dims = dict[str, tuple[int, ...]]


def save(path: Path, arrays: Mapping[str, np.ndarray], run: Run, **more: str) -> None:
    """Write the weights of a run; ``more`` are other entries of the header."""
    import numpy as np
    from safetensors.numpy import save_file

    run_json = canonical_json(run)
    about = {"run_id": run_id(run), "shape": json.dumps(json.loads(run_json)["shape"]), "run": run_json}
    with aside(path) as other:
        other.touch()
        mode = other.stat().st_mode
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, other, about | more)
        other.chmod(mode)  # the library makes files that only their owner reads


def dims_of(path: Path) -> Dims:
    """Return the dimensions of the arrays in a file; its header alone is read.

    Raises:
        UserError: it cannot be read, or has values other than float32.
    """
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in sorted(file.keys())}
        others = {name: part.get_dtype() for name, part in slices.items() if part.get_dtype() != "F32"}
        if others:
            name, kind = next(iter(others.items()))
            message = f"{len(others)} arrays are not float32: {name} is {kind}"
            raise UserError(Complaint(message, str(path), "convert them: runs are trained in float32"))
        return {name: tuple(part.get_shape()) for name, part in slices.items()}


def load(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file. Raises UserError like :func:`dims_of`."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())}


def identity(arrays: Mapping[str, np.ndarray]) -> str:
    """Return ``sha256:...`` of the arrays: their names, dimensions and values."""
    return _digest((name, arrays[name]) for name in sorted(arrays))


def identity_of(path: Path) -> str:
    """Return :func:`identity` of the arrays in a file, of which one at a time is in memory."""
    with _opened(path) as file:
        return _digest((name, file.get_tensor(name)) for name in sorted(file.keys()))


def _digest(arrays: Iterator[tuple[str, np.ndarray]]) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for name, array in arrays:
        digest.update(json.dumps([name, list(array.shape), "float32"]).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return f"sha256:{digest.hexdigest()}"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            yield file
    except FileNotFoundError:
        raise UserError(Complaint("no such file", str(path), HINT)) from None
    except (SafetensorError, OSError) as error:
        raise UserError(Complaint(f"cannot be read as safetensors: {error}", str(path), HINT)) from None
