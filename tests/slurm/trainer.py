"""A trainer that takes its time. Its loss depends on every step: one that is lost or done twice shows."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from scaling.external import External


def after(step: int, state: int) -> int:
    """The state after one more step."""
    return (6364136223846793005 * state + step) % 2**64


def loss_of(params: int, tokens: int, state: int) -> float:
    """A law, and a little noise from the state."""
    return (1.7 + 40 / params**0.34 + 41 / tokens**0.28) * (1 + 1e-3 * state / 2**64)


def expected(params: int, tokens: int, steps: int, seed: int) -> float:
    """The loss of a whole run."""
    state = seed
    for step in range(steps):
        state = after(step, state)
    return loss_of(params, tokens, state)


def write(state: int, folder: Path) -> None:
    """Fill a checkpoint."""
    (folder / "state").write_text(str(state))


def main(ends: Path) -> None:
    """Train; note each end in a file, to tell runs that were trained twice."""
    run = External()
    step, state = 0, run.seed
    if saved := run.latest():
        step, folder = saved
        state = int((folder / "state").read_text())
    while step < run.steps:
        time.sleep(run.recipe["pause"])
        state = after(step, state)
        step += 1
        run.log(step, 2 + state / 2**64)
        if run.save_due(step):
            run.save(step, partial(write, state))
        run.exit_if_asked()
    with ends.open("a") as file:
        file.write(f"{run.run_id}\n")
    run.finish(loss_of(run.asked["size"]["params"], run.tokens, state))


if __name__ == "__main__":
    main(Path(sys.argv[sys.argv.index("--ends") + 1]))
