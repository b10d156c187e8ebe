"""Which models a coordinate check trains."""

import sys

import pytest

from scaling.errors import UserError
from scaling.plan import coordcheck
from scaling.plan.coordcheck import CoordcheckFailed, cells_of, families_to_check, measure
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed

MUP = {"recipe.parametrization": {"kind": "mup", "base_width": 16}}


def test_every_variant_at_every_size_with_every_seed_at_the_peak_rate():
    study = study_from_dict(changed() | {"variants": {"plain": {}, "mup": MUP}, "seeds": [7, 8]})
    cells = cells_of(study, families_to_check(study.family, (16, 48), (1, 3)), seeds=2, steps=5)
    of_width = [cell for cell in cells if cell.over == "width"]
    assert {(c.variant, c.run.shape.width, c.run.seed) for c in of_width} == {
        (variant, width, seed) for variant in ("plain", "mup") for width in (16, 48) for seed in (0, 1)
    }
    assert {c.run.shape.depth for c in of_width} == {2} and len(cells) == 16
    assert {(c.run.shape.width, c.run.shape.depth) for c in cells if c.over == "depth"} == {(16, 1), (16, 3)}
    for cell in of_width:
        rate = 0.2 / cell.run.shape.width  # the rule of the study
        assert cell.run.learning_rates(0, 5) == pytest.approx([rate] * 5) and cell.run.steps == 5
        assert cell.is_parametrized == (cell.variant == "mup")
    shapes = [cell.run.shape for cell in cells]
    assert len(dict.fromkeys(shapes)) == sum(a != b for a, b in zip(shapes, [None, *shapes], strict=False))


def test_without_sizes_those_of_the_dial_and_rules_of_the_horizon_take_one():
    rule = {"kind": "power", "of": "tokens", "coefficient": 1, "exponent": -0.5}
    study = study_from_dict(changed(recipe__optimizer__learning_rate=rule))
    cells = cells_of(study, families_to_check(study.family, None, None), seeds=1, steps=2)
    assert [cell.run.shape.width for cell in cells] == [16, 32] and cells[0].variant == "standard"
    rates = [cell.run.optimizer.learning_rate for cell in cells]
    assert rates == pytest.approx([256_000**-0.5] * 2)  # of the longest run


def test_sizes_that_do_not_fit_are_refused_all_at_once():
    family = study_from_dict(changed()).family
    with pytest.raises(UserError) as caught:
        families_to_check(family, (16, 20, 30), (2,))
    assert [problem.where for problem in caught.value.problems] == ["--widths", "--widths", "--depths"]
    assert "width 20 is not divisible by head_dim = 8" in str(caught.value)
    shapes = {"kind": "shapes", "shapes": [{"name": "a", "depth": 2, "width": 32, "heads": 2}]}
    listed = study_from_dict(changed(family=shapes)).family
    with pytest.raises(UserError, match="give --widths or --depths"):
        families_to_check(listed, None, None)
    dial = families_to_check(listed, (32, 64), None)["width"]
    assert dial.member(64).heads == 4 and dial.member(64).depth == 2


@pytest.mark.parametrize(
    ("program", "says"),
    [("print('no rows')", "nonsense"), ("raise SystemExit(3)", "code 3"), ("pass", "1 of 2 models")],
)
def test_a_measuring_process_that_fails_is_said(program, says, monkeypatch, tmp_path):
    script = tmp_path / "python"
    read = "import sys; sys.stdin.read(); " + ("print('{\"rows\": []}'); " if program == "pass" else "")
    script.write_text(f"#!{sys.executable}\n{read}{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(coordcheck.sys, "executable", str(script))
    study = study_from_dict(changed())
    cells = cells_of(study, families_to_check(study.family, None, None), seeds=1, steps=2)
    with pytest.raises(CoordcheckFailed, match=says):
        list(measure(cells, None))
