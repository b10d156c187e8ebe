"""What a plan says of text that its runs read more than once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scaling.corpora.quotas import BLOCK
from scaling.errors import plural
from scaling.plan.designs import Wanted
from scaling.plan.plan import PlannedRun

# Up to about 4 epochs repeated tokens are worth as much as new ones, and beyond some 40 next to nothing
# (Muennighoff et al., arXiv:2305.16264, sections 5 and 6).
AS_NEW, WORTHLESS = 4, 100
NEARLY = f"up to {AS_NEW} times that is worth nearly as much as new text (arXiv:2305.16264)"
WORTH = "a repeated token is then worth less than a new one (arXiv:2305.16264)"


def repetition_notes(kept: Sequence[Wanted]) -> Iterator[str]:
    """Say how many runs read one source of a mixture so often that a law of new tokens does not hold."""
    found = [(_most_epochs(w), w) for w in kept if len(w.setting.index.sources) > 1]
    repeated = [(times, w) for times, w in found if times > AS_NEW]
    if repeated:
        most, worst = max(repeated, key=lambda item: item[0])
        runs = f"{len(repeated)} of {len(kept)} runs read a source of their mixture more than {AS_NEW} times"
        yield f"{runs}, {worst.label} {times_text(most)} times: {WORTH}"


def on_purpose(run: PlannedRun) -> bool:
    """Whether a run is held to a part of its text (``data.unique_tokens``), as in designs of repetition."""
    _, _, unique_tokens = run.run.data_key
    return unique_tokens is not None


def read_more(again: int, runs: int, most: int) -> str:
    """Say that some runs read their text more than ``most`` times."""
    verb = "reads its" if again == 1 else "read their"
    return (
        f"{again:,} of {plural(runs, 'run')} {verb} text more than {'once' if most == 1 else f'{most} times'}"
    )


def times_text(times: float) -> str:
    """Format how often a text is read, without an exponent."""
    return f"{times:.3g}" if times < 999.5 else f"{times:,.0f}"


def _most_epochs(wanted: Wanted) -> float:
    """Return how often a run goes through the source that it repeats most."""
    sources, context = wanted.setting.index.sources, wanted.shape.context
    return max(wanted.tokens * source.quota / BLOCK / (source.used * context) for source in sources)
