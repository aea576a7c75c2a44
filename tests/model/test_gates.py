import numpy as np
import torch

from streamd.model.gates import gates
from streamd.model.network import Shape, init, step

SHAPE = Shape(channels=2, planes=3, extras=1, horizon=2, hidden=4, layers=2)


def inputs(frames: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(frames, SHAPE.inputs)).astype(np.float32)


def start() -> tuple[np.ndarray, np.ndarray]:
    h, c = np.random.default_rng(2).normal(size=(2, SHAPE.layers, SHAPE.hidden)).astype(np.float32)
    return np.tanh(h), c


def test_the_state_after_each_frame_is_that_of_the_live_step_but_for_rounding():
    weights, x, (h, c) = init(SHAPE, 3), inputs(7), start()
    found = gates(weights, SHAPE, x, h, c)
    h, c = h[None], c[None]
    for t in range(len(x)):
        _, h, c = step(weights, SHAPE, x[t : t + 1], h, c)
        np.testing.assert_allclose(found.hidden[t], h[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.cell[t], c[0], rtol=1e-5, atol=1e-6)


def test_a_cell_is_what_was_kept_of_it_and_what_was_taken_in():
    weights, x, (h, c) = init(SHAPE, 3), inputs(5), start()
    found = gates(weights, SHAPE, x, h, c)
    before = np.concatenate([c[None], found.cell[:-1]])
    new = found.cell - found.kept * before
    assert (np.abs(new) <= found.taken + 1e-6).all()  # tanh of the candidate is within ±1
    np.testing.assert_allclose(found.hidden, found.shown * np.tanh(found.cell), rtol=1e-6)


def test_a_large_forget_bias_keeps_everything_and_a_very_negative_one_nothing():
    weights, x, (h, c) = init(SHAPE, 3), inputs(4), start()
    for bias, kept in ((50.0, 1.0), (-50.0, 0.0)):
        changed = dict(weights)
        for layer in range(SHAPE.layers):
            changed[f"b_{layer}"] = weights[f"b_{layer}"].clone()
            changed[f"b_{layer}"][SHAPE.hidden : 2 * SHAPE.hidden] = bias
        np.testing.assert_allclose(gates(changed, SHAPE, x, h, c).kept, kept, atol=1e-6)


def test_neither_the_weights_nor_the_state_that_is_given_change():
    weights, x, (h, c) = init(SHAPE, 3), inputs(4), start()
    before = {name: tensor.clone() for name, tensor in weights.items()}, x.copy(), h.copy(), c.copy()
    gates(weights, SHAPE, x, h, c)
    assert all(torch.equal(tensor, before[0][name]) for name, tensor in weights.items())
    assert [a.tobytes() for a in (x, h, c)] == [a.tobytes() for a in before[1:]]


def test_no_frames_give_no_gates():
    assert gates(init(SHAPE, 3), SHAPE, inputs(0), *start()).kept.shape == (0, SHAPE.layers, SHAPE.hidden)
