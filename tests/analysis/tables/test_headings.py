import numpy as np
import pytest

from analysis import AnalysisError, fit, load
from analysis.tables.headings import cell, folded, unit
from analysis.tables.table import about
from tests.analysis.advice import arguments

FLOPS = 10.0 ** np.linspace(18, 21, 10)
LOSS = 1.785 + 937 / FLOPS**0.148


def table(tmp_path, heading, values):
    lines = [f'"{heading}",loss', *(f"{c:.10g},{loss:.8f}" for c, loss in zip(values, LOSS, strict=True))]
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    return tmp_path / "runs.csv"


@pytest.mark.parametrize(
    ("heading", "scale"),
    [
        ("ExaFLOPs", 1e18), ("GFLOPs", 1e9), ("FLOPs (1E21)", 1e21), ("FLOPs (1e18)", 1e18),
        ("FLOPs (B)", 1e9),
        ("total_gflops", 1e9), ("Compute (PF-days)", 8.64e19), ("compute_pf_days", 8.64e19),
        ("PetaFLOP/s-days", 8.64e19), ("Compute [10^18 FLOPs]", 1e18), ("Compute (x10⁹)", 1e9),
        ("Training compute (EF-days)", 8.64e22), ("train_zettaflop", 1e21), ("flops_1e18", 1e18),
        ("FLOPs x 1e18", 1e18), ("Compute (ZFLOPs)", 1e21), ("C [in units of 1e21 FLOPs]", 1e21),
        ("Training FLOP", 1), ("compute (FLOPs)", 1), ("flops_budget", 1), ("metrics.total_gflops", 1e9),
        ("Compute (in millions)", 1e6), ("flops_in_trillions", 1e12),
    ],
)  # fmt: skip
def test_compute_in_the_unit_of_its_heading(tmp_path, heading, scale):
    frame = load(table(tmp_path, heading, FLOPS / scale), needs=("flops", "loss"))
    np.testing.assert_allclose(frame["flops"], FLOPS, rtol=1e-9)
    assert ("given in units of" in "".join(about(frame).notes)) == (scale != 1)


@pytest.mark.parametrize(
    "heading", ["Compute (TFLOP/s)", "tflops_per_second", "compute (a.u.)", "log10 FLOPs", "C (%)"]
)
def test_a_unit_that_is_not_known_is_never_ignored(tmp_path, heading):
    with pytest.raises(AnalysisError, match=r"'flops' .*is missing"):
        load(table(tmp_path, heading, FLOPS), needs=("flops", "loss"))


@pytest.mark.parametrize("scale", [1e18, 1e21, 8.64e19])
def test_one_flop_is_no_run(tmp_path, scale):
    path = table(tmp_path, "compute", FLOPS / scale)
    with pytest.raises(AnalysisError, match="cannot be FLOPs of a training run") as error:
        load(path, needs=("flops", "loss"))
    assert "(E, PF-days, Z, P" in str(error.value)  # more than one unit is usual: none is advised
    assert arguments(error.value) == {}  # it is asked for
    frame = load(path, needs=("flops", "loss"), units={"flops": f"{scale:g}"})
    np.testing.assert_allclose(frame["flops"], FLOPS, rtol=1e-6)


@pytest.mark.parametrize(
    ("heading", "ours", "expected"),
    [
        ("params_m", "params", ("params", "M")), ("n_params_b", "params", ("n_params", "B")),
        ("ParamsM", "params", ("Params", "M")), ("Parameters [10^6]", "params", ("Parameters", "1e6")),
        ("Model Size (m)", "params", ("Model Size (m)", None)),
        ("num_params", "params", ("num_params", None)),
        ("params_count", "params", ("params_count", None)), ("Tokens, B", "tokens", ("Tokens", "B")),
        ("tokens_in_billions", "tokens", ("tokens", "B")), ("D (bn)", "tokens", ("D", "B")),
        ("d_model", "width", ("d_model", None)), ("val_ppl", "loss", ("val_loss", "perplexity")),
        ("loss (%)", "loss", ("loss", "percent")), ("val_bpb", "loss", ("val_bpb", "bits/byte")),
        ("loss [nats per token]", "loss", ("loss", "nats")),
        ("Compute (TFLOP/s)", "flops", ("Compute (TFLOP/s)", None)),
    ],
)  # fmt: skip
def test_headings(heading, ours, expected):
    assert unit(heading, ours) == expected


