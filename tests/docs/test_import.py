"""The recipes of docs/how-to/import.md, on made-up files of each tool."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.readers.test_tools import events, offline, results
from tests.cli.call import call
from tests.docs.consoles import ROOT

PAGE = (ROOT / "docs" / "how-to" / "import.md").read_text("utf-8")
COMMANDS = [
    line for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()
]
EXTRAS = {"wandb": "wandb", "logs/small": "tensorboard"}
N, D = (axis.ravel() for axis in np.meshgrid([1.2e7, 3.5e7], [1.2e9, 2.4e9]))
LOSS = 1.7 + 400 / N**0.34 + 410 / D**0.28
RUNS = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS})


def trainer(run):
    log = [
        entry
        for s in (1000, 2000)
        for entry in ({"step": s, "loss": 4.0}, {"step": s, "eval_loss": 4 - s / 2000})
    ]
    return {f"{run}/checkpoint-2000/trainer_state.json": {"log_history": log}}


def files():
    """File -> its content: text, or what JSON holds it."""
    summary = [{"tokens": int(d), "eval/loss": float(x)} for d, x in zip(D, LOSS, strict=True)]
    frame = pd.DataFrame(
        {"name": ["a", "b", "c", "d"], "config": [{"n_params": int(n)} for n in N], "summary": summary}
    )
    nanochat = {"flops_budget": 6 * N * D, "params_total": N, "tokens_trained": D, "val_bpb": LOSS / 4}
    sheet = "params;tokens;loss\n12.000.000;1.200.000.000;3,51\n35.000.000;2.400.000.000;3,2\n"
    wide = RUNS.pivot(index="params", columns="tokens", values="loss").add_prefix("loss at ")
    olmo = {"eval/lm/c4_en-validation/CE loss": 3.1, "throughput/total tokens": 2e9, "train/CE loss": 3.2}
    logged = {"eval/paloma/macro_loss": 3.3, "parameter_count": 12_000_000, "throughput/total_tokens": 10**9}
    marin = {"config": {"seed": 0, "_wandb": {}}, "summary": {**logged, "_wandb": {}}}
    tracked = RUNS.rename(columns={"params": "parameter_count", "tokens": "throughput/total_tokens"})
    return {
        "wandb_export.csv": tracked.assign(Name=list("abcd"), State="finished").to_csv(index=False),
        "project.csv": frame.to_csv(),
        **trainer("gpt-12m"),
        **trainer("gpt-35m"),
        "evals/a/results_1.json": results("a", 7e7, 0.3, 1.1),
        "evals/b/results_2.json": results("b", 1.6e8, 0.4, 1.0),
        "results.csv": pd.DataFrame(nanochat).to_csv(index=False),
        "olmo/metrics.json": olmo,
        "checkpoints/a/tracker_metrics.jsonl": marin,
        "checkpoints/b/tracker_metrics.jsonl": marin,
        "sheet.csv": sheet,
        "table.md": "|params|tokens|loss|\n|---|---|---|\n|12M|1.2B|3.51|\n|35M|2.4B|3.2|\n",
        "wide.csv": wide.to_csv(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    for name, content in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return folder


def output(words):
    """The file that a command writes."""
    return words[words.index("--out") + 1]


def test_each_tool_has_a_recipe():
    assert len(COMMANDS) > 12 and all(command.startswith("scaling import ") for command in COMMANDS)


@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: command.split(" --")[0].removeprefix("scaling import ")
)
def test_a_recipe_works(folder, monkeypatch, command):
    words = shlex.split(command)[1:]
    monkeypatch.chdir(folder)
    extra = EXTRAS.get(words[1])
    if extra is not None:
        pytest.importorskip(extra)
    if extra == "wandb":
        offline(folder / "wandb/offline-run-1/run-1.wandb", "1")
    if extra == "tensorboard":
        events(folder / "logs" / "small", None)
    for earlier in (shlex.split(line)[1:] for line in COMMANDS):  # another process may test these
        if earlier != words and output(earlier) in words and not Path(output(earlier)).exists():
            call(*earlier)
    done = call(*words)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(output(words))
    wanted = {"params"} if "--need" in words else {"params", "tokens", "loss"}
    assert len(table) and wanted <= set(table.columns[table.notna().all()]), done.stdout
