"""The message that goes out: topic, payload, and how the broker shall treat it.

Knows no connection and no queue; whoever owns those reads `kind` to tell what may be dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["forecast", "score", "incident", "status"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message to publish."""

    topic: str
    payload: bytes  # JSON by the schema of its kind; empty and retained: takes the retained message away
    kind: Kind
    retain: bool
    qos: int  # 0 or 1
