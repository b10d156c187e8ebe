"""Published rules at points where their papers' equations were evaluated by hand."""

import pytest

from scaling.recipe.published import PUBLISHED, PowerLines, StepLaw, TimeScale
from tests.plan.studies import plan_of

N, D, C, B = 1e9, 2e10, 1e21, 5e5
SCALES = {
    "params": 1.2e9, "params_body": N, "tokens": D, "flops": 2e21, "flops_body": C, "batch_tokens": B,
    "tokens_per_param": D / N, "learning_rate": 1e-3,
}  # fmt: skip
# kind, field -> value, by log10 sums: 1.79 * 1e9^-0.713 * 2e10^0.307 = 10^(0.2529 - 6.417 + 3.1624)
CASES = {
    ("step-law", "learning_rate"): 10 ** (0.252853 - 6.417 + 3.162416),
    ("step-law", "batch_tokens"): 10 ** (-0.236572 + 5.881888),
    ("deepseek", "learning_rate"): 10 ** (-0.506124 - 2.625),
    ("deepseek", "batch_tokens"): 10 ** (-0.534617 + 6.8691),
    ("power-lines", "batch_tokens"): 10 ** (-1.514279 + 3.311330 + 3.945294),
    ("power-lines", "weight_decay"): 5e5 / (1e-3 * 2e10 * 1.084 * 20**-0.527),
    ("timescale", "weight_decay"): 5e5 / (1e-3 * 2e10 * 1.084 * 20**-0.527),
    ("sqrt-batch", "learning_rate"): 0.003 * 2,
}


@pytest.mark.parametrize(("kind", "target"), CASES)
def test_values(kind, target):
    given = {"coefficient": 0.003, "reference": 1.25e5} if kind == "sqrt-batch" else {}
    model = next(m for m in PUBLISHED if m.model_fields["kind"].annotation.__args__ == (kind,))
    rule = model.model_validate({"kind": kind, **given})
    assert target in rule.targets()
    assert rule.powers(target).at(SCALES) == pytest.approx(CASES[kind, target], rel=1e-4)


def test_every_rule_is_tested_and_names_its_paper():
    kinds = {model.model_fields["kind"].annotation.__args__[0]: model for model in PUBLISHED}
    assert kinds.keys() == {kind for kind, _ in CASES}
    assert all("arXiv:" in model.__doc__ for model in kinds.values())
    for cls in (StepLaw, PowerLines):
        assert {target for kind, target in CASES if kinds[kind] is cls} == {*cls.by_target}


def test_a_time_scale_is_kept_where_batch_and_rate_differ():
    """tau = B / (rate x decay x D) of planned runs is the one asked for."""
    batch = {"kind": "power", "coefficient": 4, "of": {"width": 1}}
    plan = plan_of(
        recipe__batch_tokens=batch,
        recipe__optimizer__weight_decay={"kind": "timescale", "coefficient": 2, "exponent": -0.5},
    )
    assert len({run.run.batch_tokens for run in plan.runs}) == 2
    for run in plan.runs:
        optimizer, tokens = run.run.optimizer, run.run.tokens
        tau = run.run.batch_tokens / (optimizer.learning_rate * optimizer.weight_decay * tokens)
        assert tau == pytest.approx(2 * (tokens / run.params) ** -0.5, rel=1e-9)
    assert TimeScale(kind="timescale", exponent=0).powers("weight_decay").exponents["tokens_per_param"] == 0
