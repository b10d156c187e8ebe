"""Formulas of laws as HTML: Greek exponents raised, variables in italics."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eta": "η", "lambda": "λ", "kappa": "κ",
}  # fmt: skip
WORD = re.compile(r"\^(\w+)|([^\W\d]\w*)")


def typeset(formula: str) -> Markup:
    """A formula with its powers raised; what is no name or power stands as it is."""
    done, at = Markup(), 0
    for match in WORD.finditer(formula):
        done += escape(formula[at : match.start()])
        raised, name = match[1], match[2]
        if raised is not None:
            done += Markup("<sup>{}</sup>").format(_name(raised))
        else:
            done += _name(name)
        at = match.end()
    return done + escape(formula[at:])


def _name(name: str) -> Markup:
    if name in GREEK:
        return Markup("<i>{}</i>").format(GREEK[name])
    letter, _, index = name.partition("_")
    if len(letter) == 1 and index:
        return Markup("<i>{}</i><sub>{}</sub>").format(letter, index)
    return Markup("<i>{}</i>").format(name) if len(name) == 1 and name.isalpha() else Markup(escape(name))
