"""Small resolved runs for the tests of training."""

from scaling.counts.shape import Shape
from scaling.run import WSD, AdamW, Data, Run

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
) -> Run:
    return Run(
        shape=shape,
        data=Data(corpus="state-of-the-union", tokenizer="bytes", fingerprint=fingerprint),
        optimizer=AdamW(
            learning_rate=learning_rate, weight_decay=0.1, b1=0.9, b2=0.95, eps=eps, clip_norm=1.0
        ),
        schedule=schedule or WSD(warmup_steps=5, decay_steps=10, shape="1-sqrt"),
        batch_sequences=batch_sequences,
        steps=steps,
        seed=seed,
    )
