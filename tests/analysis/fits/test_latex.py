"""The table of a fit in LaTeX."""

import re

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import Law, fit
from analysis.fits.latex import escaped
from analysis.laws import notation


@pytest.fixture(scope="module")
def few(study):
    return fit("chinchilla", study[study["width"].isin([16, 24, 32, 48, 64])], bootstrap=100)


def test_every_parameter_has_its_interval_and_verdict(few):
    text = few.to_latex()
    rows = dict(re.findall(r"^    \$(\S+?)\$.*? & (.*) \\\\$", text, re.M))
    assert {verdict.verdict for verdict in few.identified.values()} >= {"one_sided", "no"}
    for name, verdict in few.identified.items():
        row = rows[notation.symbol(name)]
        if verdict.verdict == "one_sided":
            ((_, bound),) = verdict.bound.items()
            assert f" {notation.number(bound)}$ & bounded" in row
        elif verdict.verdict == "no":
            assert row.startswith("(?)") and row.endswith("not identified")
        else:
            low, high = map(notation.number, few.intervals.params[name])
            assert f"[${low}$, ${high}$] & identified" in row
    assert (
        r"\caption{$L = E + A/N^{\alpha} + B/D^{\beta}$. chinchilla, " in text and r"90\% intervals: " in text
    )
    assert "% needs" in text.splitlines()[0] and not re.search(r"(?<!\\)%", text.split("\n", 1)[1])
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")


def test_groups_fixed_parameters_and_odd_names_are_printable():
    d = np.geomspace(1e8, 1e11, 8)
    rows = [pd.DataFrame({"tokens": d, "kind_%": kind, "loss": 2 + scale / d**0.3 * (1 + 0.01 * np.cos(d))})
            for kind, scale in (("a_b", 400), ("c&d", 500))]  # fmt: skip
    found = fit(Law("mine_1", {"E": {}, "A": {"D": "alpha"}}), pd.concat(rows), groups="kind_%",
                fixed={"alpha": 0.3}, bootstrap=0)  # fmt: skip
    text = found.to_latex()
    assert r"$A$ (a\_b)" in text and r"$A$ (c\&d)" in text and r"mine\_1, 16 runs" in text
    assert re.search(r"\$\\alpha\$ & \$0.3\$ &  & fixed", text)


def test_estimates_and_what_says_nothing_have_tables_too(study):
    text = analysis.estimate("hull", study, bootstrap=0).to_latex()
    assert r"$N^* = k_{N}(C/C_{0})^{a}$" in text and "optima of" in text
    nothing = fit("chinchilla", study[study["width"] == 24])
    assert "distinct" in nothing.to_latex() and escaped("50 %_^") == r"50 \%\_\textasciicircum{}"
