"""What a plan counts: runs whose rows a fit would take."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.planning.prior import Prior
from analysis.tables.loading import load
from analysis.tables.noise import seed_noise
from scaling.design.choosing import choose
from scaling.design.foreseen import Foreseen, foreseen
from scaling.design.identification import Identification, identification
from scaling.design.seeds import noise_of_plan
from scaling.design.wish import Asked
from scaling.plan.design_warnings import design_warnings
from scaling.plan.expand import plan_study
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.warnings import plan_warnings
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.load import load_study, study_from_dict
from scaling.spec.models import Study
from tests.plan.studies import changed

SPECS = Path(__file__).resolve().parents[2] / "experiments" / "designs"


def test_runs_of_long_warmup_count_for_nothing_which_the_plan_alone_says() -> None:
    raw = changed(family__widths=[16, 24, 32, 48])
    counted = list[int]()
    for steps in ([400, 800], [200, 400, 800], [200, 240]):
        study = study_from_dict(raw | {"design": {"kind": "grid", "steps": steps}})
        plan = plan_study(study)
        found = identification(study, plan)
        assert found is not None
        counted.append(found.statements[0][1].runs)
        assert found.text.startswith("What this design") and "warmup" not in found.text
        said = [one.hint for one in plan_warnings(plan) if one.kind == "long_warmup"]
        assert said == ["a shorter warmup; fits leave them out, unless all runs have one"] * (steps[0] == 200)
    assert counted == [8, 8, 8], "where all have it, a fit takes all"


def test_a_prior_of_another_loss_is_doubted() -> None:
    raw = changed(
        family__widths=[16, 24, 32, 48],
        design={"kind": "grid", "steps": [400, 800]},
        data__tokenizer={"kind": "bytes"},
        seeds=[0, 1],
    )
    study = study_from_dict(raw)
    plan, texts = plan_study(study), list[str]()
    for prior in ("chinchilla", "bytes"):
        found = identification(study, plan, Asked(prior=prior))
        assert found is not None
        texts.append(found.text)
    assert "warning: the prior has a loss of" in texts[0] and "among the 256 tokens has 5.55" in texts[0]
    assert "warning" not in texts[1]
    alone = study_from_dict(raw | {"seeds": [0]})
    few = identification(alone, plan_study(alone))
    assert few is not None and few.doubts[0].startswith("4 clusters by trunk: with fewer than 8")


def test_a_design_of_repetition_is_judged_by_the_law_of_it_unless_another_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scaling.design.identification.MOST", 0)  # what would help takes long
    design = {"kind": "repetition", "unique_tokens": [64_000, 128_000], "epochs": [1, 2, 8]}
    study = study_from_dict(changed(family__widths=[16, 24, 32], design=design, seeds=[0, 1]))
    plan = plan_study(study)
    own, plain = (identification(study, plan, Asked(laws=laws)) for laws in ((), ("chinchilla",)))
    assert own is not None and plain is not None
    assert [stated.prior.law.name for _, stated in own.statements] == ["data-constrained"]
    assert not own.doubts and "24 of 30 runs read their text more than once" in " ".join(plain.doubts)
    assert "repetition" not in {warning.kind for warning in plan_warnings(plan)}


def grown(name: str) -> tuple[Study, Plan, Foreseen]:
    """A design of experiments/ that grows, its plan before any result, and what it is foreseen to become."""
    study = choose(load_study(SPECS / f"{name}.yaml"))
    plan = plan_study(study)
    whole = foreseen(study, plan, Asked())
    assert whole is not None
    return study, plan, whole


def test_windows_that_wait_are_foreseen_about_the_best_sizes_of_the_assumed_law() -> None:
    study, plan, whole = grown("isoflop-auto")
    prior, curves = Prior.published("bytes"), dict[float | None, list[PlannedRun]]()
    for run in whole.plan.with_roles(("fit",)):
        curves.setdefault(run.budget, []).append(run)
    for budget in study.design.waiting:
        runs = sorted(curves[budget], key=lambda run: run.params)
        losses = prior.losses({"N": np.array([run.params for run in runs], float),
                               "D": np.array([run.run.tokens for run in runs], float)})  # fmt: skip
        assert len(runs) == 5 and 0 < np.argmin(losses) < 4
    found = identification(study, plan)
    assert found is not None and found.statements[0][1].runs > len(plan.with_roles(("fit",)))
    assert "foreseen here: the windows at 2e+11, 4e+11, 8e+11 FLOPs" in found.text


def test_the_rest_of_a_budget_is_foreseen_as_the_assumed_law_would_spend_it() -> None:
    study, plan, whole = grown("adaptive")
    spent = sum(run.flops for run in whole.plan.with_roles(("fit",)))
    assert isinstance(study.design, Adaptive)
    assert 0.9 * study.design.budget < spent <= study.design.budget
    assert {run.run_id for run in plan.runs} < {run.run_id for run in whole.plan.runs}
    assert study.design.ended is None, "nothing is decided"


def adaptive(**design: float | None) -> Identification:
    study = load_study(SPECS / "adaptive.yaml")
    study = choose(study.model_copy(update={"design": study.design.model_copy(update=design)}))
    found = identification(study, plan_study(study))
    assert found is not None
    return found


def test_a_plan_of_rounds_says_whether_their_width_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling.design.identification.MOST", 0)  # what would help takes long
    shipped, narrow, between = (adaptive(width=width) for width in (0.06, 0.02, 0.045))
    assert shipped.width and narrow.width and between.width
    assert shipped.width.foreseen == narrow.width.foreseen == pytest.approx(2 * 0.0263, rel=0.01)
    assert "the loss at C = 2.4e+12 5.26%: it can be reached" in shipped.text
    assert 0.02 < narrow.width.least < 0.045 and "no budget reaches it" in narrow.text
    assert "not within design.budget" in between.text
    assert adaptive(width=None).width is None
    of_size = adaptive(goal="size").width  # type: ignore[arg-type]
    assert of_size and of_size.least == 0 and of_size.name.startswith("N*")


def test_a_first_round_that_leaves_nothing_for_another_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling.design.identification.MOST", 0)
    found = adaptive(budget=1.16e12)
    (doubt,) = (text for text in found.doubts if text.startswith("round 1 takes"))
    assert "foreseen here: no cell more" in found.text
    enough = re.search(r"raise it to ([\d.e+]+) or more, lower min_steps, or take kind: optimal", doubt)
    assert enough is not None
    more = adaptive(budget=float(enough.group(1)))
    assert not any(text.startswith("round 1") for text in more.doubts) and "cell more, which" in more.text
    full = adaptive(runs=8).doubts
    assert full[0].startswith("round 1 has all that design.runs = 8 allows")


def test_a_design_is_judged_by_the_prior_that_chooses_its_cells_unless_another_is_asked_for() -> None:
    study = load_study(SPECS / "adaptive.yaml")
    given = study.design.model_copy(update={"prior": "alpha=0.6,beta=0.3", "noise": 0.02})
    study = choose(study.model_copy(update={"design": given}))
    plan, priors = plan_study(study), list[Prior]()
    for asked in (None, Asked(prior="bytes", noise=0.001)):
        found = identification(study, plan, asked)
        assert found is not None
        priors.append(found.statements[0][1].prior)
    assert [prior.params["alpha"] for prior in priors] == [0.6, 0.785]
    assert [prior.noise.run for prior in priors] == [0.02, 0.001]
    assert isinstance(study.design, Adaptive)
    assert study.design.rounds[0].basis.params["alpha"] == 0.6


def test_rounds_are_foreseen_whatever_law_is_asked_for() -> None:
    study, plan, whole = grown("adaptive")
    other = foreseen(study, plan, Asked(laws=("data-constrained",)))
    assert other == whole and len(whole.plan.runs) > len(plan.runs)


def test_the_target_of_cells_that_are_chosen_is_what_they_are_chosen_for() -> None:
    study = choose(load_study(SPECS / "optimal.yaml").model_copy(update={"holdout": ()}))
    assert isinstance(study.design, Optimal)
    found = identification(study, plan_study(study))
    assert found is not None and f"forecast of C = {study.design.compute:.4g}:" in found.text


def test_what_waits_for_results_is_no_danger_of_the_design() -> None:
    _, plan, whole = grown("isoflop-auto")
    assert "extrapolation" not in {warning.kind for warning in plan_warnings(plan)}
    alone = plan.model_copy(update={"unfinished": False})
    assert "extrapolation" in {warning.kind for warning in plan_warnings(alone)}
    assert not design_warnings(whole.plan)


def test_a_design_of_batches_is_judged_by_the_critical_batch() -> None:
    design = {"kind": "critical-batch", "tokens": [256_000, 512_000], "batches": [64, 256, 1024]}
    texts, found = list[str](), list[Identification | None]()
    for more, asked in (
        ({"trunk_tokens": 128_000}, Asked()),
        ({}, Asked(prior="Bcrit=100:200,alpha=0.5")),
        ({}, Asked(laws=("chinchilla",), prior="Bcrit=100")),
    ):
        raw = changed(family__widths=[16, 24], design=design | more, recipe__batch_tokens=256)
        study = study_from_dict(raw)
        found.append(identification(study, plan_study(study), asked))
        assert found[-1] is not None and found[-1].batches is not None
        texts.append(found[-1].text)
    for one, text in zip(found[:2], texts, strict=False):
        assert one and not one.statements and not one.helps
        assert "chinchilla: " not in text.partition("losses of")[0] and "What would help" not in text
    assert "no trunk:" not in texts[0] and "no trunk:" in texts[1]
    assert "Bcrit = 141.4 tokens (100 to 200) as given" in texts[1] and "alpha as given" in texts[1]
    assert "What this design can identify of chinchilla: NOT IDENTIFIABLE" in texts[2]
    groups = found[0].batches.expected.found if found[0] and found[0].batches else ()
    assert len(groups) == 4 and {one.group.trunk_tokens for one in groups} == {128_000}
    assert all(sorted(one.group.batches) == [64, 256, 1024] for one in groups)
    assert all(one.group.tokens < one.group.horizon for one in groups), "decays are left out"


@pytest.mark.parametrize(
    ("tokens", "batches", "horizons"),
    [
        ([500_000, 1_000_000], [1024, 4096, 65_536], ["500k", "1M"]),  # 8 steps of 65,536 are 524,288
        ([500_000, 520_000], [64, 256, 1024], ["500k", "520k"]),
    ],
)
def test_a_horizon_is_one_however_whole_steps_round_it(
    tokens: list[int], batches: list[int], horizons: list[str]
) -> None:
    design = {"kind": "critical-batch", "tokens": tokens, "batches": batches}
    schedule = {"kind": "wsd", "warmup": "2e4 tokens", "decay": "20 %"}
    raw = changed(family__widths=[16], design=design, recipe__schedule=schedule, recipe__batch_tokens=256)
    study = study_from_dict(raw)
    judged = identification(study, plan_study(study))
    assert judged is not None and judged.batches is not None
    groups = [one.group for one in judged.batches.expected.found]
    assert [group.name.partition("D = ")[2] for group in groups] == horizons
    assert all(sorted(group.batches) == batches for group in groups)


def test_a_plan_counts_the_repeated_seeds_that_the_fit_of_its_results_counts() -> None:
    folder = SPECS.parents[1] / "results" / "reference" / "quickstart"
    counted = seed_noise(load(folder))
    study = load_study(SPECS.parent / "quickstart.yaml")
    planned = noise_of_plan(plan_study(study))
    assert counted is not None and planned is not None
    assert (planned.parts[0].degrees, planned.parts[0].cells) == (counted["degrees"], counted["cells"])
    replicates = noise_of_plan(plan_study(load_study(SPECS / "replicates.yaml")))
    assert replicates is not None
    assert [(one.name, one.degrees, one.alone) for one in replicates.parts[1:]] == [
        ("initial weights", 8, 4), ("order of data", 8, 4), ("evaluation", 23, 23)
    ]  # fmt: skip
