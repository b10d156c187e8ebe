from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from scaling.canonical import canonical_json
from scaling.counts.flops import training_flops
from scaling.errors import UserError
from scaling.plan.designs import compact, flops_per_step, nearest
from scaling.plan.expand import make_plan, plan_spec
from scaling.plan.plan import Plan
from scaling.plan.resolve import Resolver
from scaling.recipe.schedules import WSD, Cosine
from scaling.run import run_id
from scaling.spec.architecture import NamedShape
from scaling.spec.load import load_study
from tests.plan.studies import fake_index, fake_index_of, plan_of

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
RULE = {"kind": "power", "coefficient": 0.2, "exponent": -1}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_expands(path: Path) -> None:
    plan = make_plan(load_study(path), fake_index_of)
    assert plan.totals.by_role["fit"] >= 10
    # one for each seed or variant; none where variants are compared on a grid alone
    grids = dict.fromkeys(("repetition", "merged", "architecture", "experts"), 0)
    forecasts = {"quickstart": 2, "variants": 2, **grids}
    assert plan.totals.by_role.get("holdout", 0) == forecasts.get(path.stem, 1)
    assert len({run.label for run in plan.runs}) == len(plan.runs)


def test_the_quickstart_is_the_study_that_was_promised() -> None:
    path = next(p for p in EXPERIMENTS if p.stem == "quickstart")
    plan = make_plan(load_study(path), fake_index(150_000))
    fit, holdout = ([run for run in plan.runs if run.role == role] for role in ("fit", "holdout"))
    assert len(fit) >= 24 and not plan.excluded
    shapes = {run.run.shape for run in fit}
    assert len(shapes) == 5 and not shapes & {run.run.shape for run in holdout}
    for run in holdout:
        assert run.flops == pytest.approx(3 * max(r.flops for r in fit), rel=1e-3)
    orders = {(run.run.shape, run.run.order) for run in fit}
    assert len(orders) == len({order for _, order in orders}) == 10, (
        "no two trunks share an order of the text"
    )
    assert min(run.params_body / run.params for run in fit) > 0.5


def test_frozen_run_ids() -> None:
    """Ids are promises: records on disk are found by them.

    Regenerate (copy the left side of the failing comparison) only when the numerics of training change
    meaning, together with a raise of ``SEMANTICS``, or when a default of the spec changes; both with an
    entry in CHANGELOG.md. Never because a field was added: that declares its neutral value.
    """
    shapes = [{"name": "a", "depth": 1, "width": 24, "heads": 3, "kv_heads": 1, "mlp": "gelu", "tied": True}]
    found = {
        "wsd": plan_of().runs[0].run_id,
        "cosine": plan_of(recipe__schedule={"kind": "cosine", "warmup": "1 %"}).runs[0].run_id,
        "depth": plan_of(family={"kind": "depth-dial", "width": 32, "depths": [3], "head_dim": 8})
        .runs[1]
        .run_id,
        "shapes": plan_of(family={"kind": "shapes", "shapes": shapes}, seeds=[7]).runs[0].run_id,
        "isoflop": plan_of(design={"kind": "isoflop", "budgets": [3e10]}).runs[1].run_id,
    }
    assert found == {
        "wsd": "4a7bdb82f90a",
        "cosine": "f98215ebc706",
        "depth": "352decf3cdac",
        "shapes": "d6911b1174a3",
        "isoflop": "2fe15954875a",
    }


