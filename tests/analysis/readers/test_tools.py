"""What trackers and trainers write, in their own shapes."""

import json
import struct
import sys

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, load
from analysis.readers.read import read


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def state(steps, loss=3.0):
    """What Trainer logs: training losses and evaluations in entries of their own, a summary at the end."""
    log = [
        entry
        for s in steps
        for entry in ({"step": s, "loss": loss + 1, "epoch": s / 10}, {"step": s, "eval_loss": loss + 10 / s})
    ]
    log.append({"step": steps[-1], "train_loss": 99.0, "total_flos": 1e18})
    return {"global_step": steps[-1], "log_history": log}


def test_trainer_state_is_one_row_a_step(tmp_path):
    reading = read(write(tmp_path / "gpt-70m" / "checkpoint-20" / "trainer_state.json", state([10, 20])))
    assert reading.kind == "trainer_state.json of Hugging Face Trainer"
    assert reading.frame[["run", "step", "train/loss", "eval_loss"]].to_numpy().tolist() == [
        ["gpt-70m", 10, 4.0, 4.0], ["gpt-70m", 20, 4.0, 3.5]
    ]  # fmt: skip
    assert "train_loss" not in reading.frame and reading.frame["total_flos"].tolist()[-1] == 1e18
    assert any("no final loss" in note for note in reading.notes)


def test_a_folder_of_trainer_runs_gives_the_last_state_of_each(tmp_path):
    for run in ("a", "b"):
        for step in (8, 20, 100):
            write(tmp_path / run / f"checkpoint-{step}" / "trainer_state.json", state([step]))
    write(tmp_path / "b" / "trainer_state.json", state([120]))
    frame = load(tmp_path, needs=("step", "loss"))
    assert frame[["run", "step"]].to_numpy().tolist() == [["a", 100], ["b", 120]]
    assert frame["source"].str.endswith("trainer_state.json").all()


def results(name, params, accuracy, bits):
    return {
        "results": {
            "arc": {"alias": "arc", "acc,none": accuracy, "acc_stderr,none": "N/A"},
            "wikitext": {
                "bits_per_byte,none": bits,
                "byte_perplexity,none": 2**bits,
                "word_perplexity,none": 40.0,
            },
            "gsm8k": {"exact_match,strict-match": 0.1},
        },
        "configs": {"arc": {"task": "arc"}},
        "config": {"model_num_parameters": params, "model_args": f"pretrained={name}"},
        "model_name": name,
    }


def test_results_of_the_harness_are_one_row_a_file(tmp_path):
    for i, size in enumerate((7e7, 2e8)):
        write(tmp_path / f"m{i}" / f"results_{i}.json", results(f"m{i}", size, (0.2, 0.5)[i], 1.2 - i / 10))
    for given in (tmp_path, str(tmp_path / "*/results_*.json")):
        frame = load(given, needs=("params", "arc/acc"))
        assert frame[["model", "params", "arc/acc"]].to_numpy().tolist() == [
            ["m0", 7e7, 0.2],
            ["m1", 2e8, 0.5],
        ]
        assert {"wikitext/bits_per_byte", "gsm8k/exact_match,strict-match"} <= set(frame.columns)
        assert "wikitext/byte_perplexity" not in frame
    with pytest.raises(AnalysisError, match=r"of lm-evaluation-harness\): column 'tokens' is missing"):
        load(tmp_path)


