"""What a plan counts: runs whose rows a fit would take."""

from __future__ import annotations

from scaling.design.identification import identification
from scaling.design.wish import Asked
from scaling.plan.expand import plan_study
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed


def test_runs_of_long_warmup_count_for_nothing_and_that_is_said() -> None:
    raw = changed(family__widths=[16, 24, 32, 48])
    counted, lines = list[int](), list[str]()
    for steps in ([400, 800], [200, 400, 800], [200, 240]):
        study = study_from_dict(raw | {"design": {"kind": "grid", "steps": steps}})
        found = identification(study, plan_study(study))
        assert found is not None
        counted.append(found.statements[0][1].runs)
        lines.append(found.text.splitlines()[0])
    assert counted == [8, 8, 8], "where all have it, a fit takes all"
    assert lines[1] == "4 runs of long warmup count for nothing here: fits leave them out"
    assert all(line.startswith("What this design") for line in (lines[0], lines[2]))


def test_a_prior_of_another_loss_is_doubted() -> None:
    raw = changed(
        family__widths=[16, 24, 32, 48],
        design={"kind": "grid", "steps": [400, 800]},
        data__tokenizer={"kind": "bytes"},
    )
    study = study_from_dict(raw)
    plan, texts = plan_study(study), list[str]()
    for prior in ("chinchilla", "bytes"):
        found = identification(study, plan, Asked(prior=prior))
        assert found is not None
        texts.append(found.text)
    assert "warning: the prior has a loss of" in texts[0] and "among the 256 tokens has 5.55" in texts[0]
    assert "warning" not in texts[1]


def test_a_design_of_repetition_is_pointed_to_the_law_of_it() -> None:
    sizes = {"family__widths": [16, 24, 32, 48]}
    repeated = {"kind": "repetition", "unique_tokens": [64_000, 128_000], "epochs": [1, 2, 4]}
    plain = {"kind": "grid", "steps": [500, 1000, 2000]}
    texts = list[str]()
    for design, laws in ((repeated, ()), (repeated, ("data-constrained",)), (plain, ())):
        study = study_from_dict(changed(**sizes, design=design))
        found = identification(study, plan_study(study), Asked(laws=laws))
        assert found is not None
        texts.append(" ".join(found.doubts))
    assert "16 of 20 runs read their text more than once" in texts[0] and "--law data-constrained" in texts[0]
    assert "data-constrained" not in texts[1] + texts[2]
