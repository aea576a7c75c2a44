"""What tests of the engine share."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # the machine that tests is small, and matrices this small gain nothing from more
