"""Over-training (Gadre et al. 2024, arXiv:2403.08540): five small runs predict the loss of large ones.

Data: github.com/mlfoundations/scaling at a003c4913793ac2ae7ef87b28ecb562955d026d5 (MIT),
exp_data/models/*.json joined with exp_data/evals/*_heavy.json as gadre/runs.csv: params, tokens,
token_multiplier (tokens per parameter), and the loss on each evaluation set.

Their law is ours called ``tied``, one exponent for N and D, fitted by least squares on the loss itself. From
loss to the error averaged over 17 tasks (scaling/constants.py) goes their exponential, ours called so, fitted
to the same five runs and one of 1.4B more.

    python experiments/published/gadre.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from verdicts import Verdict, run

import analysis

FOUR = ["d=96_l=8_h=4", "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8"]
SMALL = """
    token_multiplier == 20 and model in ("d=96_l=8_h=4", "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8")
    or token_multiplier == 320 and model == "d=96_l=8_h=4"
"""
# (corpus, model, tokens per parameter) -> relative error of the prediction in percent, as in their notebook
PUBLISHED = {("rpj", "open_lm_1b", 640): "0.7103", ("rpj", "open_lm_7b", 20): "0.7320"}
ERROR = {("open_lm_1b", 640): "3.6365", ("open_lm_7b", 20): "0.0464"}  # of the average error, same notebook
ONE = 'model == "open_lm_1b" and token_multiplier == 20'
TASKS = (
    *("bigbench_operators", "pubmed_qa_labeled", "hellaswag_zeroshot", "boolq", "arc_easy", "coqa", "squad"),
    *("bigbench_dyck_languages", "lambada_openai", "bigbench_novel_concepts", "winograd", "commonsense_qa"),
    *("bigbench_cs_algorithms", "bigbench_qa_wikidata", "hellaswag", "copa", "piqa"),
)
ALSO = [("c4_original", "open_lm_7b", 20), ("rw_original", "open_lm_7b", 20)]  # nothing published


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = analysis.load(folder / "runs.csv", columns={"loss": "loss_c4_val"})
    for corpus, model, multiplier in (*PUBLISHED, *ALSO):
        where = f'dataset == "{corpus}" and ({SMALL})'
        fit = analysis.fit("tied", table, where=where, objective="raw-ls", bootstrap=0)
        large = table.query("dataset == @corpus and model == @model and token_multiplier == @multiplier")
        predicted = fit.predict(large)
        error = 100 * abs(predicted["loss"].iloc[0] / large["loss"].iloc[0] - 1)
        name = f"% error, {corpus}, {model}, M = {multiplier}"
        published = PUBLISHED.get((corpus, model, multiplier))
        if published:
            yield Verdict(name, published, f"{error:.4f}", "equal to 4 digits", f"{error:.4f}" == published)
        else:
            yield f"{name}: {error:.4f}"
        loss, low, high = (predicted[column].iloc[0] for column in ("forecast", "new_low", "new_high"))
        yield f"forecast {loss:.3f}, 90 % {low:.2f} .. {high:.2f}; {fit.status.message}"
        yield ", ".join(f"{name} {value:.6g}" for name, value in fit.solution.items())
    yield from downstream(table)


def downstream(table: pd.DataFrame) -> Iterator[Verdict | str]:
    """Both steps, trained on RedPajama."""
    runs = table[table["dataset"] == "rpj"]
    runs = runs.assign(accuracy=runs[[f"acc_{task}" for task in TASKS]].mean(axis=1))
    small = runs["token_multiplier"].eq(20) & runs["model"].isin(FOUR)
    small |= runs["token_multiplier"].eq(320) & runs["model"].eq(FOUR[0])
    two = analysis.twostep(
        runs[small], "tied", link="exponential", link_table=pd.concat([runs[small], runs.query(ONE)]),
        objective="raw-ls", bootstrap=0,
    )  # fmt: skip
    for (model, multiplier), published in ERROR.items():
        large = runs.query("model == @model and token_multiplier == @multiplier")
        got, measured = two.predict(large).frame.iloc[0], large["accuracy"].iloc[0]
        ours = f"{100 * abs((1 - got['accuracy']) / (1 - measured) - 1):.4f}"
        name = f"% error of the 17-task error, {model}, M = {multiplier}"
        yield Verdict(name, published, ours, "equal to 4 digits", ours == published)
        yield (
            f"accuracy {got['accuracy']:.3f}, 90 % {got['new_low']:.2f} .. {got['new_high']:.2f}, measured "
            f"{measured:.3f}"
        )
    yield from two.notes


if __name__ == "__main__":
    run("gadre", verdicts)
