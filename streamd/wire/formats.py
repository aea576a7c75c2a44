"""The formats of payloads by their names in the config.

Knows which decoder reads which; whoever adds a format adds its module, its line here and its word in `config.Source`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from streamd.config import Source
from streamd.wire.columns import ColumnsDecoder
from streamd.wire.line import LineDecoder
from streamd.wire.readings import MAX_BYTES, Decoded, Decoder


class Format(Protocol):
    """What every format can do."""

    def decode(self, payload: bytes, stream: str, channel: str | None) -> Decoded:
        """The readings in a payload, and a reason for each part that could not be used; never raises."""


_FORMATS: Final[dict[str, Callable[[Source, int, int], Format]]] = {
    "json": Decoder,
    "columns": ColumnsDecoder,
    "line": LineDecoder,
}


def decoder(source: Source, max_channels: int, max_bytes: int = MAX_BYTES) -> Format:
    """The decoder for payloads that look as `source` says, with limits on channels per reading and on size."""
    return _FORMATS[source.format](source, max_channels, max_bytes)
