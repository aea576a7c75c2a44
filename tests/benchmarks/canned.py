"""`streamd` with an engine that looks its outcomes up: what is left is all that a reading costs outside of the engine.

    python tests/benchmarks/canned.py run -c FILE

Numbers have all their digits, as real ones do. Slots, times and sequence numbers are the engine's own; nothing is
forecast, judged or learned. A state made so is of no use: it needs a folder of its own.
"""

from __future__ import annotations

import numpy as np

from streamd.__main__ import main
from streamd.engine.engine import Engine
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.records import F64, Batch, Outcome

_random = np.random.default_rng(1)


def apply(self: Engine, batch: Batch) -> Outcome:
    """In place of the engine's own."""
    slots = self.state.open(batch.streams)
    came = self.timing.advance(slots, batch.times)
    rows, width, horizon = len(batch), len(self.channels), self.settings.horizon_steps
    ahead = (rows, horizon, width)
    mean = 20.0 + _random.random(ahead)
    self.state.frames += rows
    return Outcome(
        channels=self.channels,
        streams=batch.streams,
        seq=came.seq,
        times=batch.times,
        interval=came.interval,
        mean=mean,
        lower=mean - _numbers(*ahead),
        upper=mean + _numbers(*ahead),
        score=0.3 + 0.05 * _numbers(rows),  # as calm as most are
        terms=0.9 * _numbers(rows, len(TERMS)),
        channel_score=0.9 * _numbers(rows, width),
        weights=np.zeros((rows, len(EXPERTS) + 1, horizon, width)),
        experts=np.zeros((rows, len(EXPERTS), horizon, width)),
        levels=np.stack([mean, mean])[None].swapaxes(0, 2),
        drifted=np.zeros(rows, np.bool_),
        warming=np.minimum(came.seq / 300.0, 1.0),
    )


def _numbers(*shape: int) -> F64:
    return _random.random(shape)


if __name__ == "__main__":
    Engine.apply = apply  # type: ignore[method-assign]
    main()
