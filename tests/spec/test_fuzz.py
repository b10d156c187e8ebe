"""A short form of ``benchmarks/fuzz_specs.py``."""

from __future__ import annotations

from pathlib import Path

from tests.spec.fuzzing import fuzz


def test_mutants_are_planned_or_explained(tmp_path: Path) -> None:
    tally, tried = fuzz(40, 3, tmp_path, largest=5000)
    assert [why for _, why in tally.failures] == []
    assert tally.tried == len(tried) >= 40
    found = {outcome for _, outcome in tally.outcomes}
    assert found == {"plan", "refused"}, "mutants that are all good, or all bad, show little"
    assert {kind for kind, _ in tally.outcomes} == {"structure", "text", "override"}
    assert len(tally.messages) > 15
