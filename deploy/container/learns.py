"""One step of training, for the build of the image: ends with an error where something that it needs is missing."""

import torch

from streamd.model import network

shape = network.Shape(channels=2, planes=1, extras=0, horizon=3, hidden=8, layers=2)
weights = {name: tensor.requires_grad_() for name, tensor in network.init(shape, seed=0).items()}
state = torch.zeros(shape.layers, 1, shape.hidden)
top, _, _ = network.unroll(weights, shape, torch.ones(1, 4, shape.inputs), state, state)
top.sum().backward()
if not float(weights["w_hh_0"].grad.abs().sum()) > 0.0:
    raise SystemExit("no gradient came through")
