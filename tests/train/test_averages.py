"""Averages of weights: what they are, that training does not change, and that no launch changes them."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from scaling.data.store import open_windows
from scaling.recipe.schedules import Constant
from scaling.run import run_id
from scaling.store.records import RunEMA, RunMerge
from scaling.train.averages import Averages, Carried
from scaling.train.feed import Feed
from scaling.train.loop import advance
from scaling.train.program import Blueprint, make_program
from tests.train.jobs import curve, evaluator_of, results_of, timeless, train
from tests.train.runs import make_run

DECAYS = (0.9, 0.99)
EVERY = 40


def windows_of(run, span, snapshots):
    return tuple(round((run.steps - k * span / snapshots) / 8) * 8 for k in reversed(range(snapshots)))


def averages_of(run):
    long, short = windows_of(run, 0.6 * run.steps, 4), windows_of(run, 0.2 * run.steps, 2)
    emas = [RunEMA(name=f"ema{decay:g}", decay=decay) for decay in DECAYS]
    merges = [RunMerge(name="merge60x4", steps=long), RunMerge(name="merge20x2", steps=short)]
    return {"averages": (*emas, *merges), "evaluate_at": tuple(range(EVERY, run.steps, EVERY))}


def only_averages(run):
    return {"averages": averages_of(run)["averages"]}


@pytest.fixture(scope="module")
def averaging():
    return make_program(Blueprint.of(make_run(batch_sequences=2), 8, DECAYS))


@pytest.fixture(scope="module")
def lines(runs):
    """Constant rates to three horizons, and one run that decays: all on one trunk."""

    def constant(steps):
        schedule = Constant(kind="constant", warmup=10)
        return runs[0].model_copy(update={"steps": steps, "schedule": schedule})

    return [constant(80), constant(160), constant(240), runs[1]]


@pytest.fixture(scope="module")
def together(tmp_path_factory, lines, index, averaging):
    results = tmp_path_factory.mktemp("together")
    train(results, lines, index, averaging, asked=averages_of)
    return results


@pytest.fixture(scope="module")
def weights(lines, index, program):
    """The weights after each step of each run, trained without averages, by a program without them."""

    def trained(run):
        state, after = program.start(run.seed), []
        feed = Feed(program, open_windows(index))
        for first in range(run.steps):
            for _, latest, _ in advance(program, state, run, feed.chunks(run.seed, first, first + 1)):
                state = latest
            after.append({name: np.asarray(array, np.float64) for name, array in state.params.items()})
        return after

    return {run_id(run): trained(run) for run in (lines[1], lines[3])}


def mean_of(states, factors):
    total = sum(factors)
    return {
        name: sum(factor * state[name] for factor, state in zip(factors, states, strict=True)) / total
        for name in states[0]
    }


def test_training_is_the_same_bit_for_bit(lines, index, program, averaging, together, tmp_path):
    train(tmp_path, lines, index, program)
    plain, averaged = results_of(tmp_path, lines), results_of(together, lines)
    for run in lines:
        losses = averaged[run_id(run)].pop("average_losses")
        assert [*losses] == ["ema0.9", "ema0.99", "merge60x4", "merge20x2"]
        rows = [row for row in timeless(together, run) if "train/loss" in row]
        assert rows == [row for row in timeless(tmp_path, run) if "train/loss" in row]
    assert averaged == plain


def test_averages_are_those_of_the_weights_of_each_step(lines, index, program, together, weights):
    """The merge of a run on a trunk that goes on is over its own window."""
    evaluate = evaluator_of(program, index)
    for run in (lines[1], lines[3]):
        states, losses = weights[run_id(run)], results_of(together, [run])[run_id(run)]["average_losses"]
        for decay in DECAYS:
            factors = [decay ** (run.steps - 1 - i) for i in range(run.steps)]
            expected = evaluate(mean_of(states, factors)).loss
            assert losses[f"ema{decay:g}"] == pytest.approx(expected, abs=2e-6)
            here = next(row for row in curve(together, run) if row["step"] == EVERY and "eval/loss" in row)
            expected = evaluate(mean_of(states[:EVERY], factors[-EVERY:])).loss
            assert here[f"eval/loss@ema{decay:g}"] == pytest.approx(expected, abs=2e-6)
        for name, span, snapshots in (("merge60x4", 0.6, 4), ("merge20x2", 0.2, 2)):
            steps = windows_of(run, span * run.steps, snapshots)
            assert steps[-1] == run.steps and len(steps) == snapshots
            expected = evaluate(mean_of([states[step - 1] for step in steps], [1] * snapshots)).loss
            assert losses[name] == pytest.approx(expected, abs=2e-6)
    last = curve(together, lines[1])[-1]
    assert (
        last["eval/loss@merge20x2"]
        == results_of(together, lines)[run_id(lines[1])]["average_losses"]["merge20x2"]
    )
    assert "eval/loss@merge20x2" not in here


@pytest.mark.parametrize("place", [0, 2, 3])
def test_shared_equals_alone(lines, index, averaging, together, tmp_path, place):
    train(tmp_path, [lines[place]], index, averaging, asked=averages_of)
    assert results_of(tmp_path, [lines[place]]) == {
        run_id(lines[place]): results_of(together, lines)[run_id(lines[place])]
    }
    assert timeless(tmp_path, lines[place], training=False) == timeless(
        together, lines[place], training=False
    )


@pytest.mark.parametrize(
    "stop_after", [pytest.param(7, marks=pytest.mark.slow), 14, pytest.param(29, marks=pytest.mark.slow)]
)
def test_stopped_and_resumed_it_has_the_same_averages(
    lines, index, averaging, together, tmp_path, stop_after
):
    train(tmp_path, lines, index, averaging, asked=averages_of, stop_after=stop_after)
    assert list((tmp_path / "jobs").glob("*/checkpoints/*/*"))
    job = train(tmp_path, lines, index, averaging, asked=averages_of)
    assert job.resumed >= 1
    assert results_of(tmp_path, lines) == results_of(together, lines)
    assert [timeless(tmp_path, run) for run in lines] == [timeless(together, run) for run in lines]


def test_in_several_launches_it_has_the_same_averages(lines, index, averaging, together, tmp_path):
    """The trunk was trained to 80 without the sums of the others, whose windows had begun: it is trained
    again."""
    for some in (lines[:1], lines[:2], lines):
        train(tmp_path, some, index, averaging, asked=averages_of)
    assert results_of(tmp_path, lines) == results_of(together, lines)


def test_a_checkpoint_of_other_averages_is_passed_over(
    lines, index, program, averaging, together, tmp_path, capsys
):
    train(tmp_path, lines[2:3], index, program, stop_after=22)
    job = train(tmp_path, lines[2:3], index, averaging, asked=only_averages)
    assert "trunk/184 passed over: it has other averages of the weights" in capsys.readouterr().out
    assert job.resumed == 0
    assert results_of(tmp_path, lines[2:3])[run_id(lines[2])] == results_of(together, lines)[run_id(lines[2])]
    assert not any("eval/loss@ema0.9" in row for row in curve(tmp_path, lines[2])[:-1])


def test_a_checkpoint_of_more_averages_serves(lines, index, program, averaging, tmp_path):
    train(tmp_path, lines[2:3], index, averaging, asked=averages_of, stop_after=22)
    assert train(tmp_path, lines[2:3], index, program).resumed == 1
    train(tmp_path / "plain", lines[2:3], index, program)
    assert results_of(tmp_path, lines[2:3]) == results_of(tmp_path / "plain", lines[2:3])


def test_a_diverged_run_has_no_averages(index, averaging, tmp_path):
    run = make_run(learning_rate=1e30, fingerprint=index.fingerprint, batch_sequences=2, steps=200)
    train(tmp_path, [run], index, averaging, asked=averages_of, checkpoint_seconds=0.0, keep_final=True)
    result = results_of(tmp_path, [run])[run_id(run)]
    assert result["status"] == "diverged" and result["average_losses"] is None
    manifest = next(tmp_path.glob(f"jobs/*/checkpoints/{run_id(run)}/*/manifest.json"))
    assert json.loads(manifest.read_text())["decays"] == [*DECAYS]


def test_a_branch_does_not_change_the_sums_of_its_trunk(averaging):
    state = averaging.start(0)
    averages = Averages(DECAYS, {"a/merge": (8, 16), "b/merge": (16, 24)})
    first = averages.snapshot(8, Carried(state, {}))
    second = averages.snapshot(16, first)
    assert [*first.sums] == ["a/merge"] and [*second.sums] == ["a/merge", "b/merge"]
    assert averages.by(16).merges == {"a/merge": (8, 16), "b/merge": (16,)}
    assert averages.by(4).merges == {} and averages.snapshot(9, first).sums == first.sums
    one, two = (jax.device_get(x.sums["a/merge"]["head/kernel"]) for x in (first, second))
    np.testing.assert_array_equal(2 * one, two)
    assert Averages(DECAYS[:1]).within(averages) and not averages.within(Averages(DECAYS))
