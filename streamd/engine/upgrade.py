"""Arrays of older layouts, in the shape of the present one: what was renamed or reshaped between them.

Columns that were only added or dropped need nothing here. Knows layouts, not settings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamd.records import Array


def upgrade(arrays: Mapping[str, Array], layout: int) -> dict[str, Array]:
    """Streams' rows [n, ...] by full names, as the present layout would have them."""
    changed = dict(arrays)
    if layout < 2:
        # one multiplier for both sides and one coverage became one for each
        both = np.repeat(changed["intervals.multiplier"][:, None, None], 2, axis=2)
        changed["intervals.multiplier"] = both
    return changed


def network_changed(layout: int) -> bool:
    """Whether the network of that layout took other inputs, so that neither weights nor windows are of use."""
    return layout < 2
