"""Any law against its runs: what was measured over one input, a curve for each level of a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.errors import AnalysisError, Argument, Complaint
from analysis.figures import style
from analysis.figures.lines import BAND, identified, law_line
from analysis.figures.page import BLANK, Given, Page, page, points
from analysis.figures.residuals import far_off, leftovers, letter, outliers, residual_panel, usable
from analysis.fits.result import Fit
from analysis.solve.problem import Loss

LINES = 6  # curves drawn where there are more levels than a legend names
PANELS = 6
SAME = 0.02  # values that differ by less are one level, as sizes read off a plot
POINTS = 60


@dataclass(frozen=True)
class Line:
    """One curve: ``values`` of every input but ``x`` where it is drawn, and the ``rows`` that it is near."""

    level: float | None
    values: dict[str, float]
    rows: np.ndarray


def law(fit: Fit, x: str | None = None, by: str | None = None, *, axes: Given | None = None) -> np.ndarray:
    """What was fitted against input ``x``: runs, the law, its confidence band, and residuals below; a curve
    for every level of ``by`` (of some, where there are many). The law ends with its runs; where it is not
    identified it is dotted. Groups have a panel each; where one input is all there is, a colour. Other inputs
    that vary along a curve are held at their median, and the runs are moved there along the law.

    Args:
        fit: what to draw.
        x: an input; left out: D, or else the input with most levels. For a law in N and D also C.
        by: another; left out: the one with fewest levels.
        axes: two to draw on, for each panel its law and its residuals; left out: a new figure.

    Raises:
        AnalysisError: there is no fit, no such input, or other axes are given.
    """
    usable(fit)
    x, by = _chosen(fit, x, by)
    at = {c: np.array(fit.data[c]) for c in (*fit.law.inputs, *({x, by or x} - set(fit.law.inputs)))}
    labels, group = fit.setup.labels, np.array(fit.data.get("group", np.zeros(len(at[x]))), int)
    apart = by is not None and len(labels) > 1
    most = np.argsort(-np.bincount(group), kind="stable")[:PANELS] if apart else [None]
    layout = _layout(len(most))
    down = len(layout) // 2
    with page(axes, layout, 1.2 + 3.2 * down, heights=(2.2, 1) * down) as sheet:
        shades = style.Shades(_levels(at[by])[0] if by else [1.0])
        held, (left, sd, unit) = _held(fit, x, by, at, group), leftovers(fit)
        drawn: list[np.ndarray] = []
        for k, which in enumerate(most):
            top, below = sheet[f"law {k}"], sheet[f"residuals {k}"]
            rows = np.arange(len(group)) if which is None else np.flatnonzero(group == which)
            drawn += _panel(top, below, fit, x, by, at, rows, group, shades, held)
            if which is not None:
                top.set_title(f"{style.words(str(fit.setup.groups))} = {style.words(labels[which])}")
            first, last = k % sheet.across == 0, k >= len(most) - sheet.across
            top.tick_params(labelbottom=False, labelleft=first)
            below.tick_params(labelleft=first)
            top.set_ylabel(style.target(fit) if first else "")
            below.set_ylabel(f"Residual{' (%)' if unit else ''}" if first else "")
            below.set_xlabel(style.quantity(x, fit.convention) if last else "")
        values = np.concatenate(drawn)
        log = bool(values.min() > 0) and (fit.unit is not None or fit.objective.kind != "raw-ls")
        for k in range(len(most)):  # panels compare
            style.span(sheet[f"law {k}"], "y", values, log=log)
            style.span(sheet[f"residuals {k}"], "y", [*left, -sd, sd], log=False, pad=0.1)
            sheet[f"residuals {k}"].yaxis.set_major_locator(MaxNLocator(5))
        _title(sheet, fit, held, len(labels) - len(most) if apart else 0, apart)
        if by is not None and len(shades.levels) > 1:
            sheet.explain(shades, style.quantity(by, fit.convention), style.label_of(by, shades.levels))
        elif len(labels) > 1:
            sheet["law 0"].legend(title=style.words(str(fit.setup.groups)), alignment="left")
        sheet.foot(sheet.filled(far_off(fit, left, outliers(fit, left), unit)))
        return sheet.axes


def _layout(panels: int) -> list[list[str]]:
    """Rows of at most three laws, each above its residuals."""
    across = min(panels, 3)
    rows = [list(range(k, k + across)) for k in range(0, panels, across)]
    return [
        [f"{part} {k}" if k < panels else BLANK for k in row] for row in rows for part in ("law", "residuals")
    ]


def _title(sheet: Page, fit: Fit, held: dict[str, float], left_out: int, apart: bool) -> None:
    claim = "" if identified(fit) else " (dotted: not identified)"
    lines = [f"curves: the law{claim}, {fit.level:.0%} confidence band"]
    if held:
        where = ", ".join(f"{style.name_of(c)} = {style.label_of(c, v)(v)}" for c, v in held.items())
        lines.append(f"runs moved along the law to {where}")
    if left_out:
        lines.append(f"{left_out} groups with fewer runs are not shown")
    text = f"{style.typeset(fit.law.formula)}\n{sheet.filled('; '.join(lines), points('axes.titlesize'))}"
    if apart:
        sheet.title(text)
    else:
        sheet.head(sheet["law 0"], text)


def _chosen(fit: Fit, x: str | None, by: str | None) -> tuple[str, str | None]:
    inputs = list(fit.law.inputs)
    known = [*inputs, "C"] if set(inputs) == {"N", "D"} and fit.optimum else inputs
    problems = [
        Complaint(
            (Argument(name, asked), f": must be one of {', '.join(known)}, inputs of law {fit.law.name!r}")
        )
        for name, asked in (("x", x), ("by", by))
        if asked is not None and asked not in known
    ]
    if x is not None and x == by:
        problems.append(
            Complaint((Argument("by", by), ": is x already; choose another input, or leave it out"))
        )
    if problems:
        raise AnalysisError(problems)
    count = {c: len(_levels(np.array(fit.data[c]))[0]) for c in known}
    if x is None:
        left = [c for c in reversed(inputs) if c != by]
        x = "D" if "D" in left else max(left, key=lambda c: count[c], default=inputs[-1])
    others = [c for c in inputs if c != x and (count[c] > 1 or x not in inputs)]
    return x, by or min(others, key=lambda c: count[c], default=None)


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, those of nearly the same size as one, and for each value which it is."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    near = np.abs(np.diff(ranked)) <= SAME * np.abs(ranked[1:])
    index = np.empty(len(values), int)
    index[order] = np.concatenate([[0], np.cumsum(~near)])
    return np.array([np.median(values[index == i]) for i in range(index.max() + 1)]), index


def _held(fit: Fit, x: str, by: str | None, at: dict[str, np.ndarray], group: np.ndarray) -> dict[str, float]:
    """The inputs that vary along a curve, and the median where they are held."""
    lines = [line for g in np.unique(group) for line in _lines(fit, x, by, at, np.flatnonzero(group == g))]
    return {
        c: _median(at[c])
        for c in _others(fit, x, by)
        if any(
            (np.abs(at[c][line.rows] - line.values[c]) > SAME * abs(line.values[c])).any() for line in lines
        )
    }


def _others(fit: Fit, x: str, by: str | None) -> list[str]:
    derived = "C" in (x, by) and "C" not in fit.law.inputs  # N and D of each other, then
    return [] if derived else [c for c in fit.law.inputs if c not in (x, by)]


def _median(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.5, method="nearest"))


def _lines(fit: Fit, x: str, by: str | None, at: dict[str, np.ndarray], rows: np.ndarray) -> list[Line]:
    """The curves of one panel and group."""
    if by is None:
        parts: list[tuple[float | None, np.ndarray]] = [(None, rows)]
    else:
        levels, index = _levels(at[by][rows])
        picks = np.arange(len(levels))
        if len(levels) > style.MOST:
            picks = np.unique(np.linspace(0, len(levels) - 1, LINES).round().astype(int))
        nearest = np.abs(np.subtract.outer(index, picks)).argmin(axis=1)
        parts = [(float(levels[p]), rows[nearest == i]) for i, p in enumerate(picks)]
    others = _others(fit, x, by)
    return [Line(level, {c: _median(at[c][r]) for c in others}, r) for level, r in parts]


def _inputs(fit: Fit, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of the law; of N, D and C two give the third."""
    if "C" in given and "C" not in fit.law.inputs:
        if "D" not in given:
            given = {**given, "D": fit.cost.tokens(given["N"], given["C"])}
        elif "N" not in given:
            given = {**given, "N": fit.cost.size(given["D"], given["C"])}
    return {c: np.asarray(given[c], float) for c in fit.law.inputs}


