"""Training: a pure function from a job to a candidate."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch

from streamd.model import network, training
from streamd.model.network import Shape
from streamd.model.training import Job, Windows, fresh_optimizer, train

SHAPE = Shape(channels=2, planes=1, extras=0, horizon=3, hidden=8, layers=2)
T, BURN_IN = 20, 4


def windows(count=4, seed=0, shape=SHAPE, weight=1.0):
    generator = np.random.default_rng(seed)

    def normal(*size):
        return generator.normal(0, 1, size).astype(np.float32)

    return Windows(
        x=normal(count, T, shape.inputs),
        h=np.tanh(normal(count, shape.layers, shape.hidden)),
        c=normal(count, shape.layers, shape.hidden),
        target=normal(count, T, shape.horizon, shape.channels),
        weight=np.full((count, T, shape.horizon, shape.channels), weight, np.float32),
    )


def job(**changes):
    weights = network.init(SHAPE, 0)
    generator = torch.Generator().manual_seed(1)
    weights["w_head"] = torch.randn(SHAPE.outputs, SHAPE.hidden, generator=generator)
    weights["w_skip"] = torch.randn(SHAPE.horizon, SHAPE.planes, SHAPE.channels, generator=generator)
    fields = {
        "shape": SHAPE,
        "weights": weights,
        "optimizer": fresh_optimizer(weights),
        "batches": (windows(seed=1), windows(seed=2)),
        "held_back": windows(seed=3),
        "burn_in": BURN_IN,
        "learning_rate": 1e-2,
        "clip_norm": 1.0,
    }
    return Job(**(fields | changes))


def arrays_of(value):
    """Every number in a job or a candidate, as copies, in order."""
    if isinstance(value, torch.Tensor):
        return [value.detach().numpy().copy()]
    if isinstance(value, np.ndarray):
        return [value.copy()]
    if isinstance(value, dict):
        return [array for key in sorted(value) for array in arrays_of(value[key])]
    if isinstance(value, tuple):
        return [array for item in value for array in arrays_of(item)]
    if dataclasses.is_dataclass(value):
        return [array for field in dataclasses.fields(value) for array in arrays_of(getattr(value, field.name))]
    return [np.array(value)]


def assert_same_bits(one, other):
    one, other = arrays_of(one), arrays_of(other)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.tobytes() == b.tobytes()


def test_the_same_job_gives_the_same_candidate_to_the_bit_and_is_left_as_it_was():
    task = job()
    before = arrays_of(task)
    one, other = train(task), train(task)
    assert_same_bits(one, other)
    assert_same_bits(tuple(before), tuple(arrays_of(task)))
    assert_same_bits(one, train(job()))


def test_another_thread_gives_the_same_bits_while_the_network_is_stepped_here():
    network.use_one_thread()
    expected = train(job())
    found = []
    thread = threading.Thread(target=lambda: found.extend(train(job()) for _ in range(3)))
    weights = job().weights
    x = windows().x[:, 0]
    h, c = windows().h, windows().c
    thread.start()
    while thread.is_alive():
        network.step(weights, SHAPE, x, h, c)
    thread.join()
    assert len(found) == 3
    for candidate in found:
        assert_same_bits(candidate, expected)


def test_a_candidate_does_not_share_memory_with_its_job():
    task = job()
    candidate = train(task)
    ours = {tensor.data_ptr() for tensor in task.weights.values()}
    ours |= {
        tensor.data_ptr() for moments in (task.optimizer.first, task.optimizer.second) for tensor in moments.values()
    }
    theirs = {tensor.data_ptr() for tensor in candidate.weights.values()}
    theirs |= {t.data_ptr() for m in (candidate.optimizer.first, candidate.optimizer.second) for t in m.values()}
    assert not ours & theirs
    assert not any(tensor.requires_grad for tensor in candidate.weights.values())


def test_one_gradient_step_is_made_for_each_batch_and_the_optimizer_goes_on_counting():
    task = job()
    candidate = train(task)
    assert (candidate.steps, candidate.optimizer.step) == (2, 2)
    later = train(job(weights=candidate.weights, optimizer=candidate.optimizer))
    assert later.optimizer.step == 4


def test_the_burn_in_moves_the_state_but_carries_no_gradient():
    base = windows(seed=1)
    other_targets = dataclasses.replace(base, target=base.target.copy())
    other_targets.target[:, :BURN_IN] += 100.0
    assert_same_bits(train(job(batches=(base,))), train(job(batches=(other_targets,))))

    other_inputs = dataclasses.replace(base, x=base.x.copy())
    other_inputs.x[:, :BURN_IN] += 1.0
    assert train(job(batches=(base,))).loss != train(job(batches=(other_inputs,))).loss

    # the same as beginning after the burn-in from the state that it left
    task = job(batches=(base,))
    h, c = (torch.from_numpy(s).transpose(0, 1).contiguous() for s in (base.h, base.c))
    with torch.no_grad():
        _, h, c = network.unroll(task.weights, SHAPE, torch.from_numpy(base.x[:, :BURN_IN].copy()), h, c)
    rest = Windows(
        x=base.x[:, BURN_IN:].copy(),
        h=h.transpose(0, 1).contiguous().numpy(),
        c=c.transpose(0, 1).contiguous().numpy(),
        target=base.target[:, BURN_IN:].copy(),
        weight=base.weight[:, BURN_IN:].copy(),
    )
    with_burn_in, without = train(task), train(job(batches=(rest,), burn_in=0))
    for name in task.weights:
        torch.testing.assert_close(with_burn_in.optimizer.first[name], without.optimizer.first[name])


def test_a_window_without_burn_in_is_learned_from_as_a_whole():
    assert np.isfinite(train(job(burn_in=0)).loss)


def test_frames_that_weigh_nothing_teach_nothing():
    ignored = windows(seed=1)
    ignored.weight[:, 10:] = 0.0
    changed = dataclasses.replace(ignored, target=ignored.target.copy())
    changed.target[:, 10:] = 77.0
    assert_same_bits(train(job(batches=(ignored,))), train(job(batches=(changed,))))


def test_a_batch_in_which_nothing_weighs_anything_is_no_reason_for_nan():
    candidate = train(job(batches=(windows(weight=0.0),)))
    assert candidate.loss == 0.0
    assert all(torch.isfinite(tensor).all() for tensor in candidate.weights.values())


def test_what_lies_far_off_pulls_no_harder_the_further_it_is():
    def pull(off):
        far = windows(seed=1)
        far.target[0, -1, 0, 0] = off
        return train(job(batches=(far,), clip_norm=1e9)).optimizer.first

    near, far, further = pull(0.0), pull(50.0), pull(5000.0)
    assert not torch.equal(near["w_skip"], far["w_skip"])
    for name in far:
        torch.testing.assert_close(far[name], further[name])


def test_gradients_are_clipped_to_the_norm():
    def first_moment_norm(clip_norm):
        first = train(job(batches=(windows(seed=1),), clip_norm=clip_norm)).optimizer.first
        norm = sum(float(tensor.square().sum()) for tensor in first.values()) ** 0.5
        return norm / (1.0 - training.BETAS[0])  # of the gradient, after one step from nothing

    free = first_moment_norm(1e9)
    assert first_moment_norm(free / 10) == pytest.approx(free / 10, rel=1e-4)
    assert first_moment_norm(free * 10) == pytest.approx(free, rel=1e-6)


def test_adam_steps_as_torch_does():
    task = job(clip_norm=1e9)
    parameters = {name: tensor.clone().requires_grad_(True) for name, tensor in task.weights.items()}
    adam = torch.optim.Adam(parameters.values(), lr=1e-2, betas=training.BETAS, eps=training.EPSILON)
    for batch in task.batches:
        adam.zero_grad()
        training._loss(parameters, SHAPE, batch, BURN_IN).backward()
        adam.step()
    for name, tensor in train(task).weights.items():
        torch.testing.assert_close(tensor, parameters[name].detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_told_as_it_is(poison):
    bad = windows(seed=1)
    bad.x[0, 10, 0] = poison
    candidate = train(job(batches=(bad,)))
    assert not np.isfinite([candidate.loss, candidate.held_back_after]).all()
    assert np.isfinite(candidate.held_back_before)


def test_the_held_back_windows_judge_and_do_not_teach():
    one, other = train(job(held_back=windows(seed=3))), train(job(held_back=windows(seed=4)))
    assert_same_bits(one.weights, other.weights)
    assert one.held_back_before != other.held_back_before
    assert one.held_back_after != other.held_back_after
    still = train(job(learning_rate=1e-30))
    assert still.held_back_before == still.held_back_after


def test_learning_a_sine_goes_well_below_persistence():
    """Stretches of a sine, their state carried on from one to the next; persistence's loss is that of a zero head."""
    shape = Shape(channels=1, planes=2, extras=0, horizon=4, hidden=12, layers=1)
    generator = np.random.default_rng(0)
    step = 2 * np.pi / 17

    def stretch(count):
        start = generator.uniform(0, 2 * np.pi, count)
        phase = start[:, None] + step * np.arange(T + shape.horizon)
        wave = np.sin(phase)
        change = np.diff(wave, axis=1, prepend=np.sin(phase[:, :1] - step))
        ahead = np.arange(T)[:, None] + np.arange(1, shape.horizon + 1)
        target = (wave[:, ahead] - wave[:, :T, None])[..., None]
        zeros = np.zeros((count, 1, shape.hidden), np.float32)
        x = np.stack([wave, change], axis=-1)[:, :T]
        return Windows(x.astype(np.float32), zeros, zeros, target.astype(np.float32), np.ones_like(target, np.float32))

    weights = network.init(shape, 0)
    optimizer = fresh_optimizer(weights)
    held_back = stretch(8)
    persistence = train(Job(shape, weights, optimizer, (held_back,), held_back, BURN_IN, 1e-2, 1.0)).held_back_before
    for _ in range(40):
        batches = tuple(stretch(8) for _ in range(4))
        candidate = train(Job(shape, weights, optimizer, batches, held_back, BURN_IN, 1e-2, 1.0))
        weights, optimizer = candidate.weights, candidate.optimizer
    assert persistence > 0.1
    assert candidate.held_back_after < 0.02 * persistence
    assert candidate.loss < 0.02 * persistence
