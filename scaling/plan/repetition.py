"""What a plan says of text that its runs read more than once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scaling.corpora.quotas import BLOCK
from scaling.plan.designs import Wanted

# Up to about 4 epochs repeated tokens are worth as much as new ones, and beyond some 40 next to nothing
# (Muennighoff et al., arXiv:2305.16264, sections 5 and 6).
AS_NEW, WORTHLESS = 4, 100


def repetition_notes(kept: Sequence[Wanted]) -> Iterator[str]:
    """Say how many runs read their text so often that a law of new tokens does not hold for them."""
    epochs = [(_most_epochs(w), w) for w in kept]
    repeated = [(times, w) for times, w in epochs if times > AS_NEW]
    if not repeated:
        return
    most, worst = max(repeated, key=lambda item: item[0])
    runs = f"{len(repeated)} of {len(kept)} runs read their text more than {AS_NEW} times"
    why = "a repeated token is then worth less than a new one (arXiv:2305.16264)"
    if most <= WORTHLESS:
        yield f"{runs}, {worst.label} {times_text(most)} times: {why}"
    else:
        yield (
            f"TOO LITTLE TEXT: {runs}, {worst.label} {times_text(most)} times: {why}, and beyond some 40 "
            "times next to nothing: the runs learn it by heart; use a larger corpus or shorter horizons"
        )


def times_text(times: float) -> str:
    """Format how often a text is read, without an exponent."""
    return f"{times:.3g}" if times < 999.5 else f"{times:,.0f}"


def _most_epochs(wanted: Wanted) -> float:
    """Return how often a run goes through its text; of a mixture, through the source it repeats most."""
    sources, context = wanted.setting.index.sources, wanted.shape.context
    return max(wanted.tokens * source.quota / BLOCK / (source.used * context) for source in sources)
