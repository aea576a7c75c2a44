"""The experts' forecasts, mixed: weights per stream, channel and horizon that follow from past error alone.

Two ways of weighing, half each. One by the relative discounted squared error, steady, in which the horizons of a
channel tell of each other: a weight from one horizon alone is a guess for long, as its errors overlap. The other is
ML-Poly with the gradient trick (Gaillard, Stoltz & van Erven 2014, arXiv 1402.2044, algorithm 1), discounted: it has a
bounded regret against the best fixed mixture and finds weights that cancel errors. A forecast for t + h counts when
t + h has come.
Knows forecasts and errors, in usual steps; not who made them.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F32, F64, I64, Bool

EXPERTS = ("persistence", "seasonal", "regression", "adaptive")
E = len(EXPERTS)
LOSS_FRAMES, REGRET_FRAMES = 333.0, 100.0  # memory
LONGER = 0.1  # forecasts of h steps overlap: for each further step the memory is so much longer
GATE_FRAMES, ERROR_FRAMES = 3333.0, 1000.0
OVERLAP = 0.2  # of a step's errors with the next one's: how much less each further step's tell
POWER = 12  # of the inverse error, in the steady half
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


class Mix(Rows):
    """What the weights follow from."""

    loss: F32 = column(E, "H", "C", dtype=np.float32)  # discounted sum of squared errors
    regret: F32 = column(E, "H", "C", dtype=np.float32)  # discounted sum of what following the expert would have saved
    square: F32 = column(E, "H", "C", dtype=np.float32)  # ... of its squares
    largest: F32 = column(E, "H", "C", dtype=np.float32)  # ... the largest square
    judged: F32 = column("H", "C", dtype=np.float32)  # forecasts so far

    def weights(self, slots: I64) -> F64:
        """What each expert counts, [B, E, H, C]; they add to one."""
        loss = self.loss[slots] + np.float32(LEAST)
        share = loss / loss.sum(axis=1, keepdims=True)
        share += ALIKE * (share.sum(axis=2, keepdims=True) / np.float32(self.sizes["H"]) - share)
        steady = _to_the_power(share.min(axis=1, keepdims=True) / share)
        steady /= steady.sum(axis=1, keepdims=True)
        rate = self.largest[slots] + self.square[slots]
        gained = np.maximum(self.regret[slots], 0.0) / np.where(rate > 0, rate, np.float32(np.inf))
        total = gained.sum(axis=1, keepdims=True)
        ahead = total > 0  # where the mix is better than all, any weights will do
        quick = np.where(ahead, gained / np.where(ahead, total, np.float32(1.0)), steady)
        quick += AGREED * (quick.sum(axis=2, keepdims=True) / np.float32(self.sizes["H"]) - quick)
        young = np.exp(self.judged[slots, None] / np.float32(-YOUNG_FRAMES))
        quick += steady
        quick *= np.float32(0.5) * (np.float32(1.0) - young)
        quick += young * AT_FIRST[:, None, None]
        weights: F64 = quick.astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def learn(self, slots: I64, errors: F64, mixed: F64, haste: F64) -> None:
        """Judge the forecasts whose values have come; a strange frame counts too, since weights have to follow.

        Args:
            errors: [B, E, H, C] of the experts, in usual steps; NaN where not known.
            mixed: [B, H, C] of the mix, alike.
            haste: [B] 0..1, right after a drift 1.
        """
        known = np.isfinite(mixed)[:, None] & np.isfinite(errors)
        error, ours = _limited(errors, known), _limited(mixed, np.isfinite(mixed))[:, None]
        speed = (1.0 + HASTE * haste)[:, None] / (1.0 + LONGER * np.arange(self.sizes["H"]))
        lasting, fading = (np.exp(-speed / memory).astype(np.float32) for memory in (LOSS_FRAMES, REGRET_FRAMES))
        one = np.float32(1.0)
        keep = np.where(known, fading[:, None, :, None], one)
        self.judged[slots] += known.all(axis=1)
        self.loss[slots] = np.where(known, lasting[:, None, :, None], one) * self.loss[slots] + error * error
        saved = 2.0 * ours * (ours - error)
        square = saved * saved
        self.regret[slots] = keep * self.regret[slots] + saved
        self.square[slots] = keep * self.square[slots] + square
        self.largest[slots] = np.maximum(keep * self.largest[slots], square)


def _limited(errors: F64, known: Bool) -> F32:
    """Errors no larger than they may count, 0 where nothing is known."""
    limited: F32 = np.minimum(np.maximum(np.where(known, errors, 0.0), -LARGEST), LARGEST).astype(np.float32)
    return limited


def _to_the_power(base: F32) -> F32:
    """base^POWER, several times as fast as the general one."""
    square = base * base
    cube = square * base
    sixth = cube * cube
    return sixth * sixth


class Gate(Rows):
    """How far the network's correction of the mix is followed: as far as it would surely have been good in the past."""

    gain: F32 = column("H", "C", dtype=np.float32)  # discounted sum of correction x the mix's error
    noise: F32 = column("H", "C", dtype=np.float32)  # ... of the squares of that
    power: F32 = column("H", "C", dtype=np.float32)  # ... of correction^2
    square: F32 = column("H", "C", dtype=np.float32)  # ... of the mix's squared error
    judged: F32 = column("H", "C", dtype=np.float32)  # ... of ones

    def share(self, slots: I64) -> F64:
        """[B, H, C], 0..1: the least-squares factor for the past, less most of the standard error of it.

        Forecasts of h steps overlap, so that their errors are alike: the standard error grows with the horizon.
        """
        gain, power = self.gain[slots], self.power[slots]
        alike = (1.0 + OVERLAP * np.arange(self.sizes["H"], dtype=np.float32))[:, None]
        sure = gain - np.float32(DOUBT) * np.sqrt(self.noise[slots] * alike)
        share = np.maximum(sure, 0.0) / np.where(power > 0, power, np.float32(np.inf))
        return np.minimum(share, 1.0).astype(np.float64)

    def usual(self, slots: I64, steps: slice = slice(None)) -> F64:
        """The mix's root mean square error, [B, H, C], in usual steps; 1 until one is known, never next to nothing.

        Args:
            steps: which of the horizons; all of them.
        """
        square, judged = self.square[slots, steps].astype(np.float64), self.judged[slots, steps]
        known = judged > 0
        return np.where(known, np.sqrt(np.maximum(square / np.where(known, judged, 1.0), LEAST)), 1.0)

    def learn(self, slots: I64, corrections: F64, errors: F64, haste: F64) -> None:
        """Judge corrections whose values have come.

        Args:
            corrections: [B, H, C] in usual steps.
            errors: [B, H, C] of the mix without them, alike; NaN where not known.
            haste: [B] 0..1, right after a drift 1.
        """
        known = np.isfinite(errors) & np.isfinite(corrections)
        correction, error = _limited(corrections, known), _limited(errors, known)
        speed = (1.0 + HASTE * haste)[:, None, None]
        lasting, keep = (
            np.where(known, np.exp(-speed / memory).astype(np.float32), np.float32(1.0))
            for memory in (GATE_FRAMES, ERROR_FRAMES)
        )
        judged = self.judged[slots]
        # one fault that nothing could foretell must not tell, for thousands of frames, what corrections are worth
        far = np.where(judged > 0.0, LARGEST_JUDGED * self.usual(slots), LARGEST).astype(np.float32)
        saved = correction * np.minimum(np.maximum(error, -far), far)
        self.gain[slots] = lasting * self.gain[slots] + saved
        self.noise[slots] = lasting * self.noise[slots] + saved * saved
        self.power[slots] = lasting * self.power[slots] + correction * correction
        self.square[slots] = keep * self.square[slots] + error * error
        self.judged[slots] = keep * judged + known
