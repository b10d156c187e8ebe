"""Write the tokens that the trainers of this folder read: those of a study of the built-in trainer.

    python experiments/external/prepare.py experiments/external/builtin.yaml experiments/external/bytes.npz

``train`` are the tokens of the training text; ``windows`` (W, context + 1) and ``weights`` (W, context) are
what is evaluated, a weight of 0 where a window is filled up.
"""

import sys
from pathlib import Path

import numpy as np

from scaling.data.store import open_windows
from scaling.plan.data import resolve_data
from scaling.spec.load import load_study


def main(spec: Path, out: Path) -> None:
    windows = open_windows(resolve_data(load_study(spec)))
    context, train = windows.index.context, windows.index.sources[0].windows
    starts = np.arange(train, dtype=np.int64) * context
    text = windows.gather(starts)[:, :-1].ravel()
    held_out = windows.eval_windows()
    np.savez_compressed(
        out,
        train=text.astype(np.uint8),
        windows=held_out.tokens.astype(np.uint8),
        weights=held_out.weights.astype(np.uint8),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
