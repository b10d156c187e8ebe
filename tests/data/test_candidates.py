import random

import pytest

from scaling.data import candidates as module
from scaling.data.candidates import HASHES, Candidate, Candidates, Wanted, digest_of, hash_of
from tests.data.made_up import noise

TEXTS = [noise(seed, 20 + seed % 300) for seed in range(2000)]


def kept(texts: list[bytes], wanted: Wanted, bound: int | None = None) -> Candidates:
    found = Candidates(wanted, text=True, bound=bound or wanted.first_bound())
    for place, text in enumerate(texts):
        digest = digest_of(text).hex()
        found.add(0, Candidate(name=f"d{place}", digest=digest, place=place, size=len(text)), text)
    return found


def names(found: Candidates) -> list[str]:
    return [candidate.digest for _, candidate, _ in found.ordered()]


def test_what_is_kept_are_all_documents_below_a_short_number_that_are_enough() -> None:
    found = kept(TEXTS, Wanted(documents=10, tokens=300, share=None))
    seen = names(found)
    ordered = sorted(TEXTS, key=digest_of)
    tokens, enough = 0, 0
    while enough < 10 or tokens < 300:
        tokens, enough = tokens + len(ordered[enough]) // 16 - 1, enough + 1
    last = hash_of(digest_of(ordered[enough - 1]))
    assert last < found.bound <= last * 9 / 8 + 1 and found.bound % 2 ** (last.bit_length() - 4) == 0
    assert seen == [digest_of(t).hex() for t in ordered if hash_of(digest_of(t)) < found.bound]


@pytest.mark.parametrize("share", [None, 0.05])
def test_neither_order_nor_parts_matter(share: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Wanted(documents=7, tokens=100, share=share)
    monkeypatch.setattr(Candidates, "limit", 2000)  # trims often
    whole = kept(TEXTS, wanted)
    joined = Candidates(wanted, True, wanted.first_bound())
    for group in random.Random(0).sample(range(20), 20):
        part = kept(TEXTS[100 * group : 100 * group + 100], wanted, joined.bound)
        for _, candidate, _ in part.ordered():
            joined.add(group, candidate, None)
        joined.trim()
    assert names(joined) == names(whole)


def test_of_equal_documents_the_first_is_kept() -> None:
    found = Candidates(Wanted(documents=9, tokens=9, share=1.0), True, HASHES)
    for group, place in [(1, 0), (0, 5), (0, 7)]:
        digest = digest_of(b"twice").hex()
        found.add(group, Candidate(name=f"{group}:{place}", digest=digest, place=place, size=5), None)
    assert [candidate.name for _, candidate, _ in found.ordered()] == ["0:5"]


@pytest.mark.parametrize(("limit", "count"), [("MOST_HELD_OUT", 12), ("MOST_HELD_OUT_BYTES", 2000)])
def test_what_is_kept_is_bounded(limit: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, count)
    found = kept(TEXTS, Wanted(documents=10, tokens=300, share=0.5)).ordered()
    sizes = [candidate.size for _, candidate, _ in found]
    assert len(sizes) == 12 if limit == "MOST_HELD_OUT" else 1700 < sum(sizes) <= 2000
