"""What a user says of a law and its noise beforehand, as a prior."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.laws.lookup import require
from analysis.optimal_size.saved import read_saved, result
from analysis.planning.batch_groups import CriticalPrior
from analysis.planning.prior import PUBLISHED, NoiseLevel, Prior
from scaling.design.wish import Asked
from scaling.errors import Complaint, UserError

PRIOR = "--prior"  # where a spec does not give it
BATCH = "Bcrit"  # the critical batch, among the values of a prior
SIZES = np.array([1e6])  # N of a run, where any will do


def priors(asked: Asked, table: pd.DataFrame) -> list[Prior]:
    """One for each law that is asked for, with the values nearest to the prior asked for; where no law is
    asked for, that prior alone.

    Raises:
        AnalysisError: a law or a value is not known.
        UserError: a file is no fit.
    """
    noise = None if asked.noise is None else NoiseLevel(asked.noise)
    inputs = {x: table[c].to_numpy(float) for x, c in (("N", "params"), ("D", "tokens"), ("C", "flops"))}
    inputs |= {str(name): table[name].to_numpy() for name in table.columns}
    base = _prior(asked.prior, inputs, noise, asked.folder)
    laws: list[Law] = [require(name) for name in asked.laws] or [base.law]
    return [base.as_law(law, inputs) for law in laws]


def require_prior(text: str) -> None:
    """Raises UserError where what is asked for on the command line is no prior."""
    try:
        _ = _prior(without_batch(text)[1], {"N": SIZES}, None, None)
    except AnalysisError as error:
        wrong = (Complaint(f"{PRIOR} {text}: {one.message}", hint=str(one.hint)) for one in error.problems)
        raise UserError(*wrong) from None


def without_batch(text: str | None) -> tuple[CriticalPrior | None, str | None]:
    """What a prior says of the critical batch, and the rest of it. Raises UserError where that is no number
    above 0."""
    parts = (text or "").split(",")
    given = [part for part in parts if part.partition("=")[0].strip() == BATCH]
    if not given:
        return None, text
    low, high = _ranges(given[-1])[BATCH]
    if not 0 < low <= high < np.inf:
        message = f"{given[-1]}: must rise, and be above 0"
        raise UserError(Complaint(message, PRIOR, "tokens, such as Bcrit=5e5 or Bcrit=1e5:1e6"))
    return CriticalPrior.given(low, high), ",".join(part for part in parts if part not in given) or None


def _prior(
    text: str | None, inputs: Mapping[str, Any], noise: NoiseLevel | None, folder: Path | None
) -> Prior:
    sizes = inputs["N"]
    if text is None:
        return Prior.nearest(sizes, noise)
    if text in PUBLISHED:
        return Prior.published(text, noise)
    if "=" in text:
        return Prior.nearest(sizes, noise).with_values(_ranges(text), inputs)
    return Prior.of_fit(_fit_of(text, folder), text, noise)


def _fit_of(text: str, folder: Path | None) -> Fit:
    """Read the fit in a file. Raises UserError where there is none, or it is of no use."""
    beside = Path(text) if folder is None else folder / text
    saved = read_saved(beside if beside.is_file() else Path(text))
    fit = None if saved is None else result(saved)
    if not isinstance(fit, Fit) or not fit.usable:
        hint = (
            f"choose one of {', '.join(PUBLISHED)}, give values such as alpha=0.3:0.4, or the JSON of a fit"
        )
        where = PRIOR if folder is None else "design.prior"
        what = "is no fit that could be used" if beside.is_file() or Path(text).is_file() else "no such file"
        raise UserError(Complaint(f"{text!r} is no prior that is known: {what}", where, hint))
    return fit


def _ranges(text: str) -> dict[str, tuple[float, float]]:
    """Read ``alpha=0.3:0.4,beta=0.3``. Raises UserError with all that is of another form."""
    found, problems = dict[str, tuple[float, float]](), list[Complaint]()
    for part in text.split(","):
        name, _, values = part.partition("=")
        low, colon, high = values.partition(":")
        try:
            found[name.strip()] = float(low), float(high if colon else low)
        except ValueError:
            hint = f"such as {name.strip() or 'alpha'}=0.3 or {name.strip() or 'alpha'}=0.3:0.4"
            problems.append(Complaint(f"{part}: must be a number or a range", PRIOR, hint))
    if problems:
        raise UserError(*problems)
    return found