def test_seeds_of_weights_and_of_the_order_of_data_apart() -> None:
    pairs = [0, {"init": 0, "order": 1}, {"init": 1, "order": 0}, {"init": 0, "order": "by-size"}]
    plan = plan_of(seeds=pairs, design={"kind": "grid", "steps": [500]}, recipe__batch_tokens=256)
    by_size = [run.run.order for run in plan.runs if run.label.endswith("-i0osize")]
    assert by_size == [3609651246, 1189863795], "an order is a promise, as an id is"
    assert [(run.label, run.run.seed, run.run.order) for run in plan.runs[:4]] == [
        ("w16-500st-s0", 0, None),
        ("w16-500st-i0o1", 0, 1),
        ("w16-500st-i1o0", 1, 0),
        ("w16-500st-i0osize", 0, by_size[0]),
    ]
    assert len(plan.jobs) == 8, "other data is another trunk"
    assert [plan.runs[i].run.order_seed for i in range(3)] == [0, 1, 0]
    noise = {"width": 16, "steps": 500, "seeds": [{"init": 0, "order": 1}, 1]}
    holdout = {"width": 64, "steps": 500, "seed": {"init": 3, "order": 4}}
    others = plan_of(noise=noise, holdout=[holdout]).runs[-3:]
    assert [run.label[-5:] for run in others] == ["-i0o1", "st-s1", "-i3o4"]
    assert others[0].run_id == plan.runs[1].run_id


def test_one_number_and_a_pair_of_it_are_one_run() -> None:
    assert plan_of(seeds=[{"init": 7, "order": 7}]).runs[0].run_id == plan_of(seeds=[7]).runs[0].run_id
    with pytest.raises(UserError, match="seeds: must not repeat a value: 7 more than once"):
        plan_of(seeds=[7, {"init": 7, "order": 7}])


def test_identity_is_not_execution_or_spelling() -> None:
    ids = [run.run_id for run in plan_of().runs]
    assert ids == [run.run_id for run in plan_of(execution={"workers": 7, "share_trunk": False}).runs]
    assert ids == [run.run_id for run in plan_of(design={"kind": "grid", "tokens": [128e3, 256e3]}).runs]
    assert ids == [run.run_id for run in plan_of(study="other", data__eval_tokens=99).runs]
    assert not set(ids) & {run.run_id for run in plan_of(seeds=[1]).runs}
    assert plan_of().spec_sha == plan_of(execution={"workers": 7}).spec_sha != plan_of(seeds=[1]).spec_sha


def test_isoflop_solves_tokens_from_the_exact_count() -> None:
    plan = plan_of(design={"kind": "isoflop", "budgets": [3e10, 1e11, 7.7e11]})
    assert len(plan.runs) == 6
    for planned, budget in zip(plan.runs, [3e10, 1e11, 7.7e11] * 2, strict=True):
        run = planned.run
        assert planned.flops == training_flops(run.shape, run.steps * run.batch_sequences).flops
        step = flops_per_step(run.shape, run.batch_tokens)
        assert abs(planned.flops - budget) <= step / 2, "a step more or less would not be nearer"
        assert planned.budget == budget


def test_nearest_is_exact_where_floats_are_not() -> None:
    assert nearest(1e30, 7) == (2 * int(1e30) + 7) // 14
    assert [nearest(a, 2) for a in (0.9, 1.0, 2.9, 3.0)] == [0, 1, 1, 2]


def test_short_cells_are_left_out_and_listed() -> None:
    plan = plan_of(design={"kind": "isoflop", "budgets": [2e10, 1e11], "min_steps": 1000})
    assert [run.label for run in plan.runs] == ["w16-2e10-s0", "w16-1e11-s0", "w32-1e11-s0"]
    assert [(e.label, e.reason) for e in plan.excluded] == [
        ("w32-2e10-s0", "348 steps, fewer than min_steps = 1000")
    ]


def test_ladder_counts_tokens_per_parameter() -> None:
    for of in ("total", "body"):
        plan = plan_of(design={"kind": "ladder", "multiples": [5, 20], "of": of})
        for run, multiple in zip(plan.runs, [5, 20, 5, 20], strict=True):
            params = run.params if of == "total" else run.params_body
            assert run.run.tokens == pytest.approx(multiple * params, abs=128)


def test_list_trains_what_is_listed_with_every_seed() -> None:
    runs = [{"width": 24, "steps": 300}, {"width": 40, "tokens": 1e6}]
    plan = plan_of(design={"kind": "list", "runs": runs}, seeds=[0, 5])
    assert [run.label for run in plan.runs] == [
        "w24-300st-s0",
        "w24-300st-s5",
        "w40-1e6tok-s0",
        "w40-1e6tok-s5",
    ]


