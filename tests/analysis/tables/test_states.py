import pandas as pd
import pytest

from analysis import AnalysisError, fit, load, select
from analysis.tables.states import outcome
from analysis.tables.table import about
from tests.analysis.advice import arguments

WORDS = {
    "ok": "finished FINISHED completed COMPLETED succeeded Succeeded done TERMINATED ok OK Complete",
    "diverged": "diverged NaN",
    "failed": "crashed failed killed running preempted FAILED KILLED RUNNING SCHEDULED OOM OUT_OF_MEMORY "
    "TIMEOUT CANCELLED NODE_FAIL PREEMPTED PENDING ERROR PAUSED stopped",
}


@pytest.mark.parametrize("ours", WORDS)
def test_words_of_trackers_and_schedulers(ours):
    assert {word: outcome(word) for word in WORDS[ours].split()} == dict.fromkeys(WORDS[ours].split(), ours)
    assert outcome("CANCELLED by 1001") == "failed"
    assert [outcome(x) for x in ("train", "", 1, True, "zombie")] == [None] * 5


def table(tmp_path, heading, states):
    rows = [f"{10**i},{2 * 10**i}0,{5 - i / 4},{state}" for i, state in enumerate(states, 6)]
    (tmp_path / "runs.csv").write_text("\n".join([f"params,tokens,loss,{heading}", *rows]))
    return tmp_path / "runs.csv"


@pytest.mark.parametrize("heading", ["State", "status", "run_state"])
def test_runs_that_did_not_finish_are_left_out_and_counted(tmp_path, heading):
    path = table(tmp_path, heading, ["finished", "crashed", "finished", "running", ""])
    frame = load(path)
    kept, left_out = select(frame)
    assert kept["params"].tolist() == [1e6, 1e8, 1e10]
    assert [row["reason"] for row in left_out] == ["status is failed: crashed", "status is failed: running"]
    notes = "\n".join(about(frame).notes)
    assert "status: finished read as ok, crashed read as failed, running read as failed" in notes
    assert "2 of 5 runs diverged or failed (lines 3, 5) and are left out" in notes
    assert frame["status"].dropna().tolist() == ["ok", "failed", "ok", "failed"]
    assert len(load(path, where=f"{heading} == 'finished'")) == 2  # as the file says it
    raw = pd.DataFrame({"params": [1e6], "tokens": [2e7], "loss": [3.0], "status": ["FAILED"]})
    assert len(select(raw)[0]) == 0


def test_advice_never_takes_crashed_runs_in(tmp_path):
    path = table(tmp_path, "state", ["finished", "crashed", "zombie", "killed", "finished"])
    with pytest.raises(AnalysisError, match="'zombie' is unknown") as error:
        load(path)
    taken = arguments(error.value)
    assert taken == {"where": 'status != "zombie"'}
    assert select(load(path, **taken))[0]["params"].tolist() == [1e6, 1e10]


def test_a_column_that_says_something_else_is_not_taken_as_the_state(tmp_path):
    frame = load(table(tmp_path, "state", ["Texas", "Ohio", "Texas"]))
    assert frame["state"].tolist() == ["Texas", "Ohio", "Texas"] and "status" not in frame.columns
    assert "'state' is not taken as status, which its cells are not" in about(frame).notes
    assert load(table(tmp_path, "state", [1, 2, 3]))["state"].tolist() == [1, 2, 3]
    named = load(table(tmp_path, "N", ["small", "large", "xl"]))
    assert named["N"].tolist() == ["small", "large", "xl"]
    with pytest.raises(AnalysisError, match="'baseline' is unknown") as error:
        load(table(tmp_path, "status", ["baseline", "ablation"]))
    assert arguments(error.value) == {"columns": {"status": None}}
    assert len(load(tmp_path / "runs.csv", **arguments(error.value))) == 2


def test_states_in_the_wild(field):
    frame = load(field / "wandb_runs" / "wandb_export_2025-01-02.csv")
    assert "tokens = 'throughput/total_tokens'" in about(frame).notes[0]
    found = fit("chinchilla", frame, bootstrap=0)
    words = pd.read_csv(field / "wandb_runs" / "wandb_export_2025-01-02.csv")["State"]
    assert found.objective.n == (words == "finished").sum() < len(words)
    assert found.noise.sd == pytest.approx(0.002, abs=5e-4)
