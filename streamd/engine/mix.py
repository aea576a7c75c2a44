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
from streamd.records import F32, F64, I64

EXPERTS = ("persistence", "seasonal", "regression", "adaptive")
E = len(EXPERTS)
LOSS_FRAMES, REGRET_FRAMES = 333.0, 100.0  # memory
LONGER = 0.1  # forecasts of h steps overlap: for each further step the memory is so much longer
GATE_FRAMES, ERROR_FRAMES = 3333.0, 1000.0
OVERLAP = 0.2  # of a step's errors with the next one's: how much less each further step's tell
POWER = 12.0  # of the inverse error, in the steady half
ALIKE = 0.9  # how far an expert's error at a horizon, relative to the others', is that at all horizons
AGREED = 0.5  # how far the other half's weights are those at all horizons
AT_FIRST = np.array([0.5, 0.5, 0.0, 0.0])  # the weights before any error is known: no regression is of use so soon
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
        loss = self.loss[slots].astype(np.float64) + LEAST
        share = loss / loss.mean(axis=1, keepdims=True)
        share += ALIKE * (share.mean(axis=2, keepdims=True) - share)
        steady = (share.min(axis=1, keepdims=True) / share) ** POWER
        steady /= steady.sum(axis=1, keepdims=True)
        rate = self.largest[slots].astype(np.float64) + self.square[slots]
        with np.errstate(divide="ignore", invalid="ignore"):
            better = np.where(rate > 0, np.maximum(self.regret[slots], 0.0) / rate, 0.0)
            total = better.sum(axis=1, keepdims=True)
            quick = np.where(total > 0, better / total, steady)  # where the mix is better than all, any weights will do
        quick += AGREED * (quick.mean(axis=2, keepdims=True) - quick)
        young = np.exp(-self.judged[slots, None] / YOUNG_FRAMES)
        weights: F64 = 0.5 * (1.0 - young) * (steady + quick) + young * AT_FIRST[:, None, None]
        return weights

    def learn(self, slots: I64, errors: F64, mixed: F64, haste: F64) -> None:
        """Judge the forecasts whose values have come; a strange frame counts too, since weights have to follow.

        Args:
            errors: [B, E, H, C] of the experts, in usual steps; NaN where not known.
            mixed: [B, H, C] of the mix, alike.
            haste: [B] 0..1, right after a drift 1.
        """
        known = np.isfinite(mixed)[:, None] & np.isfinite(errors)
        errors = np.clip(np.where(known, errors, 0.0), -LARGEST, LARGEST)
        mixed = np.clip(np.nan_to_num(mixed), -LARGEST, LARGEST)[:, None]
        longer = 1.0 + LONGER * np.arange(self.sizes["H"])[:, None]
        speed = (1.0 + HASTE * haste)[:, None, None, None] / longer
        lasting = np.where(known, np.exp(-speed / LOSS_FRAMES), 1.0)
        fading = np.where(known, np.exp(-speed / REGRET_FRAMES), 1.0)
        self.judged[slots] += known.all(axis=1)
        self.loss[slots] = lasting * self.loss[slots] + errors * errors
        saved = 2.0 * mixed * (mixed - errors)
        square = saved * saved
        self.regret[slots] = fading * self.regret[slots] + saved
        self.square[slots] = fading * self.square[slots] + square
        self.largest[slots] = np.maximum(fading * self.largest[slots], square)


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
        gain, power = self.gain[slots].astype(np.float64), self.power[slots].astype(np.float64)
        alike = 1.0 + OVERLAP * np.arange(self.sizes["H"])[:, None]
        sure = gain - DOUBT * np.sqrt(self.noise[slots] * alike)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(power > 0, np.clip(sure / power, 0.0, 1.0), 0.0)

    def usual(self, slots: I64) -> F64:
        """The mix's root mean square error, [B, H, C], in usual steps; 1 until one is known, never next to nothing."""
        square, judged = self.square[slots].astype(np.float64), self.judged[slots].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(judged > 0, np.sqrt(np.maximum(square / judged, LEAST)), 1.0)

    def learn(self, slots: I64, corrections: F64, errors: F64, haste: F64) -> None:
        """Judge corrections whose values have come.

        Args:
            corrections: [B, H, C] in usual steps.
            errors: [B, H, C] of the mix without them, alike; NaN where not known.
            haste: [B] 0..1, right after a drift 1.
        """
        known = np.isfinite(errors) & np.isfinite(corrections)
        corrections = np.clip(np.where(known, corrections, 0.0), -LARGEST, LARGEST)
        errors = np.clip(np.where(known, errors, 0.0), -LARGEST, LARGEST)
        speed = (1.0 + HASTE * haste)[:, None, None]
        lasting = np.where(known, np.exp(-speed / GATE_FRAMES), 1.0)
        keep = np.where(known, np.exp(-speed / ERROR_FRAMES), 1.0)
        # one fault that nothing could foretell must not tell, for thousands of frames, what corrections are worth
        far = np.where(self.judged[slots] > 0.0, LARGEST_JUDGED * self.usual(slots), LARGEST)
        saved = corrections * np.clip(errors, -far, far)
        self.gain[slots] = lasting * self.gain[slots] + saved
        self.noise[slots] = lasting * self.noise[slots] + saved * saved
        self.power[slots] = lasting * self.power[slots] + corrections * corrections
        self.square[slots] = keep * self.square[slots] + errors * errors
        self.judged[slots] = keep * self.judged[slots] + known