def test_percentages() -> None:
    plan = plan_of(recipe__schedule={"kind": "wsd", "warmup": "10 %", "decay": "25 %"})
    for planned in plan.runs:
        schedule = planned.run.schedule
        assert isinstance(schedule, WSD)
        assert schedule.warmup == 50, "of the shortest horizon of that size, so that trunks are shared"
        assert schedule.decay == planned.run.steps // 4
    assert len(plan.jobs) == 2
    holdout = [{"width": 32, "steps": 200}]
    with_holdout = plan_of(
        recipe__schedule={"kind": "wsd", "warmup": "10 %", "decay": "25 %"}, holdout=holdout
    )
    fit = [run.run_id for run in with_holdout.runs if run.role == "fit"]
    assert fit == [run.run_id for run in plan.runs], "a held-out run must not change the fitted ones"


def warmup_shares(schedule: dict[str, Any], **changes: Any) -> dict[str, list[float]]:
    """Warmup steps over the horizon, by role."""
    plan = plan_of(recipe__schedule=schedule, holdout=[{"width": 32, "steps": 20_000}], **changes)
    shares = dict[str, list[float]]()
    for run in plan.runs:
        shares.setdefault(run.role, []).append(run.run.schedule.warmup / run.run.steps)
    return shares


def test_warmup_in_percent_is_of_the_own_horizon_where_nothing_is_shared() -> None:
    rate = {"kind": "power", "of": "tokens", "coefficient": 1.0, "exponent": -0.3}
    noise = {"width": 32, "steps": 700, "seeds": [7, 8]}
    for schedule, changes in (
        ({"kind": "cosine", "warmup": "10 %"}, {}),
        ({"kind": "linear", "warmup": "10 %"}, {"noise": noise}),
        ({"kind": "wsd", "warmup": "10 %"}, {"recipe__optimizer__learning_rate": rate}),
        ({"kind": "constant", "warmup": "10 %"}, {"recipe__optimizer__learning_rate": rate}),
    ):
        shares = warmup_shares(schedule, **changes)
        assert all(share == pytest.approx(0.1, abs=1e-3) for role in shares.values() for share in role)


def test_warmup_in_percent_of_a_shared_trunk_is_of_the_shortest_horizon() -> None:
    shares = warmup_shares(
        {"kind": "wsd", "warmup": "10 %"}, noise={"width": 16, "steps": 1000, "seeds": [9]}
    )
    assert max(shares["fit"]) == pytest.approx(0.1) and min(shares["fit"]) < 0.06
    assert shares["noise"] == [0.05], "a repetition is warmed up like the runs of its size"
    assert shares["holdout"] == [0.1]


def test_the_field_study_warms_up_as_asked(field: Path) -> None:
    study = load_study(field / "cosine_warmup" / "cos.yaml")
    plan = make_plan(study, fake_index(context=study.data.context))
    warmup = {run.run.steps: run.run.schedule.warmup for run in plan.runs}
    assert warmup == {200: 20, 800: 80, 3200: 320, 20_000: 2000}


def test_numbers_of_warmup_steps_are_what_an_id_covers() -> None:
    """Ids given out when a percentage was of the shortest horizon stay true."""
    percent = plan_of(recipe__schedule={"kind": "cosine", "warmup": "10 %"}).runs
    steps = plan_of(recipe__schedule={"kind": "cosine", "warmup": "50 steps"}).runs
    same = [run.run.steps == 500 for run in percent]
    assert any(same) and not all(same)
    assert [a.run_id == b.run_id for a, b in zip(percent, steps, strict=True)] == same


def test_durations_in_tokens() -> None:
    plan = plan_of(recipe__schedule={"kind": "cosine", "warmup": "1e4 tokens"})
    schedule = plan.runs[0].run.schedule
    assert isinstance(schedule, Cosine)
    assert schedule.warmup == 39  # 10000 / 256 = 39.06


