"""The message that goes out: topic, payload, and how the broker shall treat it.

Knows no connection and no queue; whoever owns those reads `kind` to tell what may be dropped.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["forecast", "score", "incident", "status"]


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message to publish."""

    topic: str
    payload: bytes  # JSON by the schema of its kind; empty and retained: takes the retained message away
    kind: Kind
    retain: bool
    qos: int  # 0 or 1
