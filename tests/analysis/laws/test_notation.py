"""Formulas, names and numbers in TeX."""

import pytest

from analysis.laws import notation


@pytest.mark.parametrize(
    ("formula", "equations"),
    [
        ("L = E + A / N^alpha", [r"L = E + A/N^{\alpha}"]),
        ("L = a + b C^-c0 (1 + (C/d1)^(1/f1))^(-c1 f1)", [
            r"L = a + b\,C^{-c_{0}}(1 + (C/d_{1})^{1/f_{1}})^{-c_{1}\,f_{1}}"]),
        ("h = K N^gamma, n = N / 1e9", [r"h = K\,N^{\gamma}", r"n = N/10^{9}"]),
        ("y = exp(-k*my_rate) + 3e-5 * N'", [r"y = \exp(-k\,\mathrm{my\_rate}) + 3\times 10^{-5}\,N'"]),
        ("L = a$ + b", None),
        ("L = (a + b", None),
        ("L = a^", None),
    ],
)  # fmt: skip
def test_formulas(formula, equations):
    assert notation.tex(formula) == equations


def test_names_and_numbers():
    names = ["alpha", "N", "d1", "N_opt", "RN", "lr", "unique_tokens"]
    spelt = [
        r"\alpha",
        "N",
        "d_{1}",
        r"N_{\mathrm{opt}}",
        "R_{N}",
        r"\mathrm{lr}",
        r"\mathrm{unique\_tokens}",
    ]
    assert [notation.symbol(name) for name in names] == spelt
    numbers = {
        1.0717e6: r"1.072\times 10^{6}",
        -2e-5: r"-2\times 10^{-5}",
        1e6: "10^{6}",
        12090.0: r"1.209\times 10^{4}",
        0: "0",
        0.34781: "0.3478",
    }
    assert {value: notation.number(value) for value in numbers} == numbers
