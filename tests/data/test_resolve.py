from pathlib import Path

import pytest

from scaling.corpora.mixture import Mixture
from scaling.errors import UserError
from tests.data.made_up import index_for, noise, write_jsonl

TEXTS = [b" ".join(noise(100 * i + k, 5) for k in range(80)) for i in range(12)]


@pytest.mark.parametrize("allowed", [0.0, 0.5])
def test_what_a_set_of_its_own_shares_with_training_text(
    tmp_path: Path, allowed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    corpus = write_jsonl(tmp_path / "train.jsonl", TEXTS[:10])
    own = write_jsonl(tmp_path / "own.jsonl", [TEXTS[10], TEXTS[11] + TEXTS[3][-150:]])
    asked = {"documents": 2, "tokens": 100, "sets": {"own": own}, "overlap": allowed}
    if allowed:
        assert {d.set for d in index_for(corpus, 16, **asked).eval_documents} == {"held-out", "own"}
        return
    # 25 words of the training text, 13 of the 160 13-grams.
    with pytest.raises(UserError, match=r"evaluation\.sets\.own: 8\.1% of the 13-grams of the evaluated"):
        index_for(corpus, 16, **asked)


def test_held_out_text_of_one_source_in_the_training_text_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    first = write_jsonl(tmp_path / "first.jsonl", TEXTS[:6])
    second = write_jsonl(tmp_path / "second.jsonl", [*TEXTS[6:], *TEXTS[:5]])
    sources = {"a": {"corpus": first, "weight": 2}, "b": {"corpus": second, "weight": 1}}
    mixture = Mixture.model_validate({"kind": "mixture", "sources": sources})
    # The two held-out documents of `a` are in `b` too: one is held out there as well.
    with pytest.raises(UserError, match=r"data\.corpus\.sources\.a\.corpus: 50\.0% of the 13-grams"):
        index_for(mixture, 16, documents=2, tokens=100)
