"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.mosquitto import Mosquitto, MosquittoMissingError


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start a real broker: `mosquitto()`, or with the keywords of `Mosquitto`; it is stopped after the test."""
    brokers: list[Mosquitto] = []

    def start(**options: Any) -> Mosquitto:
        try:
            broker = Mosquitto(tmp_path / f"mosquitto-{len(brokers)}", **options)
            brokers.append(broker)
            return broker.start()
        except MosquittoMissingError as error:
            pytest.fail(str(error))

    yield start
    for broker in brokers:
        broker.stop()
