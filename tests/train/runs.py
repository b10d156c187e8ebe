"""Small resolved runs for the tests of training."""

from scaling.counts.shape import Shape
from scaling.recipe.optimizers import AdamW
from scaling.recipe.schedules import WSD
from scaling.run import Data, Run

TINY = Shape(depth=1, width=16, heads=2, kv_heads=2, head_dim=8, mlp_width=40, vocab_size=256, context=32)


def make_run(
    *,
    steps: int = 40,
    schedule=None,
    learning_rate: float = 0.01,
    seed: int = 0,
    shape: Shape = TINY,
    fingerprint: str = "0" * 12,
    batch_sequences: int = 8,
    eps: float = 1e-8,
    optimizer=None,
) -> Run:
    return Run(
        shape=shape,
        data=Data(corpus="state-of-the-union", tokenizer="bytes", fingerprint=fingerprint),
        optimizer=optimizer or AdamW(kind="adamw", learning_rate=learning_rate, eps=eps),
        schedule=schedule or WSD(kind="wsd", warmup=5, decay=10),
        batch_sequences=batch_sequences,
        steps=steps,
        seed=seed,
    )
