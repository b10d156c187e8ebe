"""Three training corpora against each other, as compute multipliers, on the runs of Gadre et al. 2024
(arXiv:2403.08540): no such numbers are published, and these show why one number would mislead.

Data as of gadre.py beside this: github.com/mlfoundations/scaling at a003c4913793ac2ae7ef87b28ecb562955d026d5
(MIT), gadre/runs.csv; here the runs with 20 tokens per parameter or more, of C4, RedPajama and RefinedWeb.

One law for the three, exponents shared, E, A and B of each corpus. The multiplier of a corpus is how many
times the compute it needs for the loss that another reaches at 1e19 FLOPs, each at its own best N and D.

    python experiments/published/corpora.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from verdicts import Verdict, run

import analysis

# evaluation set -> the corpus whose text it is
HOME = {
    "loss_c4_val": "c4_original",
    "loss_paloma_redpajama": "rpj",
    "loss_paloma_falcon-refinedweb": "rw_original",
}
FLOPS, FURTHER = 1e19, 1e21
WHERE = "token_multiplier >= 20"


def fitted(folder: Path, evaluation: str, own: tuple[str, ...]) -> analysis.Fit:
    table = analysis.load(folder / "runs.csv", columns={"loss": evaluation})
    return analysis.fit("chinchilla", table, groups="dataset", own=own, where=WHERE, bootstrap=2000)


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    against = {}
    for evaluation, home in HOME.items():
        fit = fitted(folder, evaluation, ("E", "A", "B"))
        found = analysis.multiplier(fit, home, FLOPS).frame
        for row in found.itertuples():
            bound = row.verdict == "one_sided"
            interval = (
                f"> {row.low:.0f}" if bound else f"{row.multiplier:.2f} [{row.low:.2f}, {row.high:.2f}]"
            )
            name = f"{evaluation}: C of {row.group} for the loss of {home}"
            yield Verdict(name, "none", interval, "the corpus at home needs least: above 1", row.low > 1)
        other = analysis.multiplier(fit, "c4_original", FLOPS).frame.set_index("group")
        against[evaluation] = other.loc["rpj"]
    lows, highs = ([row[end] for row in against.values()] for end in ("low", "high"))
    ours = ", ".join(f"{row['multiplier']:.3g}" for row in against.values())
    apart = max(lows) > 10 * min(highs)
    yield Verdict("C of rpj for the loss of c4_original, by set", "none", ours, "two 10x apart", apart)
    for own in (("E", "A", "B"), ("A", "B")):
        fit = fitted(folder, "loss_c4_val", own)
        found = analysis.multiplier(fit, "c4_original", [FLOPS, FURTHER])
        sd, kind = fit.noise.sd, "E of each corpus" if "E" in own else "one E"
        yield f"{kind}: residual s.d. {sd:.2%}, {fit.status.code}"
        for row in found.frame[found.frame["group"] == "rpj"].itertuples():
            yield f"  rpj at {row.at:.0e}: {row.multiplier:.2f} [{row.low:.2f}, {row.high:.2f}]"


if __name__ == "__main__":
    run("gadre", verdicts)
