"""Which texts may name a stream or a channel.

Knows characters and lengths; not where a name came from.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME: Final = 256  # characters

# C0, DEL and C1 would break logs, metrics and terminals; a lone surrogate can't be written as UTF-8 again.
_ODD: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_LEVEL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/+#]")


def is_printable(text: str) -> bool:
    """Whether a text has neither control characters nor lone surrogates.

    >>> is_printable("pump 1"), is_printable("pump\\n1")
    (True, False)
    """
    return _ODD.search(text) is None


def is_channel(text: str) -> bool:
    """Whether a text may name a channel that comes from a field of a payload: 1 to `MAX_NAME` printable characters.

    >>> is_channel("motor.rpm#2"), is_channel("")
    (True, False)
    """
    return 0 < len(text) <= MAX_NAME and is_printable(text)


def is_level(text: str) -> bool:
    """Whether a text may name a stream or a channel that is one level of a topic: a channel name without /, + and #.

    >>> is_level("pump-1"), is_level("pump/1"), is_level("+")
    (True, False, False)
    """
    return 0 < len(text) <= MAX_NAME and _NOT_IN_LEVEL.search(text) is None
