"""The experts' forecasts, mixed: weights per stream, channel and horizon that follow from past error alone.

Two ways of weighing, half each. One by the relative discounted squared error, steady, in which the horizons of a
channel tell of each other: a weight from one horizon alone is a guess for long, as its errors overlap. The other is
ML-Poly with the gradient trick (Gaillard, Stoltz & van Erven 2014, arXiv 1402.2044, algorithm 1), discounted: it has a
bounded regret against the best fixed mixture and finds weights that cancel errors. A forecast for t + h counts when
t + h has come.
Knows forecasts and errors, in usual steps; not who made them.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from streamd.engine import horizons
from streamd.engine.rows import Rows, column
from streamd.kernel import mix as kernel
from streamd.records import F32, F64, I64

EXPERTS = ("persistence", "seasonal", "regression", "adaptive")
E = len(EXPERTS)
FEW = 3  # of a compact state: the adaptive regression is what is missed least
LOSS_FRAMES, REGRET_FRAMES = 333.0, 100.0  # memory
LONGER = 0.1  # forecasts of h steps overlap: for each further step the memory is so much longer
GATE_FRAMES, ERROR_FRAMES = 3333.0, 1000.0
GATE_KEEPS = (math.exp(-1.0 / GATE_FRAMES), math.exp(-1.0 / ERROR_FRAMES))
OVERLAP = 0.2  # of a step's errors with the next one's: how much less each further step's tell
ALIKE = 0.9  # how far an expert's error at a horizon, relative to the others', is that at all horizons
AGREED = 0.5  # how far the other half's weights are those at all horizons
AT_FIRST = np.array(
    [0.5, 0.5, 0.0, 0.0], np.float32
)  # the weights before any error is known: no regression is of use so soon
YOUNG_FRAMES = 8.0  # judged, after which little is left of these
LARGEST = 30.0  # usual steps: a larger error counts as one of so many
LARGEST_JUDGED = 5.0  # of the mix's usual errors: by a larger one a correction is judged as by one of so many
DOUBT = 0.7  # standard errors that are taken off what a correction seems to be worth
HASTE = 1.0  # times faster, on top, that is forgotten right after a drift
LEAST = 1e-6  # squared usual steps: experts that are so near to perfect are equals


class Mix(Rows, loops=kernel.Mix):
    """What the weights follow from."""

    loops: kernel.Mix

    loss: F32 = column("E", "H", "C", dtype=np.float32)  # discounted sum of squared errors
    regret: F32 = column(
        "E", "H", "C", dtype=np.float32
    )  # discounted sum of what following the expert would have saved
    square: F32 = column("E", "H", "C", dtype=np.float32)  # ... of its squares
    largest: F32 = column("E", "H", "C", dtype=np.float32)  # ... the largest square
    judged: F32 = column("H", "C", dtype=np.float32)  # forecasts so far

    def weights(self, slots: I64) -> F64:
        """What each expert counts, [B, E, H, C]; they add to one."""
        weights = np.empty((len(slots), *self.loss.shape[1:]))
        self.loops.weights(slots, AT_FIRST[: self.sizes["E"]], YOUNG_FRAMES, LEAST, ALIKE, AGREED, weights)
        return weights

    def learn(self, slots: I64, errors: F64, mixed: F64, haste: F64) -> None:
        """Judge the forecasts whose values have come; a strange frame counts too, since weights have to follow.

        Args:
            errors: [B, E, H, C] of the experts, in usual steps; NaN where not known.
            mixed: [B, H, C] of the mix, alike.
            haste: [B] 0..1, right after a drift 1.
        """
        lasting, fading = _kept(self.sizes.get("W", self.sizes["H"]), self.sizes["H"])
        self.loops.learn(slots, errors, mixed, haste, HASTE, lasting, fading, LARGEST)


@functools.cache
def _kept(horizon: int, judged: int) -> tuple[F64, F64]:
    """What one frame leaves of the loss and of the regret at each step that is judged, [H] both."""
    speed = 1.0 / (1.0 + LONGER * (horizons.steps(horizon, judged) - 1))
    return np.exp(-speed / LOSS_FRAMES), np.exp(-speed / REGRET_FRAMES)


class Gate(Rows, loops=kernel.Gate):
    """How far the network's correction of the mix is followed: as far as it would surely have been good in the past."""

    loops: kernel.Gate

    gain: F32 = column("H", "C", dtype=np.float32)  # discounted sum of correction x the mix's error
    noise: F32 = column("H", "C", dtype=np.float32)  # ... of the squares of that
    power: F32 = column("H", "C", dtype=np.float32)  # ... of correction^2
    square: F32 = column("H", "C", dtype=np.float32)  # ... of the mix's squared error
    judged: F32 = column("H", "C", dtype=np.float32)  # ... of ones

    def share(self, slots: I64) -> F64:
        """[B, H, C], 0..1: the least-squares factor for the past, less most of the standard error of it.

        Forecasts of h steps overlap, so that their errors are alike: the standard error grows with the horizon.
        """
        share = np.empty((len(slots), *self.gain.shape[1:]))
        self.loops.share(slots, horizons.of(self.sizes), DOUBT, OVERLAP, share)
        return share

    def usual(self, slots: I64, steps: int | None = None) -> F64:
        """The mix's root mean square error, [B, H, C], in usual steps; 1 until one is known, never next to nothing.

        Args:
            steps: of the first so many horizons; of all.
        """
        usual = np.empty((len(slots), steps or self.sizes["H"], self.sizes["C"]))
        self.loops.usual(slots, LEAST, usual)
        return usual

    def size(self, slots: I64, errors: F64, usual: F64, sure: float, most: float) -> F64:
        """How large one-step errors of the mix are beside its usual ones, mean over channels, [B].

        Args:
            errors: [B, C]; NaN where not known.
            usual: [B, C] usual step.
            sure: frames that what is usual has to come from.
            most: a larger one counts as one of so many usual ones.

        Returns:
            NaN where there is no channel of which this is known.
        """
        size = np.empty(len(slots))
        self.loops.size(slots, errors, usual, sure, most, LEAST, size)
        return size

    def learn(self, slots: I64, corrections: F64, errors: F64, haste: F64) -> None:
        """Judge corrections whose values have come.

        Args:
            corrections: [B, H, C] in usual steps.
            errors: [B, H, C] of the mix without them, alike; NaN where not known.
            haste: [B] 0..1, right after a drift 1.
        """
        # one fault that nothing could foretell must not tell, for thousands of frames, what corrections are worth
        bounds = (LARGEST, LARGEST_JUDGED, LEAST)
        self.loops.learn(slots, corrections, errors, haste, HASTE, *GATE_KEEPS, *bounds)