def test_a_chart_exported_by_wandb_is_one_row_a_point(tmp_path):
    wide = pd.DataFrame({"Step": [1, 2, 3]})
    for run, low in (("a - b", 3.0), ("c", 2.0)):
        for metric in ("eval/loss", "train/loss"):
            wide[f"{run} - {metric}"] = [low + 1, low if run == "c" else np.nan, low]
            for end in ("__MIN", "__MAX"):
                wide[f"{run} - {metric}{end}"] = wide[f"{run} - {metric}"] + (0.1 if end == "__MAX" else 0)
    wide.to_csv(tmp_path / "chart.csv", index=False)
    reading = read(tmp_path / "chart.csv")
    assert reading.frame[["run", "Step", "eval/loss", "train/loss"]].to_numpy().tolist() == [
        ["a - b", 1, 4.0, 4.0], ["a - b", 3, 3.0, 3.0],
        ["c", 1, 3.0, 3.0], ["c", 2, 2.0, 2.0], ["c", 3, 2.0, 2.0],
    ]  # fmt: skip
    assert reading.frame.index.tolist() == [2, 4, 2, 3, 4] and reading.kind == "chart exported by W&B"
    assert any("averages over several steps" in note for note in reading.notes)


def test_a_history_of_one_run_names_it(tmp_path):
    history = pd.DataFrame(
        {"_step": [0, 9], "_timestamp": [5.0, 6.0], "tokens": [1e8, 2e8], "loss": [4.0, 3.0]}
    )
    history.to_csv(tmp_path / "lr-0.1.csv", index=False)
    reading = read(tmp_path / "lr-0.1.csv")
    assert reading.frame["run"].tolist() == ["lr-0.1"] * 2 and "the history of one run" in reading.notes[0]
    history.iloc[::-1].to_csv(tmp_path / "b.csv", index=False)
    history.assign(Name=["a", "b"]).to_csv(tmp_path / "c.csv", index=False)
    assert not any("run" in read(tmp_path / f"{name}.csv").frame for name in "bc")


def test_objects_in_cells_are_read_by_their_members(tmp_path):
    summary = [{"eval/loss": 3.0, "_step": 9, "lr": 1.0}, {"eval/loss": float("nan"), "_step": 9, "lr": 2.0}]
    config = [{"n_params": 1e7, "lr": 1e-3, "optim": {"kind": "adamw"}}, {"n_params": 1e8, "lr": 2e-3}]
    frame = pd.DataFrame({"summary": summary, "config": config, "name": ["a", "b"]})
    frame.to_csv(tmp_path / "project.csv")  # cells as Python prints them
    nested = "\n".join(json.dumps(row) for row in frame.to_dict("records"))
    for reading in (read(tmp_path / "project.csv"), read(write(tmp_path / "tracker_metrics.jsonl", nested))):
        read_frame = reading.frame
        assert read_frame["n_params"].tolist() == [1e7, 1e8] and read_frame["name"].tolist() == ["a", "b"]
        assert read_frame["config.lr"].tolist() == [1e-3, 2e-3] and read_frame["summary.lr"].tolist() == [
            1,
            2,
        ]
        assert read_frame["optim.kind"].tolist()[0] == "adamw" and np.isnan(
            read_frame["eval/loss"].tolist()[1]
        )


