"""Formulas, names and numbers as TeX, in the part of it that matplotlib sets too."""

from __future__ import annotations

import re

GREEK = ("alpha", "beta", "gamma", "delta", "eta", "omega", "zeta", "lambda", "kappa", "theta", "sigma")
FUNCTIONS = ("exp", "min", "max", "ln", "log")
TOKEN = re.compile(r"\s*(?:([^\W\d]\w*)('?)|(\d+(?:\.\d+)?)(?:e([+-]?\d+))?|(\*\*|.))")
OPTIMUM = re.compile(r"\*(?=\s*(=|~|$))")  # a star that no factor follows
SIGNS = {
    "*": r"\,",
    "**": "^",
    "+": " + ",
    "-": " - ",
    "=": " = ",
    "/": "/",
    ",": r",\ ",
    "(": "(",
    ")": ")",
    "^": "^",
    "°": "^*",
}
DERIVED = {"a": r"N^* \propto C^a", "b": r"D^* \propto C^b"}


def symbol(name: str) -> str:
    """A parameter or input: Greek where it is, letters of an index lowered, words upright."""
    if name in GREEK:
        return "\\" + name
    if len(name) == 1:
        return name
    indexed = re.fullmatch(r"([^\W\d_])_?(\d+)", name) or re.fullmatch(r"([^\W\d_])_([^\W_]+)", name)
    indexed = indexed or re.fullmatch(r"([A-Z])([a-zA-Z])|([a-z])([A-Z])", name)
    if indexed is None:
        return r"\mathrm{" + name.replace("_", r"\_") + "}"
    base, index = (part for part in indexed.groups() if part is not None)
    upright = len(index) > 1 and not index.isdigit()
    return f"{base}_" + (rf"{{\mathrm{{{index}}}}}" if upright else f"{{{index}}}")


def tex(formula: str) -> list[str] | None:
    """The equations of a formula; None for what is not made of names, numbers and + - * / ^ ( )."""
    parts = [_equation(part) for part in _split(formula)]
    known = [part for part in parts if part is not None]
    return known if len(known) == len(parts) else None


def _split(formula: str) -> list[str]:
    """Parts between the commas outside brackets."""
    parts, depth = [""], 0
    for sign in formula:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _equation(text: str) -> str | None:
    tokens = [match.groups() for match in TOKEN.finditer(OPTIMUM.sub("°", text.strip()))]
    out, closes, depth, raised = "", list[int](), 0, False  # brackets that an exponent opened, open ones
    for name, prime, digits, exponent, sign in tokens:
        if sign is not None and sign not in SIGNS:
            return None
        if sign == "-" and (raised or not out or out[-1] in "({"):
            out += "-"
            continue
        if raised and sign == "(":
            depth, raised = depth + 1, False
            closes.append(depth)
            continue
        if sign == ")":
            if closes and closes[-1] == depth:
                closes.pop()
                out += "}"
            else:
                out += ")"
            depth -= 1
            continue
        if sign is not None:
            depth += sign == "("
            out += SIGNS[sign]
            raised = SIGNS[sign] == "^"
            out += "{" if raised else ""
            continue
        if out.endswith(FUNCTIONS):
            out += " "
        elif out and (out[-1].isalnum() or out[-1] in "})'"):
            out += r"\,"
        out += _named(name, prime) if name else _numeral(digits, exponent)
        if raised:
            out, raised = out + "}", False
    return None if depth or raised else re.sub(r"\s+", " ", out).strip()


def _named(name: str, prime: str) -> str:
    return f"\\{name}" if name in FUNCTIONS else symbol(name) + prime


def _numeral(digits: str, exponent: str | None) -> str:
    if exponent is None:
        return digits
    return ("" if digits == "1" else rf"{digits}\times ") + f"10^{{{int(exponent)}}}"


def number(value: float, digits: int = 4) -> str:
    """Significant digits, powers of ten where they read better."""
    short = f"{value:.{digits}g}"
    if value == 0 or (abs(value) >= 1e-3 and "e" not in short):
        return short
    lead, exponent = f"{value:.{digits - 1}e}".split("e")
    return _numeral(lead.rstrip("0").rstrip("."), exponent)
