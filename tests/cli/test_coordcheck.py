"""``coordcheck``: what it prints, draws and exits with, on made-up measurements."""

import json

import pytest

from scaling.plan import coordcheck
from tests.cli.call import call
from tests.plan.studies import PLAIN

MUP = "variants: {plain: {}, mup: {recipe.parametrization: {kind: mup, base_width: 16}}}\n"


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(PLAIN + MUP)
    return path


@pytest.fixture
def exponents(monkeypatch):
    """Exponents of width by variant, of everything that is measured."""
    chosen = {"plain": 1.0, "mup": 0.0}

    def measure(cells, environment):
        for cell in cells:
            size = cell.run.shape.width ** chosen[cell.variant] * (1 + 1e-3 * cell.run.seed)
            places = [(p, i) for p in ("attention", "mlp", "residual") for i in range(cell.run.shape.depth)]
            yield list(
                cell.rows(
                    [
                        {"step": step, "place": p, "layer": i, "size": size, "change": step * size}
                        for step in range(cell.run.steps + 1)
                        for p, i in [("embedding", 0), ("logits", 0), *places]
                    ]
                )
            )

    monkeypatch.setattr(coordcheck, "measure", measure)
    return chosen


@pytest.mark.slow
def test_a_flat_parametrization_passes_whatever_the_standard_one_does(spec, exponents, tmp_path):
    done = call("coordcheck", spec, "--out", tmp_path / "drawn", "--steps", 3)
    assert done.returncode == 0, done.stderr
    assert "plain: not flat over width 16, 32, at depth 2" in done.stdout and "mup: flat" in done.stdout
    assert (tmp_path / "drawn" / "coordcheck.png").stat().st_size > 10_000
    assert "training 12 models for 3 steps each" in done.stderr
    assert done.stdout.endswith(f"next: scaling run {spec}\n")


def test_a_parametrization_that_is_not_flat_fails_the_check(spec, exponents):
    exponents["mup"] = -0.5
    done = call("coordcheck", spec, "--json", "--widths", "16,32,64", "--depths", "2,4")
    assert done.returncode == 1
    width, depth = json.loads(done.stdout)["checks"]
    assert width["statuses"]["mup"]["code"] == "not_flat" and depth["statuses"]["mup"]["code"] == "flat"
    assert {e["verdict"] for e in width["exponents"] if e["variant"] == "mup"} >= {"shrinks"}
    assert sorted({*width["data"]["width"]}) == [16, 32, 64]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--widths", "16,x,16"), "--widths: 'x' is no size"),
        (("--widths", "16,x,16"), "names a size twice"),
        (("--widths", "20,40"), "width 20 is not divisible by head_dim = 8"),
        (("--set", "recipe.batch_tokens=100"), "must be a multiple of data.context"),
    ],
)
def test_mistakes_end_with_a_message_and_exit_code_2(spec, exponents, arguments, says):
    done = call("coordcheck", spec, *arguments)
    assert done.returncode == 2 and says in done.stderr and not done.stdout, done.stderr


def test_a_precision_that_the_device_lacks(spec, exponents):
    done = call("coordcheck", spec, "--set", "recipe.precision=tf32")
    assert done.returncode == 2
    assert "recipe.precision, of plain of width 16: tf32 takes a GPU" in done.stderr