def _panel(
    top: Axes, below: Axes, fit: Fit, x: str, by: str | None, at: dict[str, np.ndarray], rows: np.ndarray,
    group: np.ndarray, shades: style.Shades, held: dict[str, float],
) -> list[np.ndarray]:  # fmt: skip
    """Draw, and return the values drawn."""
    left, sd, _ = leftovers(fit)
    groups = list(fit.setup.labels)
    drawn = []
    names = style.colours(groups) if by is None and len(groups) > 1 else {}
    log_x, spots = style.logs(at[x], x), style.dots(len(group))
    small: list[Any] = []
    for g in np.unique(group[rows]):
        for line in _lines(fit, x, by, at, rows[group[rows] == g]):
            near = at[x][line.rows]
            ends = near.min(), near.max()
            grid = np.geomspace(*ends, POINTS) if log_x else np.linspace(*ends, POINTS)
            which = {str(fit.setup.groups): [groups[g]] * POINTS} if groups else {}
            others = {c: np.full(POINTS, v) for c, v in (line.values | held).items()}
            if by is not None and line.level is not None:
                others[by] = np.full(POINTS, line.level)
            curve = fit.predict({**_inputs(fit, {x: grid, **others}), **which})
            colour = names[groups[g]] if names else shades(1.0 if line.level is None else line.level)
            above = 2 if len(group) <= style.FEW else 4  # runs, where they are many
            how: Any = {"color": style.INK if by is None and not names else colour, "zorder": above}
            name = style.words(groups[g]) if names else None
            beyond = np.zeros(len(grid), bool)  # each curve ends with its runs
            law_line(top, grid, curve["loss"], beyond, identified(fit), name, **how)
            top.fill_between(grid, curve["low"], curve["high"], alpha=BAND, lw=0, color=how["color"])
            shown = _moved(fit, held, line.rows, at, int(g))
            dots = [colour if by is None else shades(v) for v in at[by or x][line.rows]]
            top.scatter(near, shown, c=dots, **spots)
            places = dict(zip(line.rows.tolist(), zip(near, shown, strict=True), strict=True))
            letter(top, places, outliers(fit, left))
            small.append((near, left[line.rows], dots))
            drawn += [shown, curve["loss"].to_numpy()]
    near, rest = (np.concatenate([s[i] for s in small]) for i in (0, 1))
    residual_panel(below, x, near, rest, sd, [c for s in small for c in s[2]])
    for axes in (top, below):
        style.span(axes, "x", at[x], log=log_x, name=x)
    return drawn


def _moved(
    fit: Fit, held: dict[str, float], rows: np.ndarray, at: dict[str, np.ndarray], g: int
) -> np.ndarray:
    """What was measured in ``rows``, changed as the law changes from the inputs there to those held."""
    if not held:
        return np.array(fit.data["L"])[rows]
    inputs = {c: np.full(len(rows), held[c]) if c in held else at[c][rows] for c in fit.law.inputs}
    params = np.array([[fit.solution[name] for name in fit.problem.names]])
    space = Loss(space=fit.setup.space)
    return space.back(space.to(fit.problem.values(params, inputs, g)[0]) + fit.residuals[rows])
