"""The trainers of experiments/external: what they train, and that a stopped one resumes bit for bit."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaling.counts.params import count_parameters
from scaling.spec.load import load_study
from tests.supervisor.jobs import rows, wait_for

FOLDER = Path(__file__).parents[2] / "experiments" / "external"
REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "external"
WIDTH, CONTEXT = 16, 32
PARAMS = {"width": WIDTH, "layers": 2}


def write_run(folder: Path, steps: int = 60) -> Path:
    """Write the run.json of a small run, and its text: words in no order."""
    rng = np.random.default_rng(0)
    words = [b"law ", b"of ", b"the ", b"union "]
    text = np.frombuffer(b"".join(words[i] for i in rng.integers(0, 4, 20_000)), np.uint8)
    windows = text[: 64 * (CONTEXT + 1)].reshape(64, -1)
    np.savez(folder / "bytes.npz", train=text, windows=windows, weights=np.ones_like(windows[:, 1:]))
    (folder / "checkpoints").mkdir()
    names = {"metrics": "metrics.jsonl", "result": "result.json", "checkpoints": "checkpoints"}
    count = 2 * 256 * WIDTH + 2 * (12 * WIDTH**2 + 2 * WIDTH) + WIDTH
    asked = {
        **{"run_id": "a" * 12, "start": 1, "steps": steps, "context": CONTEXT, "seed": 0, "order": 1},
        **{"batch_sequences": 4, "batch_tokens": 4 * CONTEXT, "tokens": steps * 4 * CONTEXT},
        "size": {"name": "tiny", "params": count, "config": PARAMS},
        **{"recipe": {"warmup": 10, "decay": 0.4}, "learning_rate": 0.01, "evaluate_at": []},
        **{"checkpoint_seconds": 1e9, "paths": {name: str(folder / path) for name, path in names.items()}},
    }
    (folder / "run.json").write_text(json.dumps(asked))
    return folder


def start(kind: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, FOLDER / f"train_{kind}.py", "--run", folder / "run.json"]
    return subprocess.Popen(
        [*map(str, command), "--data", str(folder / "bytes.npz")], stderr=subprocess.PIPE, text=True
    )


def loss_of(kind: str, folder: Path) -> float:
    process = start(kind, folder)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads((folder / "result.json").read_text())["loss"]


KINDS = [
    "jax",
    pytest.param(
        "torch", marks=pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs torch")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_learns_and_resumes_bit_for_bit(kind, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
        write_run(folder, steps=400)
    loss = loss_of(kind, whole)
    assert (
        0.3 < loss < 1.0
    )  # the words are a coin with four sides: 1.386 nats for 3.75 letters, 0.37 a letter
    process = start(kind, stopped)
    wait_for(lambda: (stopped / "metrics.jsonl").exists(), 120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    [checkpoint] = (stopped / "checkpoints").iterdir()
    assert 50 <= int(checkpoint.name) < 400
    assert loss_of(kind, stopped) == loss
    last = [rows(folder / "metrics.jsonl")[-1]["train/loss"] for folder in (whole, stopped)]
    assert last[0] == last[1]


@pytest.mark.parametrize("kind", ["torch", "jax"])
def test_the_sizes_are_those_of_the_built_in_study(kind):
    """Parameters and FLOPs as the built-in trainer counts them: laws are fitted to the same numbers."""
    built_in, own = (load_study(FOLDER / f"{name}.yaml") for name in ("builtin", kind))
    sizes = {size.name: size for size in own.family.sizes}
    shapes = {f"w{width}": built_in.family.member(width) for width in (*built_in.family.widths, 80)}
    assert sizes.keys() == shapes.keys()
    for name, member in shapes.items():
        shape = member.shape(256, 64)
        assert sizes[name].params == count_parameters(shape).total
    assert own.design == built_in.design
