"""Pages of simulated tables, whose fits are quick."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from analysis import findings, fit
from analysis.reporting import page

HOSTILE = '<script>window.hostile = 1</script><img src="x" onerror="window.hostile = 2"><b>&</b>'


@pytest.fixture(autouse=True, scope="package")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings.forecasts, "sensitivity", lambda *given: [])
        patch.setattr(findings, "fit", functools.partial(fit, bootstrap=20))
        yield


Paged = Callable[..., tuple[findings.Findings, Path]]


@pytest.fixture(scope="package")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Paged:
    """Writes a table and its page: what was found, and where the page is."""

    def write(
        table: pd.DataFrame, law: str = findings.LAW, **options: object
    ) -> tuple[findings.Findings, Path]:
        folder = tmp_path_factory.mktemp("study")
        table.to_csv(folder / "runs.csv", index=False)
        found = findings.examine(table, folder / "forecasts", law=law)
        given = {"referee": False, **options}
        return found, page.write(found, [folder / "runs.csv"], folder / "report.html", **given)

    return write
