"""Over-training (Gadre et al. 2024, arXiv:2403.08540): five small runs predict the loss of large ones.

Data: github.com/mlfoundations/scaling at a003c4913793ac2ae7ef87b28ecb562955d026d5 (MIT),
exp_data/models/*.json joined with exp_data/evals/*_heavy.json as gadre/runs.csv: params, tokens,
token_multiplier (tokens per parameter), and the loss on each evaluation set.

Their law is ours called ``tied``, one exponent for N and D, fitted by least squares on the loss itself.

    python experiments/published/gadre.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from verdicts import Verdict, run

import analysis

SMALL = """
    token_multiplier == 20 and model in ("d=96_l=8_h=4", "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8")
    or token_multiplier == 320 and model == "d=96_l=8_h=4"
"""
# (corpus, model, tokens per parameter) -> relative error of the prediction in percent, as in their notebook
PUBLISHED = {("rpj", "open_lm_1b", 640): "0.7103", ("rpj", "open_lm_7b", 20): "0.7320"}
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
        loss, low, high = (predicted[column].iloc[0] for column in ("loss", "new_low", "new_high"))
        yield f"predicted {loss:.3f}, 90 % {low:.2f} .. {high:.2f}; {fit.status['message']}"
        yield ", ".join(f"{name} {value:.6g}" for name, value in fit.solution.items())


if __name__ == "__main__":
    run("gadre", verdicts)
