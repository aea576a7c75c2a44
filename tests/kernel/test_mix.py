"""The kernels of mix and gate do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import horizons, mix
from streamd.engine.mix import E, Gate, Mix
from streamd.engine.profile import FULL

SIZES = {**FULL, "H": 5, "W": 9, "C": 3}
AHEAD = horizons.steps(9, 5) - 1  # beyond the first, of a compact state
SLOTS = np.array([4, 0, 2])


def frames(seed, count=40):
    """Errors of experts and mix and haste, some unknown, some far off."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        errors = random.standard_t(1.5, size=(len(SLOTS), E, 5, 3)) * 3.0
        mixed = random.standard_t(1.5, size=(len(SLOTS), 5, 3))
        errors[random.random(errors.shape) < 0.1] = np.nan
        mixed[random.random(mixed.shape) < 0.1] = np.inf
        yield errors, mixed, random.random(len(SLOTS)).round()


def limited(errors, known, most=mix.LARGEST):
    return np.clip(np.where(known, errors, 0.0), -most, most).astype(np.float32)


def plainly_learnt(state, errors, mixed, haste):
    known = np.isfinite(mixed)[:, None] & np.isfinite(errors)
    error, ours = limited(errors, known), limited(mixed, np.isfinite(mixed))[:, None]
    speed = ((1.0 + mix.HASTE * haste)[:, None] / (1.0 + mix.LONGER * AHEAD))[:, None, :, None]
    lasting, fading = (
        np.where(known, np.exp(-speed / memory), 1.0).astype(np.float32)
        for memory in (mix.LOSS_FRAMES, mix.REGRET_FRAMES)
    )
    saved = np.where(known, np.float32(2.0) * ours * (ours - error), np.float32(0.0))
    state["loss"] = lasting * state["loss"] + error * error
    state["regret"] = fading * state["regret"] + saved
    state["square"] = fading * state["square"] + saved * saved
    state["largest"] = np.maximum(fading * state["largest"], saved * saved)
    state["judged"] = state["judged"] + known.all(axis=1)


def plain_weights(state):
    def agree(share, how_far):
        return share + how_far * (share.mean(axis=2, keepdims=True) - share)

    loss = state["loss"] + mix.LEAST
    share = agree(loss / loss.sum(axis=1, keepdims=True), mix.ALIKE)
    steady = (share.min(axis=1, keepdims=True) / share) ** 12
    steady /= steady.sum(axis=1, keepdims=True)
    rate = state["largest"] + state["square"]
    gained = np.maximum(state["regret"], 0.0) / np.where(rate > 0, rate, np.inf)
    total = gained.sum(axis=1, keepdims=True)
    quick = agree(np.where(total > 0, gained / np.where(total > 0, total, 1.0), steady), mix.AGREED)
    young = np.exp(-state["judged"][:, None] / mix.YOUNG_FRAMES)
    weights = 0.5 * (quick + steady) * (1.0 - young) + young * mix.AT_FIRST[:, None, None]
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_those_of_the_plain_formula(seed):
    ours = Mix(SIZES, slots=6)
    plain = {name: array[SLOTS].astype(np.float64) for name, array in ours.state_dict().items()}
    for errors, mixed, haste in frames(seed):
        ours.learn(SLOTS, errors, mixed, haste)
        plainly_learnt(plain, errors, mixed, haste)
        np.testing.assert_allclose(ours.weights(SLOTS), plain_weights(plain), atol=2e-5)
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array[SLOTS], plain[name], rtol=1e-4, atol=1e-4 * plain[name].max())


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_corrections_are_those_of_the_plain_formula(seed):
    ours = Gate(SIZES, slots=6)
    gain, noise, power, square, judged = (np.zeros((3, 5, 3)) for _ in range(5))
    for errors, mixed, haste in frames(seed):
        corrections = errors[:, 0]
        ours.learn(SLOTS, corrections, mixed, haste)
        known = np.isfinite(corrections) & np.isfinite(mixed)
        correction, error = limited(corrections, known), limited(mixed, known)
        speed = (1.0 + mix.HASTE * haste)[:, None, None]
        lasting, keep = (
            np.where(known, np.exp(-speed / memory), 1.0) for memory in (mix.GATE_FRAMES, mix.ERROR_FRAMES)
        )
        usual = np.sqrt(np.maximum(square / np.where(judged > 0, judged, 1.0), mix.LEAST))
        far = np.where(judged > 0, mix.LARGEST_JUDGED * usual, mix.LARGEST)
        saved = correction * np.clip(error, -far, far)
        gain, noise = lasting * gain + saved, lasting * noise + saved**2
        power = lasting * power + correction**2
        square, judged = keep * square + error**2, keep * judged + known
        sure = gain - mix.DOUBT * np.sqrt(noise * (1.0 + mix.OVERLAP * AHEAD)[:, None])
        share = np.clip(np.maximum(sure, 0.0) / np.where(power > 0, power, np.inf), 0.0, 1.0)
        np.testing.assert_allclose(ours.share(SLOTS), share, atol=2e-5)
        usual = np.where(judged > 0, np.sqrt(np.maximum(square / np.maximum(judged, 1e-9), mix.LEAST)), 1.0)
        np.testing.assert_allclose(ours.usual(SLOTS), usual, rtol=1e-4)
        np.testing.assert_array_equal(ours.usual(SLOTS, 2), ours.usual(SLOTS)[:, :2])


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Mix(SIZES, slots=6), Mix(SIZES, slots=6)
    for errors, mixed, haste in frames(9):
        together.learn(SLOTS, errors, mixed, haste)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.learn(SLOTS[one], errors[one], mixed[one], haste[one])
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
    assert together.weights(SLOTS)[1:2].tobytes() == alone.weights(SLOTS[1:2]).tobytes()


def test_slots_that_are_not_in_the_batch_stay_as_they_are():
    ours = Mix(SIZES, slots=6)
    for errors, mixed, haste in frames(3):
        ours.learn(SLOTS, errors, mixed, haste)
    assert not any(array[[1, 3, 5]].any() for array in ours.state_dict().values())


def test_the_size_of_errors_is_the_mean_of_those_that_are_known_in_usual_ones():
    ours, random = Gate(SIZES, slots=6), np.random.default_rng(2)
    for errors, mixed, haste in frames(4):
        ours.learn(SLOTS, errors[:, 0], mixed, haste)
    off, unit = random.normal(size=(3, 3)) * 3.0, random.random((3, 3))
    off[0, 1], off[2] = np.nan, np.inf
    size = np.abs(off / unit) / ours.usual(SLOTS, 1)[:, 0]
    size = np.where(np.isfinite(size) & (ours.judged[SLOTS, 0] >= 20.0), np.minimum(size, 3.0), np.nan)
    found = ours.size(SLOTS, off, unit, 20.0, 3.0)
    np.testing.assert_allclose(found[:2], np.nanmean(size[:2], axis=1))
    assert np.isnan(found[2])