def test_names_are_folded():
    assert [folded(x) for x in ("Model Size", "modelSize", "model-size")] == ["model_size"] * 3


@pytest.mark.parametrize(
    ("text", "ours", "expected"),
    [
        ("70M", "params", (70.0, "M")), ("1.4 b", "params", (1.4, "B")), ("2 billion", "tokens", (2.0, "B")),
        ("70M params", "params", (70.0, "M")), ("1.5 EFLOPs", "flops", (1.5, "E")),
        ("8e9", "tokens", (8e9, "1")),
        ("3.1%", "loss", (3.1, "percent")), ("3.1%", "params", None), ("x", "params", None),
        ("7 q", "params", None),
        ("1E", "flops", (1.0, "E")),
    ],
)  # fmt: skip
def test_cells(text, ours, expected):
    assert cell(text, ours) == expected


def test_a_column_of_cells_with_units_is_read_and_a_mixture_asked_about(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss\n70M,1.4B,310%\n400M,8B,280%\n")
    frame = load(path)
    assert frame[["params", "tokens"]].to_numpy().tolist() == [[7e7, 1.4e9], [4e8, 8e9]]
    np.testing.assert_allclose(frame["loss"], [3.1, 2.8])
    notes = about(frame).notes
    assert (
        "params: K, M, B, T read as 1e3, 1e6, 1e9, 1e12" in notes and "loss: per cent read as 1/100" in notes
    )
    path.write_text("params,tokens,loss\n70M,1.4B,3.1\n400000000,8B,280%\n")
    with pytest.raises(AnalysisError, match="'params' has '400000000' beside '70M': a mixture") as error:
        load(path)
    assert "'loss' has '3.1' beside '280%': a mixture" in str(error.value)
    np.testing.assert_allclose(load(path, **arguments(error.value))["loss"], [3.1, 2.8])
    path.write_text("params (B),tokens,loss\n70M,1.4B,3.1\n400M,8B,2.8\n")
    with pytest.raises(AnalysisError, match="heading of 'params' says 'B', its cells '70M'") as error:
        load(path)
    assert load(path, **arguments(error.value))["params"].tolist() == [7e7, 4e8]


def test_the_unit_offered_is_the_one_that_fits_the_other_columns(tmp_path):
    sizes, tokens = np.array([1e8, 4e8, 1e9]), np.array([2e9, 8e9, 2e10])
    path = tmp_path / "runs.csv"
    for n, d, undo in ((1e-6, 1, ("params", "M")), (1, 1e-9, ("tokens", "B")), (1e-9, 1, ("params", "B"))):
        rows = [f"{a * n:g},{b * d:g},{6 * a * b:g},3" for a, b in zip(sizes, tokens, strict=True)]
        path.write_text("\n".join(["params,tokens,flops,loss", *rows]))
        with pytest.raises(AnalysisError) as error:
            load(path)
        taken = arguments(error.value)
        assert taken["units"][undo[0]] == undo[1] and len(str(error.value).split("units=")) == 2
        np.testing.assert_allclose(load(path, **taken)[["params", "tokens"]], np.stack([sizes, tokens], 1))


def test_compute_in_the_wild(field):
    for path in sorted((field / "compute_units").glob("*.csv")):
        found = fit("power-offset", load(path, needs=("flops", "loss")), bootstrap=0).solution
        assert found == pytest.approx({"E": 1.785, "A": 937, "alpha": 0.148}, rel=2e-3), path


@pytest.mark.parametrize("name", ["6nd.csv", "pct.csv", "spaces.csv", "underscore.csv"])
def test_spellings_in_the_wild(field, name):
    found = fit("chinchilla", load(field / "formats" / name), bootstrap=0).solution
    assert (found["E"], found["alpha"], found["beta"]) == pytest.approx((1.754, 0.349, 0.297), abs=2e-3)
