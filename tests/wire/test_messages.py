"""The message that goes out."""

from __future__ import annotations

import pytest

from streamd.wire.messages import Message


def test_a_message_can_not_be_changed_on_its_way() -> None:
    message = Message("streamd/status", b"{}", "status", retain=True, qos=1)
    with pytest.raises(AttributeError):
        message.qos = 0  # type: ignore[misc]
    assert not hasattr(message, "__dict__")