def offline(path, run, sizes=(1e7,), code=0, pad=0):
    """A run as wandb writes it offline: records in blocks of a log."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore

    def items(field, values):
        for key, value in values.items():
            item = field.add()
            item.nested_key.extend(key.split(".")) if "." in key else setattr(item, "key", key)
            item.value_json = json.dumps(value)

    records = [Record() for _ in range(5)]
    records[0].run.run_id, records[0].run.display_name = run, f"name of {run}"
    items(records[0].run.config.update, {"n_params": sizes[0], "optim": {"lr": 1e-3}, "notes": "x" * pad})
    for step in (1, 2):
        logged = {"eval.loss": 4.0 - step} if step > 1 else {}  # the summary has its last value
        items(records[step].history.item, {"_step": step, "tokens": step * 1e8, **logged})
    items(records[3].summary.update, {"best": 2.0, "eval.loss": 2.0})
    records[4].exit.exit_code = code
    raw = b":W&B\xe1\xbe\x00"
    for payload in (record.SerializeToString() for record in records):
        first = True
        while first or payload:
            room = 32768 - len(raw) % 32768
            if room < 7:
                raw += b"\0" * room
                continue
            part, payload = payload[: room - 7], payload[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[
                first, not payload
            ]
            raw += struct.pack("<IHB", 0, len(part), kind) + part
            first = False
    path.parent.mkdir(parents=True)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("pad", [0, 32_600, 100_000])
def test_runs_that_wandb_wrote_offline(tmp_path, pad):
    pytest.importorskip("wandb")
    for run, size in (("r1", 1e7), ("r2", 1e8)):
        offline(tmp_path / f"offline-run-{run}" / f"run-{run}.wandb", run, (size,), pad=pad)
    frame = load(tmp_path, needs=("tokens",))
    assert frame["run"].tolist() == ["r1", "r1", "r2", "r2"] and frame["best"].tolist() == [2.0] * 4
    assert frame["params"].tolist() == [1e7, 1e7, 1e8, 1e8] and frame["optim.lr"].tolist() == [1e-3] * 4
    assert frame["loss"].isna().tolist() == [True, False] * 2 and frame["status"].tolist() == ["ok"] * 4
    assert load(tmp_path)[["tokens", "loss"]].to_numpy().tolist() == [[2e8, 2.0]] * 2


def test_a_run_of_wandb_that_is_torn_is_read_as_far_as_it_goes(tmp_path):
    pytest.importorskip("wandb")
    path = offline(tmp_path / "run" / "run-r1.wandb", "r1")
    path.write_bytes(path.read_bytes()[:-30])
    reading = read(path)
    assert len(reading.frame) == 2 and "it has no end: still running, or killed" in reading.notes
    assert (
        read(offline(tmp_path / "r2" / "run-r2.wandb", "r2", code=1)).frame["state"].tolist()
        == ["failed"] * 2
    )


def events(folder, params, **stated):
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # pyright: ignore
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # pyright: ignore

    writer = EventFileWriter(str(folder))
    if stated:
        writer.add_event(Event(summary=hparams_pb(stated)))
    for step in (1, 2):
        tags = {"eval/loss": 4.0 - step} | ({"tokens": step * 1e8, "params": params} if params else {})
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in tags.items()]
        writer.add_event(Event(wall_time=1.0, step=step, summary=Summary(value=values)))
    writer.close()
    return next(folder.glob("*tfevents*"))


def test_event_files_of_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    file = events(tmp_path / "runs" / "a", 1e7, lr=1e-3, tokens=5.0)
    events(tmp_path / "runs" / "b", 1e8)
    frame = read(file).frame
    assert frame[["run", "step", "eval/loss", "tokens", "params"]].to_numpy().tolist() == [
        ["a", 1, 3.0, 1e8, 1e7], ["a", 2, 2.0, 2e8, 1e7]
    ]  # fmt: skip
    assert frame["lr"].tolist() == [1e-3] * 2
    folder = load(tmp_path, needs=("tokens", "loss"))
    assert folder["run"].tolist() == ["runs/a", "runs/a", "runs/b", "runs/b"]


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    for extra, start in (
        ("wandb", b":W&B\xe1\xbe\x00"),
        ("tensorboard", b"\x18" + b"\0" * 20 + b"\x1a\x0dbrain.Event:2"),
    ):
        for module in [m for m in sys.modules if m.split(".")[0] == extra]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, extra, None)
        (tmp_path / extra).write_bytes(start)
        with pytest.raises(
            AnalysisError, match=rf"the extra '{extra}'; pip install 'scaling-laws\[{extra}\]'"
        ):
            read(tmp_path / extra)


def test_a_folder_of_two_tools_is_asked_about(tmp_path):
    write(tmp_path / "trainer_state.json", state([1]))
    write(tmp_path / "results_1.json", results("m", 1e7, 0.2, 1.2))
    with pytest.raises(
        AnalysisError, match="a folder with states of Hugging Face Trainer and results of lm-eval"
    ):
        load(tmp_path)
