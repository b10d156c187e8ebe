"""Loss and gradients of every option against the same model written in PyTorch."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.model.transformer import make_model
from scaling.recipe.auxiliary import Auxiliary
from tests.model.options import OPTIONS, random_params, shape_of, windows


@pytest.mark.slow
@pytest.mark.parametrize(("option", "z_loss"), [*((option, 0.0) for option in OPTIONS), ("tied", 0.1)])
def test_loss_and_gradients_are_those_of_the_reference(option: str, z_loss: float) -> None:
    torch = pytest.importorskip("torch")
    from tests.model import reference

    shape = shape_of(option)
    params, window = random_params(shape), windows(shape)
    model = make_model(shape, auxiliary=Auxiliary(z_loss=z_loss) if z_loss else None)
    (loss, _), grads = jax.jit(jax.value_and_grad(model.objective, has_aux=True))(params, window)
    theirs = {n: torch.tensor(p, dtype=torch.float64, requires_grad=True) for n, p in params.items()}
    expected = reference.objective(shape, theirs, torch.tensor(window, dtype=torch.int64), z_loss)
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-6)
    for name, grad in grads.items():
        exact = theirs[name].grad.numpy()
        assert np.linalg.norm(grad - exact) < 1e-5 * np.linalg.norm(exact), name
