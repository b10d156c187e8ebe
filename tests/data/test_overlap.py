import pytest

from scaling.data import overlap
from scaling.data.build import held_out
from scaling.data.catalog import Document
from scaling.data.overlap import overlapping_documents, window_hashes
from tests.data.made_up import noise


def test_hash_is_the_polynomial_of_the_window() -> None:
    text = noise(0, 40)
    expected = [
        sum(text[i + j] * pow(overlap.BASE, 7 - j, 2**64) for j in range(8)) % 2**64 for i in range(33)
    ]
    assert window_hashes(text, 8).tolist() == expected
    assert len(window_hashes(text[:7], 8)) == 0
    assert len(window_hashes(text[:3], 8)) == 0


@pytest.mark.parametrize("length", [15, 16, 17])
def test_a_planted_run_is_found_from_the_window_on(length: int) -> None:
    run = noise(1, length)
    texts = [noise(2, 300), noise(3, 200) + run + noise(4, 9), run[::-1] + noise(5, 70), run + noise(6, 90)]
    assert overlapping_documents(texts, window=16) == ({1, 3} if length >= 16 else set())


def test_a_run_at_the_edge_of_a_document_is_found() -> None:
    texts = [noise(1, 60), noise(2, 60), noise(3, 60)]
    for run in (texts[0][:16], texts[0][-16:], texts[1][:16], texts[2][-16:]):
        overlapping = overlapping_documents([*texts, noise(4, 50) + run], window=16)
        assert overlapping == {3, next(i for i, text in enumerate(texts) if run in text)}


def test_text_repeated_inside_one_document_is_no_overlap() -> None:
    texts = [noise(1, 60) * 2, noise(2, 60)]
    assert overlapping_documents(texts, window=16) == set()


def test_held_out_documents_are_spread_over_the_years_and_free_of_shared_text() -> None:
    texts = [noise(i, 400) for i in range(40)]
    texts[4] = texts[5] = noise(99, 400)  # the nearest to the first target year, and its twin
    documents = [Document(f"d{i}", 1900 + i, text) for i, text in enumerate(texts)]
    assert held_out(documents, 4) == [6, 15, 24, 34]
