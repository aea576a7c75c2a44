"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.daemon import Bystander, Daemon
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


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A real broker that lets everybody in."""
    return mosquitto()


@pytest.fixture
def bystander(broker: Mosquitto) -> Iterator[Bystander]:
    """Somebody on that broker."""
    one = Bystander(broker.port)
    yield one
    one.close()


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """A daemon that is not started, from its config: `daemons(config)`; with a folder's `name` or a `program`."""
    made: list[Daemon] = []

    def make(config: str, name: str = "daemon", **options: Any) -> Daemon:
        made.append(Daemon(tmp_path / name, config, **options))
        return made[-1]

    yield make
    for daemon in made:
        daemon.end()
