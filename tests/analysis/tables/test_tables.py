import hashlib
import json
import random
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, after, fit, load, select
from analysis.results import Repeats, SeedNoise
from analysis.tables.checks import row_names
from analysis.tables.loading import import_table
from analysis.tables.noise import clusters, seed_noise
from analysis.tables.table import about
from benchmarks.fuzz_tables import attempt, mutants
from benchmarks.spell_tables import attempt as spelling
from benchmarks.spell_tables import table as spelled
from tests.analysis.advice import load_as_advised

ROWS = ((1e7, 2e8, 4.5), (1e8, 2e9, 3.4), (1e9, 2e10, 2.7))


def write(tmp_path, text, name="runs.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def csv(header, rows=ROWS, delimiter=","):
    return "\n".join(delimiter.join(map(str, row)) for row in (header.split(","), *rows)) + "\n"


def refused(path, **options):
    with pytest.raises(AnalysisError) as error:
        load(path, **options)
    return str(error.value)


def test_folder_csv_parquet_and_json_lines_hold_the_same_table(tmp_path, study):
    study.to_csv(tmp_path / "runs.csv", index=False)
    study.to_parquet(tmp_path / "runs.parquet")
    study.to_json(tmp_path / "runs.jsonl", orient="records", lines=True, double_precision=15)
    (tmp_path / "runs.json").write_text(json.dumps(study.to_dict("records")))
    left = load(tmp_path)
    for name in ("runs.parquet", "runs.jsonl", "runs.json"):
        right = load(tmp_path / name)
        np.testing.assert_allclose(left["loss"], right["loss"], rtol=1e-12)
        assert list(left.columns) == list(right.columns)
        assert row_names(left) == row_names(right) == study["run_id"].tolist()


def test_missing_flops_and_role_are_filled_and_said(tmp_path):
    frame = load(write(tmp_path, "params,tokens,loss\n1000,2000,3.5\n"))
    assert frame["flops"].tolist() == [6 * 1000 * 2000]
    assert frame["role"].tolist() == ["fit"]
    assert any("6 x params x tokens in 1 of 1" in note for note in about(frame).notes)


def test_tokens_follow_from_size_and_compute_where_nothing_else_gives_them(tmp_path):
    frame = load(write(tmp_path, csv("Model Size,Training FLOP,loss", [(1e8, 1.2e18, 3.4)])))
    assert frame["tokens"].tolist() == [1.2e18 / 6e8]
    assert "columns: params = 'Model Size', flops = 'Training FLOP'" in about(frame).notes
    formula = "`Training FLOP` / (6 * `Model Size`)"
    assert f"tokens = {formula} in every row (no tokens given)" in about(frame).notes
    rows = [(n, 6 * n * d, loss, d) for n, d, loss in ROWS]
    message = refused(write(tmp_path, csv("Model Size,Training FLOP,loss,text_tokens", rows)))
    assert "say which it is: columns={'tokens': 'text_tokens'} or columns={'tokens': '`Trai" in message


def test_all_problems_are_reported_at_once(tmp_path):
    text = "run_id,params,tokens,loss\na,True,1e6,2\nb,False,x,-1\nb,True,1e6,nan\n"
    message = refused(write(tmp_path, text))
    assert "'params' has booleans in lines 2 (a), 3 (b), 4 (b)" in message
    assert "'tokens' is not a number in line 3 (b)" in message and "'x'" in message
    assert "'loss' must be finite and positive: line 3 (b) = -1, line 4 (b) = nan" in message
    assert "'run_id': line 4 (b) more than once" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("params,loss\n1,2\n", "'tokens' is missing"),
        ("params,tokens,loss\n", "no rows"),
        ("params,tokens,loss\n0,2,3\n", "line 2 = 0"),
        ("params,tokens,loss\n1,inf,3\n", "line 2 = inf"),
        ("params,tokens,loss\n1e400,1e9,3\n", "line 2 = inf"),
        ("params,tokens,loss\n1e8,1e9,2024-01-01\n", "'loss' is not a number in line 2"),
        ("params,tokens,loss\n1e8,\"1,000,000,000\",3\n", "numbers of this file say thousands=','"),
        ("params;tokens;loss\n1e8;2e9;3,14\n", "numbers of this file say decimal=','"),
        ("", "cannot be read"),
        (" \n\r\n", "cannot be read"),
        ("params:tokens:loss\n1:2:3\n", "one column only"),
        ("params,tokens,loss\n1e8,1e9,3\n\n1e8,2e9\n", "3 fields in line 1, but line 4 has 2"),
        ("params,tokens,loss,loss\n1e8,1e9,3,3\n", "'loss' is there 2 times"),
        ('params,tokens,loss\n1e8,1e9,3\n1e8,"2e9,3\n', "line 3: a quote is not closed"),
        (b"params,tokens,loss\n1e8,1e9,3\0\n", "line 2 holds a NUL byte"),
        (b"params,tokens,loss\n1e8,1e9,3\n\xff,1,2\n", "line 3 is not UTF-8"),
        ("params,tokens,loss\n1e8,1e9," + "9" * 140_000, "line 2: field larger"),
        ("params,tokens,loss,role\n1e8,1e9,3,train\n", "'train' is unknown .line 2.; it is one of trunk"),
        ("params,tokens,loss,status\n1e8,1e9,3,odd\n", "'odd' is unknown .line 2.; it is one of ok, div"),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(AnalysisError, match=says) as error:
        load(path)
    assert all(str(path) in str(problem) for problem in error.value.problems)


def test_missing_file():
    with pytest.raises(AnalysisError, match="no such file"):
        load("nowhere")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_line_ends_and_byte_order_marks(tmp_path, delimiter, ending):
    text = csv("params,tokens,loss", delimiter=delimiter).replace("\n", ending)
    frame = load(write(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert frame[["params", "tokens", "loss"]].to_numpy().tolist() == [list(row) for row in ROWS]
    assert frame.index.tolist() == [2, 3, 4]
    assert [note.split()[0] for note in about(frame).notes] == ["flops"]  # no column needed another name


def test_lines_are_those_of_the_file(tmp_path):
    text = 'label,params,tokens,loss\n"two\nlines",1e8,2e9,3.4\n\nb,1e8,2e9,-3\n'
    assert "line 5 = -3" in refused(write(tmp_path, text))
    kept, excluded = select(load(write(tmp_path, text.replace("-3", "3"))), where="loss > 3.2")
    assert kept["label"].tolist() == ["two\nlines"]
    assert excluded == [{"row": "line 5", "reason": "where: loss > 3.2"}]


def test_bad_json_lines_are_named(tmp_path):
    good = '{"params": 1e8, "tokens": 2e9, "loss": 3.4}\n'
    deep = "[" * 100_000
    text = good + "{\n" + '{"loss": 1, "loss": 2}\n7\n' + f'{{"loss": {deep}\n'
    message = refused(write(tmp_path, text, "runs.jsonl"))
    assert [f"line {i}:" in message for i in range(1, 6)] == [False, True, True, True, True]
    assert "'loss' is not a number in line 1" in refused(
        write(tmp_path, good.replace("3.4", "[1]"), "runs.jsonl")
    )
    assert "cannot be read" in refused(write(tmp_path, "PAR1 and no more", "runs.parquet"))


def test_columns_in_the_wild(tmp_path):
    path = write(tmp_path, csv("N,Train Tokens,valLoss,L2,lr", [(*row, 1, 3e-4) for row in ROWS]))
    frame = load(path, where="lr < 1 and N > 2e7")
    assert frame["params"].tolist() == [1e8, 1e9] and frame["learning_rate"].tolist() == [3e-4] * 2
    assert about(frame).left_out == ({"row": "line 2", "reason": "where: lr < 1 and N > 20000000"},)
    assert (
        "columns: params = 'N', tokens = 'Train Tokens', loss = 'valLoss', learning_rate = 'lr'"
        in about(frame).notes
    )


def test_two_readings_are_refused_until_one_is_stated(tmp_path):
    path = write(tmp_path, csv("N,n_params,tokens,loss", [(10 * n, n, d, loss) for n, d, loss in ROWS]))
    message = refused(path)
    assert "'N', 'n_params' could all be 'params'" in message and "columns={'params': 'n_params'}" in message
    assert load(path, columns={"params": "n_params"})["params"].tolist() == [1e7, 1e8, 1e9]
    wrong = refused(path, columns={"parms": "N", "loss": "los"}, where="tokns > 1")
    assert f"{path}: where='tokns > 1': filter: no column 'tokns'; did you mean 'tokens'?" in wrong
    assert "did you mean 'params'?" in wrong and "did you mean 'loss'?" in wrong
    own = load(write(tmp_path, csv("N,params,tokens,loss", [(10 * n, n, d, loss) for n, d, loss in ROWS])))
    assert own["params"].tolist() == [1e7, 1e8, 1e9]
    assert "params is the column of that name; 'N' left as it is" in about(own).notes


def test_a_column_can_be_left_unused(tmp_path):
    rows = [(*row, 6 * row[0] * row[1] * 1e-30, "usual") for row in ROWS]
    path = write(tmp_path, csv("params,tokens,loss,flops,status", rows))
    message = refused(path)
    assert "'usual' is unknown" in message
    frame = load(path, columns={"flops": None, "status": None}, where='status == "usual"')
    assert len(frame) == 3 and frame["flops"].tolist() == [6 * n * d for n, d, _ in ROWS]


@pytest.mark.parametrize(
    ("scale", "unit", "says"),
    [
        (
            (1e-6, 1, 1, 1),
            {"params": "M"},
            "'params' is below 1000 in 2 of 3 rows .line 2 = 10, line 3 = 100.,",
        ),
        ((1, 1e-9, 1, 1), {"tokens": "B"}, "'tokens' is below 1000"),
        ((1e-4, 1e3, 1, 1), {"params": "1", "tokens": "1", "flops": "1"}, "tokens per parameter"),
        ((1e9, 1, 1, 1), {"params": "1", "tokens": "1", "flops": "1"}, "'params' is above 1e.15"),
        ((1, 1, 1e-18, 1), {"flops": "E"}, "units={'flops': 'E'}"),
        ((1, 1, 1 / 8.64e19, 1), {"flops": "PF-days"}, "units={'flops': 'PF-days'}"),
        ((1, 1, 1, 0.2), {"loss": "nats"}, "bits per byte, an error rate"),
        ((1, 1, 1, 20), {"loss": "nats"}, "perplexity or percent"),
    ],
)
def test_magnitudes_of_other_units_are_refused_until_stated(tmp_path, scale, unit, says):
    rows = [(n, d, 6 * n * d, loss) for n, d, loss in ROWS]
    given = np.array(rows) * scale
    path = write(tmp_path, csv("params,tokens,flops,loss", given.tolist()))
    with pytest.raises(AnalysisError, match=says):
        load(path)
    frame = load(path, units=unit)
    undone = {"params": 0, "tokens": 1, "flops": 2}
    expected = np.array(rows if set(unit.values()) & {"M", "B", "E", "PF-days"} else given)
    for column, i in undone.items():
        np.testing.assert_allclose(frame[column], expected[:, i], rtol=1e-12)


def test_losses_in_other_units(tmp_path):
    path = write(tmp_path, csv("params,tokens,loss", [(n, d, np.exp(loss)) for n, d, loss in ROWS]))
    np.testing.assert_allclose(load(path, units={"loss": "perplexity"})["loss"], [4.5, 3.4, 2.7])
    path = write(tmp_path, csv("params,tokens,val_bpb"))
    assert "columns={'loss': 'val_bpb'}" in (message := refused(path)) and "'bits/byte'" in message
    found = load(path, columns={"loss": "val_bpb"}, units={"loss": "bits/byte"})
    np.testing.assert_allclose(found["loss"], np.log(2) * np.array([4.5, 3.4, 2.7]))
    path = write(tmp_path, csv("params,tokens,loss,bits_per_byte", [(*row, row[2]) for row in ROWS]))
    assert "equal to bits_per_byte" in refused(path)


def test_sizes_with_unit_letters(tmp_path):
    path = write(tmp_path, csv("params,tokens,loss", [("70M", "1.4B", 3.1), ("0.4 b", "8e9", 2.8)]))
    message = refused(path)
    assert "units={'params'" not in message and "units={'tokens': 'suffix'}" in message
    frame = load(path, units={"params": "suffix", "tokens": "suffix"}, where="params > 1e8")
    assert frame[["params", "tokens"]].to_numpy().tolist() == [[4e8, 8e9]]
    wrong = refused(path, units={"params": "lots", "width": "M", "flops": "E"})
    assert "units of params are 1, K, M" in wrong and "units can be stated of" in wrong
    assert "'flops'" in wrong and "no such column" in wrong


def test_sizes_that_the_harness_wrote_are_believed(tmp_path):
    ours = "run_id,trunk_id,eval_id,flops_6n_total,flops_6n_body,flops_spent,params,tokens,loss"
    row = ("000000000012", "1e5", "7", 180, 180, 180, 30, 1e3, 5.0)
    table = load(write(tmp_path, csv(ours, [row])))
    assert table["params"].tolist() == [30] and table["trunk_id"].tolist() == ["1e5"]
    assert row_names(table) == ["000000000012"]
    assert "'params' is below 1000" in refused(write(tmp_path, csv(ours.replace("run_id", "x"), [row])))


def test_flops_that_do_not_follow_size_and_tokens_are_refused(tmp_path):
    path = write(tmp_path, csv("params,tokens,loss,flops", [(*row, 1e19) for row in ROWS]))
    assert "'flops' is 1e+19 in every row" in refused(path)
    mixed = [(1e7, 2e8, 4.5), (100, 2e9, 3.4), (1e9, 2e10, 2.7)]
    assert "line 3 = 100), others above 1e6: mixed units" in refused(
        write(tmp_path, csv("params,tokens,loss", mixed))
    )


def test_repeated_and_diverged_rows_are_counted_and_named(tmp_path):
    rows = [*((*row, "ok") for row in ROWS), (*ROWS[1], "ok"), (1e9, 1e9, "", "diverged"), (1e9, 1e8, 40, "")]
    table = load(write(tmp_path, csv("params,tokens,loss,status", rows)))
    notes = "\n".join(about(table).notes)
    assert "1 of 6 rows repeat an earlier one in params, tokens, flops, loss (line 5)" in notes
    assert "1 of 6 runs diverged or failed (line 6) and are left out" in notes
    assert "loss above 12 (diverged, or not in nats per token?) in line 7" in notes
    assert sorted(about(select(table)[0]).notes) == sorted(about(table).notes)
    fewer, _ = select(table, where="loss < 4")  # line 6, diverged, has no loss: of the rest nothing diverged
    assert not any("diverged or failed" in note for note in about(fewer).notes)


def test_diverged_rows_may_lack_their_loss(tmp_path):
    frame = load(write(tmp_path, "params,tokens,loss,status\n1e6,2e6,3,ok\n1e6,3e6,,diverged\n"))
    kept, excluded = select(frame)
    assert len(kept) == 1
    assert excluded == [{"row": "line 3", "reason": "status is diverged"}]


def test_import_writes_a_table_that_needs_no_more_words(tmp_path):
    source = write(
        tmp_path, csv("N,D,bpb,recipe", [(n / 1e6, d, loss / 9, "a") for n, d, loss in ROWS]), "x.csv"
    )
    options = {"units": {"params": "M", "loss": "bits/byte"}, "columns": {"loss": "bpb"}}
    notes = import_table(source, tmp_path / "runs.csv", **options)
    copy = load(tmp_path)
    assert copy["params"].tolist() == [1e7, 1e8, 1e9] and copy["recipe"].tolist() == ["a"] * 3
    pd.testing.assert_frame_equal(copy, load(source, **options), check_exact=True)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert notes[0] == f"3 rows from {source}, sha256 {digest}"
    assert "params: given in units of 'M'" in notes
    with pytest.raises(AnalysisError, match="never overwritten"):
        import_table(source, tmp_path / "runs.csv", where="N > 2e7", **options)
    with pytest.raises(AnalysisError, match="folder that exists"):
        import_table(source, tmp_path / "no" / "runs.csv", **options)


def test_select_lists_what_a_filter_leaves_out(study):
    kept, excluded = select(study, where="width != 16 and role == 'fit'")
    reasons = Counter(item["reason"] for item in excluded)
    assert reasons == {'where: width != 16 and role == "fit"': 8}
    assert (kept["width"] != 16).all() and len(kept) + len(excluded) == len(study)
    with pytest.raises(AnalysisError, match="did you mean 'width'"):
        select(study, where="widht != 16")


def test_large_tables_are_read_and_checked_in_two_seconds(tmp_path):
    n = np.exp(np.random.default_rng(0).uniform(14, 23, 100_000)).round()
    table = pd.DataFrame({"params": n, "tokens": 20 * n, "loss": 1.7 + 400 / n**0.34, "status": "ok"})
    table.to_csv(tmp_path / "runs.csv", index=False)
    start = time.process_time()
    kept, excluded = select(load(tmp_path), where="params > 1e8")
    assert time.process_time() - start < 2
    assert len(kept) == (n > 1e8).sum() and len(kept) + len(excluded) == len(n)


def test_mutated_tables_give_a_fit_or_a_message(tmp_path):
    found = []
    for raw in mutants(40, seed=1):
        found.append(attempt(write(tmp_path, raw)))
    assert [outcome.fault for outcome in found if outcome.fault] == []
    kinds = {outcome.kind.partition(":")[0] for outcome in found}
    assert {"fit", "refused"} <= kinds


def test_select_counts_every_row_it_leaves_out(study):
    table = study.copy()
    table.loc[0, "loss"] = np.nan
    table.loc[1, "loss"] = -2.0
    table.loc[2, ["status", "status_reason"]] = ["diverged", "loss not finite at step 7"]
    kept, excluded = select(table, convention="body")
    reasons = [item["reason"] for item in excluded]
    assert len(kept) + len(excluded) == len(table)
    assert reasons[0].startswith("L = nan") and reasons[1].startswith("L = -2")
    assert reasons[2] == "status is diverged: loss not finite at step 7"
    assert reasons.count("role is noise") == 3 and reasons.count("role is holdout") == 1
    assert (kept["N"] == kept["params_body"]).all() and about(kept).convention == "body"


def test_the_beginning_of_every_run_is_left_out_and_listed():
    tokens = np.concatenate([np.arange(1, 11) * 1e6, np.arange(1, 6) * 1e7])
    table = pd.DataFrame(
        {"run": ["a"] * 10 + ["b"] * 5, "tokens": tokens, "params": 1e8, "loss": tokens**-0.1}
    )
    kept, left_out = after(table, 0.3, run="run")
    assert list(kept.index) == [*range(2, 10), *range(11, 15)]
    assert left_out[0] == {"row": "row 0", "reason": "in the first 0.3 of its run by tokens"}
    found = fit("power-tokens", kept, cluster="run", bootstrap=0, excluded=left_out)
    assert found.excluded == tuple(left_out) and found.objective.n == 12
    with pytest.raises(AnalysisError) as error:
        after(table, 1.0, run="runid", of="step")
    assert [p.split(" ")[2] for p in map(str, error.value.problems)] == ["'runid'", "'step'", "1.0"]
    with pytest.raises(AnalysisError, match=r"column 'tokens' must be finite and positive: row 0"):
        after(table.assign(tokens=-1.0), 0.1, run="run")


def test_checkpoints_of_a_file(tmp_path):
    rows = [(run, 1e8, t * 1e9, 9 - t) for run in ("a", "b") for t in (0.1, 0.5, 1.0)]
    path = write(tmp_path, csv("run_id,params,tokens,loss", [*rows, ("c", 1e8, "", 3.0)]))
    twice = write(tmp_path, csv("run_id,params,tokens,loss", [("a", *row) for row in ROWS]))
    assert "say that rows are checkpoints: after=0, run='run_id'" in refused(twice)
    path = write(tmp_path, csv("run_id,params,tokens,loss", [*rows, ("c", 1e8, "", 3.0)]))
    frame = load(path, after=0.2, run="run_id", where="tokens != empty")
    assert frame["tokens"].tolist() == [5e8, 1e9] * 2
    early = "in the first 0.2 of its run by tokens"
    assert [(row["row"], row["reason"]) for row in about(frame).left_out] == [
        ("a (line 2)", early), ("b (line 5)", early), ("c", "where: tokens != empty")
    ]  # fmt: skip
    assert about(frame.copy()) is about(frame)  # pandas copies attrs at every step: what may be long is not
    _, excluded = select(frame, where="loss < 8.2")
    assert Counter(item["reason"] for item in excluded) == {
        early: 2, "where: tokens != empty": 1, "where: loss < 8.2": 2
    }  # fmt: skip
    notes = import_table(path, tmp_path / "out.csv", where="tokens != empty", after=0.2, run="run_id")
    assert f"2 rows left out: {early}" in notes
    assert "needs the column" in refused(path, after=0.1)
    assert "did you mean 'run_id'?" in (message := refused(path, after=2.0, run="runid2"))
    assert "after = 2.0 must be at least 0" in message
    assert "all 7 rows are left out" in refused(path, after=0.0, run="run_id", where="loss > 99")


def test_a_filter_sees_the_compute_that_is_not_given(tmp_path):
    rows = [(*row, c) for row, c in zip(ROWS, (1e17, "", ""), strict=True)]
    path = write(tmp_path, csv("params,tokens,loss,flops", rows))
    assert load(path, where="flops > 2e17")["params"].tolist() == [1e8, 1e9]
    bare = write(tmp_path, csv("params,tokens,loss"))
    assert load(bare, where="flops > 2e18")["params"].tolist() == [1e9]


def test_a_table_needs_only_what_its_law_does(tmp_path):
    path = write(tmp_path, csv("tokens,loss,size", [(d, loss, "?") for _, d, loss in ROWS]))
    assert list(load(path, needs=("tokens", "loss")).columns) == ["tokens", "loss", "size", "role"]
    assert "'params' is missing" in refused(path)
    assert "'flops' (or params and tokens, for 6 N D) is missing" in refused(path, needs=("flops", "loss"))
    two = write(tmp_path, csv("N,n_params,tokens,loss", [(n, 2 * n, d, loss) for n, d, loss in ROWS]))
    assert len(load(two, needs=("tokens", "loss"))) == 3 and "could all be 'params'" in refused(two)
    small = write(tmp_path, csv("tokens,loss", [(5, 3.0), (7, 2.9)]))
    assert "'tokens' is below 1000" in refused(small, needs=("tokens", "loss"))


@pytest.mark.parametrize(
    ("size", "tokens", "loss", "unit"),
    [
        ("Model Size (B)", "tokens [billions]", "loss", None),
        ("params(M)", "Train Tokens (in millions)", "val_loss (nats)", "nats per token"),
        ("N (K)", "D (T)", "Loss (bits/byte)", "nats per byte"),
        ("n_params", "tokens", "L [perplexity]", "nats per token"),
    ],
)
def test_units_that_headings_state(tmp_path, size, tokens, loss, unit):
    scale = {"(B)": 1e9, "[billions]": 1e9, "(M)": 1e6, "millions)": 1e6, "(K)": 1e3, "(T)": 1e12}
    n, d = (next((s for u, s in scale.items() if name.endswith(u)), 1.0) for name in (size, tokens))
    undo = {"bits/byte": lambda x: x / np.log(2), "perplexity": np.exp}
    undone = next((f for word, f in undo.items() if word in loss), lambda x: x)
    path = write(tmp_path, csv(f"{size},{tokens},{loss}", [(a / n, b / d, undone(c)) for a, b, c in ROWS]))
    frame = load(path)
    np.testing.assert_allclose(frame[["params", "tokens", "loss"]], ROWS, rtol=1e-12)
    assert about(frame).units.get("loss") == unit
    assert ("params: given in units of" in "\n".join(about(frame).notes)) == (n != 1)


def test_headings_are_not_believed_against_the_numbers(tmp_path):
    path = write(tmp_path, csv("Model Size (B),tokens,loss"))  # plain counts under a heading of billions
    assert "'params' is above 1e+15" in (message := refused(path)) and "units={'params': '1'}" in message
    assert load(path, units={"params": "1"})["params"].tolist() == [1e7, 1e8, 1e9]
    odd = refused(write(tmp_path, csv("Model Size (m),tokens (mixed),loss")))
    assert "columns={'params': 'Model Size (m)'}" in odd and "columns={'tokens': 'tokens (mixed)'}" in odd
    assert "'Model Size (nats)'" in refused(write(tmp_path, csv("Model Size (nats),tokens,loss")))
    two = refused(write(tmp_path, csv("N,params (B),tokens,loss", [(n, n, d, loss) for n, d, loss in ROWS])))
    assert "'N', 'params (B)' could all be 'params'" in two


def test_the_unit_of_a_loss_survives_an_import(tmp_path):
    source = write(tmp_path, csv("params,tokens,loss"), "x.csv")
    import_table(source, tmp_path / "runs.csv", units={"loss": "bits/byte"})
    assert about(load(tmp_path)).units == {"loss": "nats per byte"}


def test_convention_picks_size_and_compute(study):
    kept, _ = select(study, convention="kaplan")
    np.testing.assert_allclose(kept["C"], 6 * kept["params_body"] * kept["tokens"])
    mixture = study.assign(params_active=study["params"] / 2)
    np.testing.assert_allclose(select(mixture, convention="active")[0]["N"] * 2, kept["params"])
    with pytest.raises(AnalysisError, match="needs column 'params_body'"):
        select(study.drop(columns="params_body"), convention="body")
    with pytest.raises(AnalysisError, match="'ours' is unknown"):
        select(study, convention="ours")


def test_clusters_by_trunk_then_seed_and_size_then_size(study):
    fitted = study[study["role"] == "fit"]
    assert clusters(fitted)[1] == "trunk"
    assert clusters(fitted.drop(columns="trunk_id"))[1] == "seed and size"
    index, by = clusters(fitted[["params", "tokens", "loss"]])
    assert by == "size" and index.max() == 6


def test_where_every_run_is_a_trunk_of_its_own_clusters_are_size_and_seed():
    sizes = np.repeat([1e6, 2e6, 4e6], 9)
    cosine = pd.DataFrame({"params": sizes, "trunk_id": [f"t{i}" for i in range(27)]})
    index, by = clusters(cosine)
    assert by == "size" and np.bincount(index).tolist() == [9, 9, 9]
    index, by = clusters(cosine.assign(seed=np.tile([0, 1, 2], 9)))
    assert by == "seed and size" and np.bincount(index).tolist() == [3] * 9
    assert clusters(cosine.assign(trunk_id=["t0", *cosine["trunk_id"][:-1]]))[1] == "trunk"
    assert clusters(cosine[["trunk_id"]])[1] == "trunk"


def test_seeds_of_fitted_runs_say_what_seeds_do():
    logs = [0.01, 0.03, 1.01, 1.03, 1.05, 2.0, 2.5]
    frame = pd.DataFrame(
        {"params": [10.0] * 2 + [20.0] * 3 + [30.0] * 2, "tokens": 100.0, "loss": np.exp(logs),
         "seed": [0, 1, 0, 1, 2, 5, 5], "role": "fit"}
    )  # fmt: skip
    sd = np.sqrt((0.0002 + 0.0008) / 3)
    assert seed_noise(frame) == {"sd_log": pytest.approx(sd), "degrees": 3, "cells": 2}
    assert seed_noise(frame, "params == 20")["sd_log"] == pytest.approx(0.02)
    varied = frame.assign(heat=[1, 1, 1, 2, 3, 1, 1], params=10.0, tokens=100.0)
    varied = pd.concat([varied, varied], ignore_index=True)  # a number of few values may be what was varied
    assert seed_noise(varied)["cells"] == 1


def test_seed_noise_pools_the_cell_of_the_noise_runs():
    frame = pd.DataFrame(
        {"params": [10.0] * 3 + [20.0] * 2 + [30.0], "tokens": 100.0,
         "loss": np.exp([0.01, 0.03, 0.05, 1.0, 2.0, 3.0]),
         "role": ["fit", "noise", "noise", "fit", "fit", "noise"]}
    )  # fmt: skip
    assert seed_noise(frame) == {"sd_log": pytest.approx(0.02), "degrees": 2, "cells": 1}
    assert seed_noise(frame[frame["role"] == "fit"]) is None


@pytest.mark.parametrize("column", ["variant", "learning_rate", "b2", "unique_tokens", "z_loss", "qk_norm"])
def test_seed_noise_is_within_what_was_chosen(column):
    values = (
        ["swiglu", "gelu"] if column == "variant" else [True, False] if column == "qk_norm" else [0.1, 0.2]
    )
    frame = pd.DataFrame(
        {"params": 10.0, "tokens": 100.0, "loss": np.exp([0.01, 0.03, 1.01, 1.03, 2.0, 2.5]),
         "seed": [0, 1, 0, 1, 0, 0], "role": ["fit", "noise"] * 2 + ["fit"] * 2,
         column: [values[0]] * 2 + [values[1]] * 2 + [None] * 2}
    )  # fmt: skip
    frame.loc[4:, "tokens"] = 200.0
    assert seed_noise(frame) == {"sd_log": pytest.approx(0.02 / 2**0.5), "degrees": 2, "cells": 2}


def test_seed_noise_is_split_where_weights_and_order_are_repeated_apart():
    logs = [0.01, 0.03, 0.07, 0.5]  # one weights, two orders; two weights, one order; neither
    frame = pd.DataFrame(
        {"params": 10.0, "tokens": 100.0, "loss": np.exp(logs), "role": ["fit"] + ["noise"] * 3,
         "seed": [0, 0, 1, 2], "seed_order": [0, 1, 1, 2]}
    )  # fmt: skip
    noise = SeedNoise.from_dict(seed_noise(frame) or {})
    assert noise.apart == {
        "order": Repeats(pytest.approx(0.02 / 2**0.5), 1, 1),
        "init": Repeats(pytest.approx(0.04 / 2**0.5), 1, 1),
    }
    assert SeedNoise.from_dict(noise.to_dict()) == noise
    alike = SeedNoise.from_dict(seed_noise(frame.assign(seed_order=frame["seed"])) or {})
    assert alike.sd_log == pytest.approx(np.std(logs, ddof=1)) and alike.degrees == 3
    assert not alike.apart and "apart" not in alike.to_dict()
    assert noise.evaluation is None and "evaluation" not in noise.to_dict()
    evaluated = SeedNoise.from_dict(seed_noise(frame.assign(loss_se_eval=0.004 * frame["loss"])) or {})
    assert evaluated.evaluation == pytest.approx(0.004) and evaluated.apart == noise.apart
    assert SeedNoise.from_dict(evaluated.to_dict()) == evaluated


def test_one_table_in_many_spellings_is_right_or_refused(tmp_path):
    outcomes = Counter()
    for seed in range(80):
        columns, runs = spelled(random.Random(seed))
        rows = zip(*(cells for _, cells in columns), strict=True)
        outcomes[spelling(write(tmp_path, csv(",".join(name for name, _ in columns), rows)), runs)] += 1
    assert not [outcome for outcome in outcomes if outcome.startswith("wrong")]
    assert outcomes["right"] + outcomes["advised"] > 60 > 3 * outcomes["refused"]


def test_rows_without_a_number_can_be_left_out_as_advised(tmp_path):
    losses = [4.5, 3.4, 2.7, "diverged", "inf", "-", 2.5, 2.6, 2.2]
    rows = [(1e7 * (i + 1), 2e8, loss) for i, loss in enumerate(losses)]
    path = write(tmp_path, csv("params,tokens,loss", rows))
    assert """where='loss != "diverged" and loss != "inf"'""" in refused(path)
    table, refusals = load_as_advised(path)
    assert table["loss"].tolist() == [4.5, 3.4, 2.7, 2.5, 2.6, 2.2] and refusals == 2
    assert [row["row"] for row in about(table).left_out] == ["line 5", "line 6", "line 7"]
    numeric = write(
        tmp_path,
        csv("params,tokens,loss", [(n, d, loss if loss != "diverged" else -1) for n, d, loss in rows]),
    )
    assert "where='loss != empty and loss > 0 and loss < 1e300'" in refused(numeric)
    assert load_as_advised(numeric)[0]["loss"].tolist() == table["loss"].tolist()