def test_learning_rate_rules() -> None:
    by_width = plan_of().runs
    assert [run.run.optimizer.learning_rate for run in by_width[::2]] == [0.0125, 0.00625]
    by_params = plan_of(recipe__optimizer__learning_rate=RULE | {"of": "params_body", "exponent": -0.5})
    run = by_params.runs[0]
    assert run.run.optimizer.learning_rate == pytest.approx(0.2 * run.params_body**-0.5, rel=1e-11)
    assert plan_of(recipe__optimizer__learning_rate=0.003).runs[0].run.optimizer.learning_rate == 0.003


def test_coverage_of_the_data() -> None:
    once, more = (run for run in plan_of(family__widths=[16], design__steps=[200, 1000]).runs)
    assert (once.unique_tokens, once.epochs) == (51_200, 0.8)
    assert (more.unique_tokens, more.epochs) == (64_000, 4.0)


def test_mlp_width() -> None:
    def width(**changes: Any) -> int:
        return NamedShape(name="x", depth=1, heads=1, **changes).shape(256, 8).mlp_width

    assert [width(width=w) for w in (16, 48, 120)] == [40, 128, 320]
    assert width(width=16, mlp="gelu") == 64
    assert width(width=16, mlp_ratio=2) == 32
    assert width(width=2, mlp_ratio=0.1) == 8


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ({"data__context": 60}, "recipe.batch_tokens", "must be a multiple of data.context = 60, is 256"),
        ({"family__widths": [16, 20]}, "family.widths[1]", "width 20 is not divisible by head_dim = 8"),
        ({"family__head_dim": 3}, "family.head_dim", "must be even, is 3"),
        ({"family__kv_heads": 3}, "family.widths[0]", "2 heads, not divisible by kv_heads = 3"),
        (
            {"design": {"kind": "isoflop", "budgets": [1e3, 1e11]}},
            "design.budgets[0]",
            "too small for one step of w16-1000-s0",
        ),
        ({"holdout": [{"width": 16, "tokens": 3}]}, "holdout[0].tokens", "too small for one step"),
        (
            {
                "design": {
                    "kind": "list",
                    "runs": [{"width": 16, "steps": 500}, {"width": 16, "tokens": 128e3}],
                }
            },
            "design.runs[1]",
            "duplicate run: w16-1.28e5tok-s0 is the same as w16-500st-s0 (fit)",
        ),
        ({"design__steps": None, "design__tokens": [1e5, 100001]}, "design.tokens[1]", "duplicate run"),
        ({"noise": {"width": 16, "steps": 500, "seeds": [1, 0]}}, "noise.seeds[1]", "duplicate run"),
        (
            {"holdout": [{"width": 16, "steps": 1000}]},
            "holdout[0]",
            "is inside the fitted set: w16-1000st-s0 (fit)",
        ),
        ({"holdout": [{"width": 16, "steps": 1000, "seed": 9}]}, "holdout[0]", "is inside the fitted set"),
        ({"holdout": [{"depth": 16, "steps": 1000}]}, "holdout[0].depth", "names its sizes by 'width'"),
        (
            {"holdout": [{"width": 80, "steps": 9, "flops": 1e9}]},
            "holdout[0]",
            "exactly one of flops, tokens and steps",
        ),
        ({"holdout": [{"width": 81, "steps": 1000}]}, "holdout[0].width", "not divisible by head_dim"),
        (
            {"design__steps": [90, 1000]},
            "recipe.schedule",
            "take 98 steps, but w16-90st-s0 has 90 (and 1 more",
        ),
        ({"design__min_steps": 5000}, "design.min_steps", "nothing is left to fit"),
        ({"design__tokens": [1e6]}, "design", "exactly one of tokens and steps"),
        (
            {"recipe__optimizer__learning_rate": RULE | {"of": "params", "exponent": 9}},
            "recipe.optimizer.learning_rate",
            "the rule gives 4.57719e+36, not between 1e-12 and 1e+06, for w16-500st-s0 (and 3 more runs)",
        ),
        (
            {"seeds": list(range(1000)), "family__widths": list(range(8, 4808, 8))},
            "design",
            "1,200,000 runs, at most 1,000,000",
        ),
    ],
)
def test_what_a_plan_refuses(changes: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan_of(**changes)
    assert [p.where for p in caught.value.problems].count(where) >= 1, str(caught.value)
    assert any(message in p.message for p in caught.value.problems if p.where == where), str(caught.value)


def test_problems_of_a_plan_come_together() -> None:
    with pytest.raises(UserError) as caught:
        plan_of(
            design__steps=[90, 1000],
            noise={"width": 16, "steps": 90, "seeds": [0]},
            holdout=[{"width": 16, "steps": 1000}],
        )
    assert [p.where for p in caught.value.problems] == ["noise.seeds[0]", "holdout[0]", "recipe.schedule"]


def test_problems_of_spec_plan_and_data_have_places(tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    text = next(p for p in EXPERIMENTS if p.stem == "depth").read_text()
    spec.write_text(text.replace("corpus: state", "corpus: stat"))
    with pytest.raises(UserError) as caught:
        plan_spec(spec)
    (problem,) = caught.value.problems
    line = next(i for i, row in enumerate(spec.read_text().splitlines(), 1) if row.startswith("data:"))
    assert problem.where == f"{spec}:{line}:16"
    assert "did you mean" in problem.hint
    spec.write_text(text.replace("seeds", "sedes").replace("tokens: 4e6", "token: 1"))
    with pytest.raises(UserError) as caught:
        plan_spec(spec)
    messages = [p.message for p in caught.value.problems]
    assert "holdout[0].token: unknown name 'token'" in messages[0]
    assert "too small for one step" in messages[1], "checks go on as if the name had been right"
    assert caught.value.problems[1].where.startswith(f"{spec}:"), "and know where it was written"


def test_json_round_trip_and_canonical_runs() -> None:
    plan = plan_of(holdout=[{"width": 64, "steps": 2000}], noise={"width": 16, "steps": 500, "seeds": [3]})
    raw = json.loads(json.dumps(plan.to_json()))
    assert Plan.from_json(raw) == plan
    for written, planned in zip(raw["runs"], plan.runs, strict=True):
        assert json.dumps(written["run"], sort_keys=True, separators=(",", ":")) == canonical_json(
            planned.run
        )
        assert written["run_id"] == run_id(planned.run)
    with pytest.raises(UserError, match="plan: schema: Input should be 1; run `scaling plan` again"):
        Plan.from_json(raw | {"schema": 2})


def test_labels_are_readable() -> None:
    assert [compact(a) for a in (4e11, 2.4e12, 900, 12.5, 1.25e5)] == [
        "4e11",
        "2.4e12",
        "900",
        "12.5",
        "1.25e5",
    ]
    family = {"kind": "shapes", "shapes": [{"name": "tiny", "depth": 1, "width": 16, "heads": 2}]}
    assert plan_of(family=family).runs[0].label == "tiny-500st-s0"


def test_shapes_out_of_the_design_serve_holdouts() -> None:
    shapes = [
        {"name": n, "depth": 1, "width": 8 * i, "heads": i, "in_design": i < 3}
        for i, n in enumerate("abc", 1)
    ]
    plan = plan_of(family={"kind": "shapes", "shapes": shapes}, holdout=[{"name": "c", "steps": 500}])
    assert {(run.label[0], run.role) for run in plan.runs} == {("a", "fit"), ("b", "fit"), ("c", "holdout")}


def test_a_thousand_runs_are_quick() -> None:
    began = time.process_time()
    plan = plan_of(
        family__widths=list(range(8, 88, 8)), design__steps=list(range(500, 1500, 100)), seeds=list(range(10))
    )
    assert len(plan.runs) == 1000
    assert time.process_time() - began < 2, "3 CPU seconds are allowed for the whole command"


def test_a_plan_that_is_refused_resolves_no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resolver, "planned", lambda *_: pytest.fail("a run was resolved in vain"))
    with pytest.raises(UserError, match="duplicate run"):
        plan_of(noise={"width": 16, "steps": 500, "seeds": [0]})


def test_a_run_is_labelled_by_its_size() -> None:
    depths = {"kind": "depth-dial", "width": 16, "depths": [1, 3], "head_dim": 8}
    assert [run.label[:3] for run in plan_of(family=depths, design__steps=[200], holdout=[]).runs] == [
        "d1-",
        "d3-",
    ]
