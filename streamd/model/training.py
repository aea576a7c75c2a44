"""Truncated BPTT: from weights, optimizer state and windows to a candidate.

A pure function: the same job gives the same candidate, on any thread, to the bit. It decides nothing: whether a
candidate is installed is the engine's business.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamd.model.network import Shape, Weights, head, unroll
from streamd.records import F32

BETAS = (0.9, 0.999)
EPSILON = 1e-8
HUBER = 3.0  # in usual errors: what lies further off pulls no harder


@dataclass(frozen=True, slots=True)
class Windows:
    """Recorded stretches of streams to learn from: W windows of T frames."""

    x: F32  # [W, T, inputs]
    h: F32  # [W, L, K] hidden state before the first frame
    c: F32  # [W, L, K]
    target: F32  # [W, T, H, C] what the mix was off for 1..H steps, in its usual errors; 0 where not known
    weight: F32  # [W, T, H, C] 0 where the target is not known, or not trusted


@dataclass(frozen=True, slots=True)
class Optimizer:
    """State of Adam (Kingma & Ba 2015)."""

    step: int
    first: Weights  # running mean of the gradient
    second: Weights  # running mean of its square


@dataclass(frozen=True, slots=True)
class Job:
    """All that a training job depends on."""

    shape: Shape
    weights: Weights
    optimizer: Optimizer
    batches: tuple[Windows, ...]  # one gradient step each
    held_back: Windows  # recent windows that are not trained on
    burn_in: int  # frames that move the state without gradient
    learning_rate: float
    clip_norm: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """New weights, and what speaks for or against them."""

    weights: Weights
    optimizer: Optimizer
    loss: float  # of the trained windows, mean over the steps, before each
    held_back_before: float
    held_back_after: float
    steps: int


def fresh_optimizer(weights: Weights) -> Optimizer:
    """Adam that has seen nothing."""
    zeros = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    return Optimizer(0, zeros, {name: tensor.clone() for name, tensor in zeros.items()})


def train(job: Job) -> Candidate:
    """Carry out a job: one clipped Adam step per batch of windows."""
    parameters = {name: tensor.clone().requires_grad_(True) for name, tensor in job.weights.items()}
    first = {name: tensor.clone() for name, tensor in job.optimizer.first.items()}
    second = {name: tensor.clone() for name, tensor in job.optimizer.second.items()}
    steps = job.optimizer.step
    losses = []
    for windows in job.batches:
        loss = _loss(parameters, job.shape, windows, job.burn_in)
        losses.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        steps += 1
        _adam(parameters, gradients, first, second, steps, job.learning_rate, job.clip_norm)
    weights = {name: tensor.detach() for name, tensor in parameters.items()}
    with torch.inference_mode():
        before = float(_loss(job.weights, job.shape, job.held_back, job.burn_in))
        after = float(_loss(weights, job.shape, job.held_back, job.burn_in))
    mean = sum(losses) / len(losses)
    return Candidate(weights, Optimizer(steps, first, second), mean, before, after, len(losses))


def _loss(weights: Weights, shape: Shape, windows: Windows, burn_in: int) -> Tensor:
    """Weighted Huber loss of the frames after the burn-in."""
    x = torch.from_numpy(windows.x)
    h = torch.from_numpy(windows.h).transpose(0, 1).contiguous()
    c = torch.from_numpy(windows.c).transpose(0, 1).contiguous()
    if burn_in:
        with torch.no_grad():
            _, h, c = unroll(weights, shape, x[:, :burn_in], h, c)
    top, _, _ = unroll(weights, shape, x[:, burn_in:], h, c)
    target = torch.from_numpy(windows.target[:, burn_in:])
    weight = torch.from_numpy(windows.weight[:, burn_in:])
    error = torch.nn.functional.huber_loss(
        head(weights, shape, top, x[:, burn_in:]), target, reduction="none", delta=HUBER
    )
    return (error * weight).sum() / weight.sum().clamp(min=1.0)


def _adam(
    parameters: Weights,
    gradients: tuple[Tensor, ...],
    first: Weights,
    second: Weights,
    step: int,
    learning_rate: float,
    clip_norm: float,
) -> None:
    norm = torch.sqrt(sum((g.square().sum() for g in gradients), torch.zeros(())))
    scale = torch.clamp(clip_norm / (norm + EPSILON), max=1.0)
    rate = learning_rate / (1.0 - BETAS[0] ** step)
    with torch.no_grad():
        for name, gradient in zip(parameters, gradients, strict=True):
            clipped = gradient * scale
            first[name].lerp_(clipped, 1.0 - BETAS[0])
            second[name].mul_(BETAS[1]).addcmul_(clipped, clipped, value=1.0 - BETAS[1])
            root = (second[name] / (1.0 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
            parameters[name].addcdiv_(first[name], root, value=-rate)
