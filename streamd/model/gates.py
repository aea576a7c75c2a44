"""What the gates of the LSTM did over some frames of one stream: how much each cell took in, kept and showed.

Computed again from the state before the first frame and the inputs, when somebody asks; nothing of it is kept. Knows
scaled numbers only; the formulas are those of `network.step`, but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from streamd.model.network import Shape, Weights
from streamd.records import F32


@dataclass(frozen=True, slots=True)
class Gates:
    """By frame, layer and cell, each [T, L, K]."""

    taken: F32  # input gate, 0..1: how much of what is new goes into the cell
    kept: F32  # forget gate, 0..1: how much of the cell is left after the frame
    shown: F32  # output gate, 0..1: how much of the cell the next layer sees
    cell: F32  # after the frame
    hidden: F32  # after the frame


def gates(weights: Weights, shape: Shape, x: F32, h: F32, c: F32) -> Gates:
    """The gates over frames in a row.

    Args:
        x: [T, inputs] of the frames; h, c: [L, K] before the first of them.
    """
    found = [np.empty((len(x), shape.layers, shape.hidden), np.float32) for _ in range(5)]
    taken, kept, shown, cells, hidden = found
    with torch.inference_mode():
        for t in range(len(x)):
            below = torch.from_numpy(x[t : t + 1])
            for layer in range(shape.layers):
                sums = torch.addmm(weights[f"b_{layer}"], below, weights[f"w_ih_{layer}"].t())
                before_h, before_c = (h, c) if t == 0 else (hidden[t - 1], cells[t - 1])
                sums.addmm_(torch.from_numpy(before_h[None, layer]), weights[f"w_hh_{layer}"].t())
                i, f, g, o = sums.chunk(4, dim=1)
                i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
                cell = (f * torch.from_numpy(before_c[None, layer])).addcmul_(i, g.tanh())
                below = o * torch.tanh(cell)
                for array, tensor in zip(found, (i, f, o, cell, below), strict=True):
                    array[t, layer] = tensor.numpy()[0]
    return Gates(taken, kept, shown, cells, hidden)
