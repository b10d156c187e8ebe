"""One table of runs in many spellings: each is read right, or refused; none gives other numbers."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError
from tests.analysis.advice import load_as_advised

N = np.repeat([12e6, 35e6, 110e6, 350e6], 3)
D = N * np.tile([10.0, 20.0, 40.0], 4)
LOSS = (1.754 + 482 / N**0.349 + 208 / D**0.297).round(4)
RUNS = pd.DataFrame({"params": N.astype(int), "tokens": D.astype(int), "loss": LOSS})
NAMED = RUNS.assign(run=[f"run{i}" for i in range(len(RUNS))], date="2025-01-02", note="a, b; c")
CSV = RUNS.to_csv(index=False)


def suffixed(values, letters="MB"):
    return [f"{x / 1e9:g}{letters[1]}" if x >= 1e9 else f"{x / 1e6:g}{letters[0]}" for x in values]


def grouped(sign):
    pairs = zip(RUNS["params"], RUNS["tokens"], strict=True)
    return [[f"{x:,}".replace(",", sign) for x in pair] for pair in pairs]


def rows(header, cells, delimiter=","):
    return "\n".join([header, *(delimiter.join(map(str, row)) for row in cells)]) + "\n"


def spelled(delimiter, sign, decimal):
    cells = [[*pair, f"{x:.4f}".replace(".", decimal)] for pair, x in zip(grouped(sign), LOSS, strict=True)]
    cells = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in cells]
    return rows(delimiter.join(RUNS.columns), cells, delimiter)


def barred(rule, begin="", end=""):
    lines = [
        begin + " | ".join(map(str, row)) + end for row in (RUNS.columns, *RUNS.astype(object).to_numpy())
    ]
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def renamed(*names, scale=(1.0, 1.0, 1.0), **more):
    frame = RUNS.assign(params=N / scale[0], tokens=D / scale[1], loss=LOSS / scale[2])
    return frame.set_axis(list(names), axis=1).assign(**more).to_csv(index=False)


OBJECTS = RUNS.to_dict("records")
NESTED = [
    {"model": {"n_params": row["params"]}, "result": {"tokens": row["tokens"], "eval": {"loss": row["loss"]}}}
    for row in OBJECTS
]
API = pd.DataFrame(
    {
        "config": [{"n_params": row["params"], "lr": 1e-3} for row in OBJECTS],
        "summary": [{"tokens": row["tokens"], "loss": row["loss"], "_step": 9} for row in OBJECTS],
    }
)
STEPS = RUNS.assign(steps=D / 1e5, batch_tokens=100_000)
TOTAL = rows("", [["mean", "", f"{LOSS.mean():.4f}"]]).lstrip()

# name -> content; None where it may only be refused
TEXTS = {
    "comma": CSV,
    "tab": RUNS.to_csv(sep="\t", index=False),
    "semicolon": RUNS.to_csv(sep=";", index=False),
    "bar": RUNS.to_csv(sep="|", index=False),
    "space": RUNS.to_csv(sep=" ", index=False),
    "aligned": RUNS.to_string(index=False),
    "printed by pandas": RUNS.to_string(),
    "R": '"params" "tokens" "loss"\n' + RUNS.set_axis(range(1, 13)).to_csv(sep=" ", header=False),
    "commented header": "# " + RUNS.to_csv(sep=" ", index=False),
    "comments": "# exported, today, by us\n#\n" + CSV,
    "comment within": CSV.replace("\n3500", "\n# smaller ones above\n3500", 1),
    "crlf": CSV.replace("\n", "\r\n"),
    "cr": CSV.replace("\n", "\r"),
    "blank lines": "\n\n" + CSV.replace("\n", "\n\n"),
    "quoted": RUNS.to_csv(index=False, quoting=1),
    "spaces around": CSV.replace(",", " , "),
    "trailing delimiter": CSV.replace("\n", ",\n"),
    "trailing delimiter of rows": CSV.replace("\n", ",\n").replace("loss,", "loss"),
    "index": RUNS.to_csv(),
    "index called #": RUNS.to_csv(index_label="#"),
    "index called run": RUNS.to_csv(index_label="run"),
    "other columns": NAMED[["note", "loss", "date", "tokens", "run", "params"]].to_csv(index=False),
    "no header": CSV.partition("\n")[2],
    "N D L": renamed("N", "D", "L"),
    "title case": renamed("Model Size", "Train Tokens", "Val Loss"),
    "camel case": renamed("numParams", "tokensSeen", "valLoss"),
    "paths": renamed("params", "tokens", "eval/loss"),
    "units in headings": renamed("Model Size (M)", "Tokens (B)", "Loss (nats)", scale=(1e6, 1e9, 1)),
    "units in words": renamed("Parameters (millions)", "tokens [in billions]", "loss", scale=(1e6, 1e9, 1)),
    "bits in a heading": renamed("params", "tokens", "loss (bits)", scale=(1, 1, np.log(2))),
    "perplexity": RUNS.assign(loss=np.exp(LOSS)).rename(columns={"loss": "perplexity"}).to_csv(index=False),
    "percent": RUNS.assign(loss=[f"{100 * x:.2f}%" for x in LOSS]).to_csv(index=False),
    "suffixes": RUNS.assign(params=suffixed(N), tokens=suffixed(D)).to_csv(index=False),
    "small suffixes": RUNS.assign(params=suffixed(N, "mb"), tokens=suffixed(D, "mb")).to_csv(index=False),
    "some suffixes": RUNS.assign(params=[*suffixed(N[:6]), *map(int, N[6:])]).to_csv(index=False),
    "scientific": RUNS.to_csv(index=False, float_format="%.4e").replace("000000,", "e6,"),
    "underscores": spelled(",", "_", "."),
    "thousands": spelled(",", ",", "."),
    "European": spelled(";", ".", ","),
    "French": spelled(";", "\u202f", ","),
    "Swiss": spelled(";", "'", "."),
    "decimal commas": RUNS.to_csv(sep=";", decimal=",", index=False),
    "Markdown": barred("|---|---:|:--|", "| ", " |"),
    "Markdown without ends": barred("--- | --- | ---"),
    "org": barred("|--+--+--|", "| ", " |"),
    "psql": barred("---+---+---", " "),
    "Markdown in text": "# Runs\n\nSee below.\n\n" + barred("|---|---|---|", "|", "|") + "\nThat is all.\n",
    "total": CSV + TOTAL,
    "compute for tokens": RUNS.assign(flops=6 * N * D).drop(columns="tokens").to_csv(index=False),
    "tokens of steps": STEPS.drop(columns="tokens").to_csv(index=False),
    "tokens a parameter": RUNS.assign(tokens_per_param=D / N).drop(columns="tokens").to_csv(index=False),
    "tracker": NAMED.assign(State="finished", Runtime=100).to_csv(index=False),
    "transposed": NAMED[["run", *RUNS.columns]].T.to_csv(header=False),
    "records": json.dumps(OBJECTS),
    "records over lines": json.dumps(OBJECTS, indent=2),
    "lists": json.dumps(RUNS.to_dict("list")),
    "split": RUNS.to_json(orient="split"),
    "pandas' JSON": RUNS.to_json(),
    "pandas' index": RUNS.to_json(orient="index"),
    "pandas' table": RUNS.to_json(orient="table"),
    "object of runs": json.dumps({f"run{i}": row for i, row in enumerate(OBJECTS)}),
    "runs in a member": json.dumps({"created": "today", "runs": OBJECTS}),
    "lines of JSON": "\n".join(map(json.dumps, OBJECTS)),
    "text in JSON": json.dumps([{k: str(v) for k, v in row.items()} for row in OBJECTS]),
    "nested JSON": json.dumps(NESTED),
    "nested lines": "\n".join(map(json.dumps, NESTED)),
    "objects in cells": API.to_csv(),
}  # fmt: skip
BYTES = {
    "BOM": CSV.encode("utf-8-sig"),
    "UTF-16": CSV.encode("utf-16"),
    "UTF-16 without mark": CSV.encode("utf-16-le"),
    "gz": gzip.compress(CSV.encode()),
    "bz2": bz2.compress(CSV.encode()),
    "xz": lzma.compress(CSV.encode()),
    "JSON in gz": gzip.compress(json.dumps(OBJECTS).encode()),
    "latin-1": CSV.replace("loss", "loss,Größe")
    .replace("\n", ",ä\n")
    .replace("Größe,ä", "Größe")
    .encode("latin-1"),
}
SPELLINGS = {**{name: text.encode() for name, text in TEXTS.items()}, **BYTES}
REFUSED = {"no header", "transposed", "latin-1", "some suffixes"}  # of what only a person can say


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling_is_read_right_or_refused(tmp_path, name):
    (tmp_path / "runs").write_bytes(SPELLINGS[name])
    is_right(tmp_path / "runs", name)


def is_right(path, name, **options):
    try:
        frame, _ = load_as_advised(path, **options)
    except AnalysisError:
        assert name in REFUSED
        return
    found = frame[["params", "tokens", "loss"]].sort_values(["params", "tokens"]).to_numpy(float)
    np.testing.assert_allclose(found, RUNS, rtol=1e-3)


def write_parquet(path):
    RUNS.to_parquet(path)


def write_indexed(path):
    RUNS.set_index(["params", "tokens"]).to_parquet(path)


def write_feather(path):
    RUNS.to_feather(path)


def write_strings(path):
    RUNS.astype(str).to_parquet(path)


@pytest.mark.parametrize("write", [write_parquet, write_indexed, write_feather, write_strings])
def test_a_binary_spelling_is_read_right(tmp_path, write):
    write(tmp_path / "runs")
    is_right(tmp_path / "runs", write.__name__)


def test_a_table_in_pieces_is_read_right(tmp_path):
    for i, (_, part) in enumerate(RUNS.groupby("params")):
        columns = ["n_params", "D", "val_loss"] if i % 2 else list(RUNS.columns)
        part.set_axis(columns, axis=1).to_csv(tmp_path / f"{i}.csv", index=False)
    is_right(str(tmp_path / "*.csv"), "pieces")


def test_a_wide_table_is_read_right(tmp_path):
    wide = RUNS.assign(ratio=(D / N).astype(int)).pivot(index="params", columns="ratio", values="loss")
    wide.add_prefix("loss at ").to_csv(tmp_path / "wide.csv")
    options = {"melt": "loss=loss at {ratio}", "columns": {"tokens": "params * ratio"}}
    is_right(tmp_path / "wide.csv", "wide", **options)


def test_at_most_a_quarter_of_all_spellings_is_refused():
    assert len(SPELLINGS) > 40 and len(REFUSED) < len(SPELLINGS) / 4
