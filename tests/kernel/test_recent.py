"""The kernels of the rings put and find each frame where plain indexing does, and each stream by itself."""

from __future__ import annotations

import numpy as np

from streamd.engine import horizons
from streamd.engine.features import CLOCK, LIMIT, PLANES
from streamd.engine.recent import Recent

H, W, R, S, C, L, K = 4, 6, 8, 4, 3, 2, 3
SIZES = {"C": C, "H": H, "W": W, "R": R, "S": S, "L": L, "K": K}
SLOTS = np.array([4, 0, 2])


def frames(seed, count=30):
    """What is put in, of frames each with its own number: base, inputs, residual and trust, states h and c."""
    random = np.random.default_rng(seed)
    for k in range(count):
        base, residual = random.normal(size=(3, C)), 5.0 * random.normal(size=(3, H, C))
        for array in (base, residual):
            array[random.random(array.shape) < 0.1] = np.nan
        inputs = random.normal(size=(3, len(PLANES) * C + CLOCK)).astype(np.float32)
        states = random.normal(size=(2, 3, L, K)).astype(np.float32)
        yield k + np.array([0, 1, 1000]), (base, inputs, residual, random.random(3)), states


def put(recent, slots, n, frame, states):
    recent.mark(slots, n, *states)
    recent.record(slots, n, *frame)


def test_frames_lie_where_plain_indexing_puts_them():
    ours = Recent(SIZES, slots=6)
    ours.base[[1, 3, 5]] = 9.0  # what others have
    plain = {name: array.copy() for name, array in ours.state_dict().items()}
    for n, frame, states in frames(0):
        now = np.random.default_rng(int(n[0])).normal(size=(3, C))
        before = plain["base"][SLOTS[:, None], (n[:, None] - horizons.steps(W, H)) % R]
        np.testing.assert_array_equal(ours.changes(SLOTS, n, now), now[:, None] - before)
        put(ours, SLOTS, n, frame, states)
        base, inputs, residual, trust = frame
        at = SLOTS, n % R
        plain["base"][at], plain["trust"][at] = base, trust
        plain["residual"][at] = np.clip(residual, -LIMIT, LIMIT)
        for place, name in enumerate(PLANES):
            plain[name][at] = inputs[:, place * C : (place + 1) * C]
        plain["clock"][at] = inputs[:, -CLOCK:]
        starts = n % (R // S) == 0
        at = SLOTS[starts], n[starts] // (R // S) % S
        plain["start_h"][at], plain["start_c"][at] = states[:, starts]
        np.testing.assert_array_equal(ours.inputs(SLOTS, n % R), inputs)
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, plain[name], err_msg=name)


def test_a_stream_lies_there_alone_as_among_others():
    together, alone = Recent(SIZES, slots=6), Recent(SIZES, slots=6)
    for n, frame, states in frames(1):
        put(together, SLOTS, n, frame, states)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            put(alone, SLOTS[one], n[one], [part[one] for part in frame], states[:, one])
            changes = together.changes(SLOTS, n + 1, frame[0])[one]
            assert alone.changes(SLOTS[one], n[one] + 1, frame[0][one]).tobytes() == changes.tobytes()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()


def test_a_window_is_complete_with_a_stride_once_the_ring_has_filled():
    ours = Recent(SIZES, slots=1)
    for n in range(40):
        assert ours.fills(np.array([3, n])) == ((n + 1) % ours.stride == 0 and n + 1 >= R)
