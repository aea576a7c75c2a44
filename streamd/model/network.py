"""The network: a stacked LSTM with a linear head that corrects a forecast, for all horizons at once.

Beside the head, each channel has a linear skip from its own inputs. A network whose head and skip are zero corrects
nothing. Reads top to bottom: shape, weights, one live step, a whole window for training. Knows scaled numbers only; no
streams, no units, no time.

Hochreiter & Schmidhuber 1997 (cell with the forget gate of Gers et al. 2000), gate order i, f, g, o as in torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from streamd.kernel import network as kernel
from streamd.records import F32

Weights: TypeAlias = dict[str, Tensor]  # never changed in place once the network is in use

FEW = 8  # streams of a batch up to which a kernel is faster than torch
KEPT = 8  # networks that are kept as the kernel takes them
FORGET_BIAS = 1.0  # a fresh cell remembers (Jozefowicz et al. 2015)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network: what its weights must fit."""

    channels: int  # C
    planes: int  # values that each channel brings to the input
    extras: int  # values that belong to no channel
    horizon: int  # H
    hidden: int  # K
    layers: int  # L

    @property
    def inputs(self) -> int:
        return self.channels * self.planes + self.extras

    @property
    def outputs(self) -> int:
        return self.horizon * self.channels


def use_one_thread() -> None:
    """Let torch compute on the calling thread alone: matrices this small gain nothing from more, and the bits stay."""
    torch.set_num_threads(1)


@functools.cache
def make_do_without_new_code() -> None:
    """Let torch compute the LSTM by itself where the process may not make memory executable.

    oneDNN writes machine code for it, which systemd's MemoryDenyWriteExecute forbids (pytorch#143651). Without it a
    training job takes about three times as long, and the last digits of what it learns are others.
    """
    shape = Shape(channels=1, planes=1, extras=0, horizon=1, hidden=1, layers=1)
    weights = {name: tensor.requires_grad_() for name, tensor in init(shape, 0).items()}
    zero = torch.zeros(1, 1, 1)
    try:
        unroll(weights, shape, zero, zero, zero)
    except RuntimeError:
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]


def init(shape: Shape, seed: int) -> Weights:
    """Fresh weights: uniform within 1/sqrt(K), a zero head and skip. They follow from the shape and the seed alone."""
    K = shape.hidden
    generator = np.random.Generator(np.random.PCG64([seed, shape.channels]))
    weights: Weights = {}
    for layer in range(shape.layers):
        inputs = shape.inputs if layer == 0 else K
        weights[f"w_ih_{layer}"] = _uniform(generator, (4 * K, inputs), K)
        weights[f"w_hh_{layer}"] = _uniform(generator, (4 * K, K), K)
        bias = torch.zeros(4 * K)
        bias[K : 2 * K] = FORGET_BIAS
        weights[f"b_{layer}"] = bias
    weights["w_skip"] = torch.zeros(shape.horizon, shape.planes, shape.channels)
    weights["w_head"] = torch.zeros(shape.outputs, K)
    weights["b_head"] = torch.zeros(shape.outputs)
    return weights


def step(weights: Weights, shape: Shape, x: F32, h: F32, c: F32) -> tuple[F32, F32, F32]:
    """One time step for a batch of streams, each from its own state.

    Args:
        x: [B, inputs]; h, c: [B, L, K].

    Returns:
        corrections [B, H, C], new h and c [B, L, K].
    """
    if len(x) <= FEW:
        return _step_of_few(weights, shape, x, h, c)  # what is not finite is set right later
    h_new, c_new = np.empty_like(h), np.empty_like(c)
    with torch.inference_mode():
        below = torch.from_numpy(x)
        for layer in range(shape.layers):
            gates = torch.addmm(weights[f"b_{layer}"], below, weights[f"w_ih_{layer}"].t())
            gates.addmm_(torch.from_numpy(h[:, layer]), weights[f"w_hh_{layer}"].t())
            i, f, g, o = gates.chunk(4, dim=1)
            cell = f.sigmoid_().mul_(torch.from_numpy(c[:, layer])).addcmul_(i.sigmoid_(), g.tanh_())
            below = o.sigmoid_().mul_(torch.tanh(cell))
            h_new[:, layer], c_new[:, layer] = below.numpy(), cell.numpy()
        out = torch.addmm(weights["b_head"], below, weights["w_head"].t()).view(len(x), shape.horizon, shape.channels)
        out += _skip(weights, shape, torch.from_numpy(x))
    return out.numpy(), h_new, c_new


def _step_of_few(weights: Weights, shape: Shape, x: F32, h: F32, c: F32) -> tuple[F32, F32, F32]:
    """The same for so few streams that calling torch takes longer than the arithmetic does."""
    h_new, c_new = np.empty(h.shape, np.float32), np.empty(c.shape, np.float32)
    out = np.empty((len(x), shape.horizon, shape.channels), np.float32)
    _taken(weights, shape).step(x, h, c, h_new, c_new, out)
    return out, h_new, c_new


_last: list[tuple[Weights, kernel.Network]] = []  # of the groups of this process, the one that spoke last first


