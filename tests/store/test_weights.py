from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from scaling.errors import UserError
from scaling.model.roles import init_params
from scaling.run import run_id
from scaling.store.weights import dims_of, identity, identity_of, load, save
from tests.train.runs import TINY, make_run

WEIGHTS = init_params(TINY, 3)


def test_weights_come_back_with_the_run_they_are_of(tmp_path: Path) -> None:
    from safetensors import safe_open

    path, run = tmp_path / "deep" / "w.safetensors", make_run()
    save(path, WEIGHTS, run)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert dims_of(path) == {name: array.shape for name, array in WEIGHTS.items()}
    assert all(np.array_equal(array, WEIGHTS[name]) for name, array in load(path).items())
    with safe_open(path, "numpy") as file:
        about = file.metadata()
    assert about["run_id"] == run_id(run) == run_id(type(run).model_validate_json(about["run"]))
    assert json.loads(about["shape"])["width"] == TINY.width


def test_the_identity_is_of_names_dimensions_and_values_alone(tmp_path: Path) -> None:
    save(tmp_path / "a", WEIGHTS, make_run(seed=3))
    save(tmp_path / "b", dict(reversed(WEIGHTS.items())), make_run(seed=4))
    assert identity_of(tmp_path / "a") == identity_of(tmp_path / "b") == identity(WEIGHTS)
    name, array = next(iter(WEIGHTS.items()))
    changed = array.copy()
    changed.flat[0] += 1e-3
    others = [{name: changed}, {name: array.reshape(-1)}, {"other": array}]
    rest = {other: WEIGHTS[other] for other in WEIGHTS if other != name}
    assert len({identity(WEIGHTS), *(identity(rest | other) for other in others)}) == 4


def test_an_identity_is_a_promise() -> None:
    assert identity({"b": np.arange(3, dtype="f4"), "a": np.ones((1, 2), "f4")}) == (
        "sha256:b0c0743591fe2b9209b50d46623eafc41fa4ebfa6f53c1564b9700399df28ff6"
    )


@pytest.mark.parametrize("what", ["missing", "a folder", "noise", "half"])
def test_what_cannot_be_read_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "w.safetensors"
    match what:
        case "a folder":
            path.mkdir()
        case "noise":
            path.write_text("noise")
        case "half":
            save(path, WEIGHTS, make_run())
            path.write_bytes(path.read_bytes()[:-100])
    for read in (dims_of, identity_of, load):
        with pytest.raises(
            UserError, match="no such file" if what == "missing" else "cannot be read"
        ) as caught:
            read(path)
        assert str(path) in str(caught.value) and "scaling export" in str(caught.value)


def test_other_numbers_than_float32_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.ones(3, np.float16), "b": np.ones(3, np.float32)}, tmp_path / "w")
    with pytest.raises(UserError, match="1 arrays are not float32: a is F16"):
        dims_of(tmp_path / "w")
