import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import AnalysisError, figures, fit, load
from analysis.tables.magnitudes import likely
from analysis.tables.table import about
from analysis.tables.units import loss_unit
from tests.analysis.advice import arguments

SIZES = np.repeat([1e7, 4e7, 1.6e8, 6.4e8], 4)
TOKENS = SIZES * np.tile([10.0, 20.0, 40.0, 80.0], 4)
LOSS = 1.7 + 400 / SIZES**0.34 + 900 / TOKENS**0.3
BYTES = 4.2  # a token
OURS = ["run_id", "trunk_id", "eval_id", "flops_6n_total", "flops_6n_body", "flops_spent"]


def table(tmp_path, name, losses):
    path = tmp_path / "runs.csv"
    pd.DataFrame({"params": SIZES, "tokens": TOKENS, name: losses}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("heading", "losses", "stated", "unit"),
    [
        ("loss", LOSS, None, "unit not stated"),
        ("loss", LOSS, "nats", "nats per token"),
        ("loss", LOSS / BYTES, "nats/byte", "nats per byte"),
        ("val_loss (nats)", LOSS, None, "nats per token"),
        ("val_loss [bits/byte]", LOSS / BYTES / np.log(2), None, "nats per byte"),
        ("val_perplexity", np.exp(LOSS), None, "nats per token"),
        ("loss (%)", 100 * LOSS, None, "unit not stated"),
    ],
)
def test_the_unit_of_a_loss_is_printed_where_it_is_known(tmp_path, heading, losses, stated, unit):
    frame = load(table(tmp_path, heading, losses), units={"loss": stated} if stated else None)
    np.testing.assert_allclose(frame["loss"], LOSS / (BYTES if "byte" in unit else 1), rtol=1e-9)
    assert loss_unit(frame) == unit


@pytest.mark.parametrize(("stated", "unit"), [(None, "unit not stated"), ("nats/byte", "nats per byte")])
def test_every_result_has_the_unit(tmp_path, stated, unit):
    frame = load(table(tmp_path, "loss", LOSS), units={"loss": stated} if stated else None)
    found, estimate = fit("power", frame, bootstrap=0), analysis.estimate("parabola", frame, bootstrap=0)
    for result in (found, estimate):
        assert (f"L in {unit}" if stated else f"L ({unit})") in result.summary()
        assert type(result).from_json(result.to_json()).unit == unit
    assert analysis.isoflop.minima(frame).unit == unit
    drawn = (figures.law(found)[0], figures.loss_against_compute(frame), figures.loss_envelope(estimate)[0])
    assert [axes.get_ylabel() for axes in drawn] == [f"Loss ({unit})"] * 3


def test_losses_that_the_harness_wrote_are_in_nats_per_token():
    ours = pd.DataFrame({"params": SIZES, "tokens": TOKENS, "loss": LOSS}).assign(**dict.fromkeys(OURS, 1.0))
    assert (
        loss_unit(ours) == "nats per token" and loss_unit(ours.drop(columns="eval_id")) == "unit not stated"
    )


def test_losses_of_another_unit_are_asked_about_and_the_first_advice_is_right(tmp_path):
    path = table(tmp_path, "loss", np.exp(LOSS))
    with pytest.raises(AnalysisError, match="perplexity or percent") as error:
        load(path)
    np.testing.assert_allclose(load(path, **arguments(error.value))["loss"], LOSS)
    path = table(tmp_path, "val_bpb", LOSS / BYTES / np.log(2))
    with pytest.raises(AnalysisError, match="bits per byte are not nats per token") as error:
        load(path)
    for taken in (arguments(error.value), {"columns": {"loss": "val_bpb"}}):
        frame = load(path, **taken)
        np.testing.assert_allclose(frame["loss"], LOSS / BYTES)
        assert loss_unit(frame) == "nats per byte"


def test_units_are_offered_by_size_alone_and_beside_other_columns():
    frame = pd.DataFrame({"params": SIZES / 1e6, "tokens": TOKENS})
    assert likely(frame, "params") == ["M"] and likely(frame[["params"]], "params") == ["M", "B", "K"]
    assert likely(frame.assign(tokens=1.0), "params") == ["M", "B", "K"]  # in doubt itself
    costs = pd.DataFrame({"params": SIZES / 1e6, "flops": 6 * SIZES * TOKENS})
    assert likely(costs, "params") == ["M"] and likely(pd.DataFrame({"tokens": [1e-30]}), "tokens") == []
    assert likely(pd.DataFrame({"flops": [3e20]}), "flops") == ["1", "M", "K"]


def test_flops_that_do_not_fit_may_be_due_to_size_or_tokens(tmp_path):
    path = tmp_path / "runs.csv"
    runs = pd.DataFrame(
        {"params": SIZES / 1e3, "tokens": TOKENS, "GFLOPs": 6e-9 * SIZES * TOKENS, "loss": LOSS}
    )
    runs.to_csv(path, index=False)
    with pytest.raises(AnalysisError, match="'flops' is not near") as error:
        load(path)
    np.testing.assert_allclose(load(path, **arguments(error.value))["params"], SIZES)
    runs.assign(GFLOPs=runs["GFLOPs"] * 1e9, params=SIZES).to_csv(path, index=False)
    with pytest.raises(AnalysisError, match="'flops' is not near") as error:
        load(path)
    np.testing.assert_allclose(load(path, **arguments(error.value))["flops"], 6 * SIZES * TOKENS)


def test_unusual_tokens_per_parameter_are_noted(tmp_path):
    pd.DataFrame({"params": SIZES, "tokens": TOKENS / 1e3, "loss": LOSS}).to_csv(
        tmp_path / "x.csv", index=False
    )
    assert any(note.startswith("0.03 tokens per parameter") for note in about(load(tmp_path / "x.csv")).notes)


def test_perplexities_in_the_wild(field):
    frame = load(field / "perplexity" / "results.csv")
    given = pd.read_csv(field / "perplexity" / "results.csv")
    assert frame["tokens"].tolist() == given["train_tokens"].tolist()
    truth = {"E": 1.9, "A": 350, "B": 1500, "alpha": 0.33, "beta": 0.36}
    assert fit("chinchilla", frame, bootstrap=0).solution == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize("name", ["results.csv", "results2.csv"])
def test_bits_per_byte_in_the_wild(field, name):
    path = field / "nanochat" / name
    given = pd.read_csv(path)
    with pytest.raises(AnalysisError, match="'loss' is missing") as error:
        load(path)
    for taken in (arguments(error.value), {"columns": {"loss": "val_bpb"}}):
        frame = load(path, **taken)
        np.testing.assert_allclose(frame["loss"], np.log(2) * given["val_bpb"])
        assert frame["flops"].tolist() == given["flops_budget"].tolist()
        assert loss_unit(frame) == "nats per byte"