def _taken(weights: Weights, shape: Shape) -> kernel.Network:
    """The weights as the kernel takes them; made once, as they do not change in place."""
    for known, taken in _last:
        if known is weights:
            return taken
    arrays = to_arrays(weights)
    layers = [(arrays[f"w_ih_{n}"], arrays[f"w_hh_{n}"], arrays[f"b_{n}"]) for n in range(shape.layers)]
    taken = kernel.Network(layers, arrays["w_head"], arrays["b_head"], arrays["w_skip"])
    _last.insert(0, (weights, taken))
    del _last[KEPT:]
    return taken


def unroll(weights: Weights, shape: Shape, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A whole window at once, with gradient where the weights ask for it.

    Args:
        x: [W, T, inputs]; h, c: [L, W, K].

    Returns:
        hidden outputs of the top layer [W, T, K], h and c after the window.
    """
    flat = []
    for layer in range(shape.layers):
        bias = weights[f"b_{layer}"]
        flat += [weights[f"w_ih_{layer}"], weights[f"w_hh_{layer}"], bias, torch.zeros_like(bias)]
    top, h, c = torch.lstm(x, (h, c), flat, True, shape.layers, 0.0, False, False, True)
    return top, h, c


def head(weights: Weights, shape: Shape, top: Tensor, x: Tensor) -> Tensor:
    """Corrections [W, T, H, C] from the top layer's outputs [W, T, K] and the inputs [W, T, inputs]."""
    out = torch.nn.functional.linear(top, weights["w_head"], weights["b_head"])
    return out.view(*top.shape[:2], shape.horizon, shape.channels) + _skip(weights, shape, x)


def _skip(weights: Weights, shape: Shape, x: Tensor) -> Tensor:
    """What each channel's own inputs add to its corrections, [..., H, C]."""
    planes = x[..., : shape.planes * shape.channels].view(*x.shape[:-1], 1, shape.planes, shape.channels)
    return (planes * weights["w_skip"]).sum(dim=-2)


def widen(weights: Weights, old: Shape, new: Shape) -> Weights:
    """The same network with more channels: what it says of the old ones does not change."""
    return select(weights, old, new, range(old.channels), range(old.channels))


def select(
    weights: Weights,
    old: Shape,
    new: Shape,
    sources: Sequence[int],
    targets: Sequence[int],
    steps: Mapping[int, int] | None = None,
) -> Weights:
    """The same network for other channels, and for other steps ahead.

    The inputs of new channels weigh nothing and their outputs are zero, as those of new steps are: both only come in
    by learning. A channel that is left out counts as one that is never seen.

    Args:
        sources, targets: channel sources[i] of the old network is channel targets[i] of the new one.
        steps: place among the new one's steps -> among the old one's; None: all have the places that they had.
    """
    changed = dict(weights)
    K, planes = new.hidden, new.planes
    steps = {place: place for place in range(min(old.horizon, new.horizon))} if steps is None else steps
    gone, here = torch.tensor(sources, dtype=torch.long), torch.tensor(targets, dtype=torch.long)
    w_in = torch.zeros(4 * K, new.inputs)
    by_channel = weights["w_ih_0"][:, : planes * old.channels].view(4 * K, planes, old.channels)
    w_in[:, : planes * new.channels].view(4 * K, planes, new.channels)[:, :, here] = by_channel[:, :, gone]
    w_in[:, planes * new.channels :] = weights["w_ih_0"][:, planes * old.channels :]
    w_skip = torch.zeros(new.horizon, planes, new.channels)
    changed["w_skip"] = w_skip
    w_head, b_head = torch.zeros(new.horizon, new.channels, K), torch.zeros(new.horizon, new.channels)
    old_head = weights["w_head"].view(old.horizon, old.channels, K), weights["b_head"].view(old.horizon, old.channels)
    for step, before in steps.items():
        w_skip[step][:, here] = weights["w_skip"][before][:, gone]
        w_head[step, here], b_head[step, here] = old_head[0][before, gone], old_head[1][before, gone]
    changed["w_ih_0"] = w_in
    changed["w_head"], changed["b_head"] = w_head.view(new.outputs, K), b_head.view(new.outputs)
    return changed


def is_finite(weights: Weights) -> bool:
    """Whether every number is one."""
    return all(bool(np.isfinite(array).all()) for array in to_arrays(weights).values())


def distance(a: Weights, b: Weights) -> float:
    """How far apart two sets of weights are, relative to the size of the first."""
    apart = sum(float((a[name] - b[name]).square().sum()) for name in a)
    size = sum(float(tensor.square().sum()) for tensor in a.values())
    return float(np.sqrt(apart / size))


def to_arrays(weights: Weights) -> dict[str, F32]:
    """The weights as arrays; not copies."""
    return {name: tensor.numpy() for name, tensor in weights.items()}


def from_arrays(arrays: Mapping[str, F32]) -> Weights:
    """Weights from arrays; not copies."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _uniform(generator: np.random.Generator, size: tuple[int, int], hidden: int) -> Tensor:
    bound = 1.0 / np.sqrt(hidden)
    return torch.from_numpy(generator.uniform(-bound, bound, size).astype(np.float32))
