"""The network: one step at a time, a whole window at once, alone or in a batch, it says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamd.model import network
from streamd.model.network import Shape

SHAPES = [
    Shape(channels=1, planes=3, extras=5, horizon=1, hidden=1, layers=1),
    Shape(channels=3, planes=3, extras=5, horizon=4, hidden=8, layers=2),
    Shape(channels=2, planes=2, extras=0, horizon=3, hidden=5, layers=3),
    Shape(channels=0, planes=3, extras=5, horizon=3, hidden=4, layers=1),  # before the first channel is discovered
]


def random_weights(shape, seed=0):
    """Weights as after long training: neither the head nor the skip is zero."""
    generator = torch.Generator().manual_seed(seed)
    weights = network.init(shape, seed)
    weights["w_skip"] = torch.randn(shape.horizon, shape.planes, shape.channels, generator=generator)
    weights["w_head"] = torch.randn(shape.outputs, shape.hidden, generator=generator)
    weights["b_head"] = torch.randn(shape.outputs, generator=generator)
    return weights


def random_state(shape, streams, seed=0):
    generator = np.random.default_rng(seed)
    size = (streams, shape.layers, shape.hidden)
    return (
        generator.uniform(-1, 1, size).astype(np.float32),
        generator.normal(0, 1, size).astype(np.float32),
    )


def random_inputs(shape, streams, steps, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (streams, steps, shape.inputs)).astype(np.float32)


def step_through(weights, shape, x, h, c):
    """Outputs [W, T, H, C] and last state of single steps over [W, T, inputs]."""
    outputs = []
    for at in range(x.shape[1]):
        out, h, c = network.step(weights, shape, np.ascontiguousarray(x[:, at]), h, c)
        outputs.append(out)
    return np.stack(outputs, axis=1), h, c


def at_once(weights, shape, x, h, c):
    """The same through `unroll` and `head`."""
    h, c = (torch.from_numpy(state).transpose(0, 1).contiguous() for state in (h, c))
    with torch.inference_mode():
        top, h, c = network.unroll(weights, shape, torch.from_numpy(x), h, c)
        out = network.head(weights, shape, top, torch.from_numpy(x))
    return out.numpy(), h.transpose(0, 1).numpy(), c.transpose(0, 1).numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_single_steps_equal_the_whole_sequence_at_once(shape):
    weights = random_weights(shape)
    x, (h, c) = random_inputs(shape, 4, 50), random_state(shape, 4)
    single, whole = step_through(weights, shape, x, h, c), at_once(weights, shape, x, h, c)
    for one, other in zip(single, whole, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_of_streams_equals_each_stream_alone(shape):
    weights = random_weights(shape)
    x, (h, c) = random_inputs(shape, 33, 5), random_state(shape, 33)
    together = step_through(weights, shape, x, h, c)
    for i in range(33):
        alone = step_through(weights, shape, x[i : i + 1], h[i : i + 1], c[i : i + 1])
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], other[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_has_the_shapes_it_promises_and_leaves_its_arguments_alone(shape):
    weights = random_weights(shape)
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    x, (h, c) = random_inputs(shape, 7, 1)[:, 0], random_state(shape, 7)
    before = [array.copy() for array in (x, h, c)]
    out, h_new, c_new = network.step(weights, shape, x, h, c)
    assert out.shape == (7, shape.horizon, shape.channels)
    assert h_new.shape == c_new.shape == (7, shape.layers, shape.hidden)
    assert {array.dtype for array in (out, h_new, c_new)} == {np.dtype(np.float32)}
    for array, copy in zip((x, h, c), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert all(torch.equal(weights[name], kept[name]) for name in weights)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fresh_network_corrects_nothing(shape):
    out, h, _ = network.step(network.init(shape, 3), shape, random_inputs(shape, 5, 1)[:, 0], *random_state(shape, 5))
    assert not out.any()
    assert h.any(), "its state moves all the same"


def test_beside_the_head_each_channel_is_corrected_from_its_own_inputs_alone():
    shape = SHAPES[1]
    weights = network.init(shape, 0)
    weights["w_skip"] = random_weights(shape)["w_skip"]
    x = random_inputs(shape, 6, 1)[:, 0]
    h, c = random_state(shape, 6)
    out, _, _ = network.step(weights, shape, x, h, c)
    planes = x[:, : shape.planes * shape.channels].reshape(6, shape.planes, shape.channels)
    np.testing.assert_allclose(out, np.einsum("bpc,hpc->bhc", planes, weights["w_skip"].numpy()), rtol=1e-4, atol=1e-5)
    other = x.copy()
    other[:, 1 : shape.planes * shape.channels : shape.channels] += 3.0  # of the second channel
    other[:, shape.planes * shape.channels :] = 9.0
    moved = network.step(weights, shape, other, h, c)[0] != out
    assert moved[:, :, 1].all()
    assert not moved[:, :, [0, 2]].any()


def test_fresh_weights_follow_from_shape_and_seed_alone():
    shape = SHAPES[1]
    torch.manual_seed(1)
    one = network.init(shape, 3)
    torch.manual_seed(2)
    network.init(shape, 4)
    again = network.init(shape, 3)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["w_ih_0"], network.init(shape, 4)["w_ih_0"])


def test_fresh_weights_are_bounded_and_the_forget_gate_is_open():
    shape = SHAPES[1]
    weights = network.init(shape, 0)
    for layer in range(shape.layers):
        for name in (f"w_ih_{layer}", f"w_hh_{layer}"):
            assert 0.5 / np.sqrt(shape.hidden) < float(weights[name].abs().max()) <= 1 / np.sqrt(shape.hidden)
        i, f, g, o = weights[f"b_{layer}"].chunk(4)
        assert (f == network.FORGET_BIAS).all()
        assert not torch.cat([i, g, o]).any()


def test_widening_leaves_what_is_said_of_the_old_channels_as_it_was():
    old, new = SHAPES[1], Shape(channels=5, planes=3, extras=5, horizon=4, hidden=8, layers=2)
    weights = random_weights(old)
    wide = network.widen(weights, old, new)
    assert {name: tuple(t.shape) for name, t in wide.items()} == {
        name: tuple(t.shape) for name, t in network.init(new, 0).items()
    }
    x, (h, c) = random_inputs(old, 6, 1)[:, 0], random_state(old, 6)
    planes = [x[:, plane * 3 : plane * 3 + 3] for plane in range(3)]
    rest = x[:, 9:]
    unknown = random_inputs(new, 6, 1, seed=9)[:, 0, :2] * 5
    wide_x = np.concatenate([np.concatenate([plane, unknown], axis=1) for plane in planes] + [rest], axis=1)
    before, after = network.step(weights, old, x, h, c), network.step(wide, new, wide_x, h, c)
    np.testing.assert_allclose(after[0][:, :, :3], before[0], rtol=1e-5, atol=1e-6)
    assert not after[0][:, :, 3:].any(), "what is new begins as persistence"
    for one, other in zip(before[1:], after[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_widened_network_can_learn_of_its_new_channels():
    old, new = SHAPES[1], Shape(channels=4, planes=3, extras=5, horizon=4, hidden=8, layers=2)
    wide = {name: t.clone().requires_grad_(True) for name, t in network.widen(random_weights(old), old, new).items()}
    h = c = torch.zeros(2, 1, 8)
    x = torch.randn(1, 5, new.inputs, generator=torch.Generator().manual_seed(0))
    top, _, _ = network.unroll(wide, new, x, h, c)
    out = network.head(wide, new, top, x)
    out.square().add(out).sum().backward()
    inputs_of_new = wide["w_ih_0"].grad[:, [3, 7, 11]]
    heads_of_new = wide["w_head"].grad.view(4, 4, 8)[:, 3]
    assert inputs_of_new.abs().max() > 0
    assert heads_of_new.abs().max() > 0
    assert wide["w_skip"].grad[:, :, 3].abs().min() > 0


def test_gradient_reaches_every_weight_that_is_not_behind_a_zero_head():
    shape = SHAPES[1]
    weights = {name: t.requires_grad_(True) for name, t in random_weights(shape).items()}
    x, (h, c) = random_inputs(shape, 3, 6), random_state(shape, 3)
    h, c = (torch.from_numpy(state).transpose(0, 1).contiguous() for state in (h, c))
    top, _, _ = network.unroll(weights, shape, torch.from_numpy(x), h, c)
    network.head(weights, shape, top, torch.from_numpy(x)).square().sum().backward()
    for name, tensor in weights.items():
        assert (tensor.grad != 0).float().mean() > 0.9, name


def test_a_network_for_other_channels_says_the_same_of_those_that_stay():
    old, new = SHAPES[1], Shape(channels=4, planes=3, extras=5, horizon=6, hidden=8, layers=2)
    weights = random_weights(old)
    h, c = random_state(old, 5)
    sources, targets, gone = [2, 0], [0, 3], 1
    chosen = network.select(weights, old, new, sources, targets)
    x = random_inputs(old, 5, 1)[:, 0]
    x[:, [plane * 3 + gone for plane in range(3)]] = 0  # as of a channel that is never seen
    other_x = random_inputs(new, 5, 1, seed=4)[:, 0]
    other_x[:, 12:] = x[:, 9:]
    for plane in range(3):
        other_x[:, [plane * 4 + at for at in targets]] = x[:, [plane * 3 + at for at in sources]]
    before, after = network.step(weights, old, x, h, c), network.step(chosen, new, other_x, h, c)
    np.testing.assert_allclose(after[0][:, :4, targets], before[0][:, :, sources], rtol=1e-5, atol=1e-6)
    assert not after[0][:, 4:].any()
    assert not after[0][:, :, [1, 2]].any()
    for one, other in zip(before[1:], after[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    back = network.select(chosen, new, old, targets, sources)
    shorter = network.select(weights, old, Shape(3, 3, 5, 1, 8, 2), [0, 1, 2], [0, 1, 2])
    assert torch.equal(back["w_head"].view(4, 3, 8)[:, sources], weights["w_head"].view(4, 3, 8)[:, sources])
    assert torch.equal(shorter["w_head"], weights["w_head"][:3])
    assert torch.equal(back["w_skip"][:, :, sources], weights["w_skip"][:, :, sources])
    assert torch.equal(shorter["w_skip"], weights["w_skip"][:1])


def test_one_number_that_is_none_makes_weights_not_finite():
    weights = random_weights(SHAPES[1])
    assert network.is_finite(weights)
    for value in (float("nan"), float("inf"), float("-inf")):
        bad = {**weights, "b_1": weights["b_1"].clone()}
        bad["b_1"][3] = value
        assert not network.is_finite(bad)


def test_distance_is_relative_and_zero_for_the_same_weights():
    weights = random_weights(SHAPES[1])
    twice = {name: 2 * tensor for name, tensor in weights.items()}
    assert network.distance(weights, weights) == 0.0
    assert network.distance(weights, twice) == pytest.approx(1.0)


def test_weights_come_back_from_their_arrays():
    weights = random_weights(SHAPES[1])
    back = network.from_arrays(network.to_arrays(weights))
    assert weights.keys() == back.keys()
    assert all(torch.equal(weights[name], back[name]) for name in weights)


def test_the_state_stays_bounded_whatever_the_inputs():
    shape = SHAPES[1]
    weights = random_weights(shape)
    h, c = random_state(shape, 2)
    x = np.full((2, shape.inputs), 8.0, np.float32)
    for _ in range(300):
        out, h, c = network.step(weights, shape, x, h, c)
    assert np.abs(h).max() <= 1.0
    assert np.isfinite(out).all()
    assert np.isfinite(c).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_of_many_streams_is_that_of_each_few_of_them(shape):
    many = 3 * network.FEW
    weights, x = random_weights(shape), random_inputs(shape, many, 1)[:, 0]
    state = random_state(shape, many)
    together = network.step(weights, shape, x, *state)
    for begin in range(0, many, network.FEW):
        some = slice(begin, begin + network.FEW)
        for whole, part in zip(together, network.step(weights, shape, x[some], *(s[some] for s in state)), strict=True):
            np.testing.assert_allclose(part, whole[some], rtol=1e-4, atol=1e-5)
