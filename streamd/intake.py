"""What is to become of a message of each topic: its source, its stream, and the readings in its payload.

Made anew where the sources change. Knows topics and payloads; not where messages come from, nor who takes readings.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamd.config import Config, ConfigError, Source
from streamd.wire import formats
from streamd.wire.readings import Decoded
from streamd.wire.topics import Router, TemplateError


@dataclass(frozen=True, slots=True)
class Understood:
    """A message, by its topic's source."""

    source: Source
    decoded: Decoded
    joined: bool  # the topic names the channel, so that other messages bring the rest of the reading


class Intake:
    """The sources of a config.

    Raises:
        ConfigError: a topic template is wrong, or there is no source.
    """

    def __init__(self, config: Config) -> None:
        if not config.source:
            raise ConfigError("source: expected at least one [[source]]")
        try:
            self._router = Router(config.source)
        except TemplateError as error:
            raise ConfigError(f"source.topic: {error}") from error
        groups = config.groups()
        self._sources = config.source
        self._decoders = [
            formats.decoder(
                source, max_channels=groups[source.group].max_channels, max_bytes=config.mqtt.max_payload_bytes
            )
            for source in config.source
        ]

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return self._router.filters

    def reads(self, topic: str) -> bool:
        """Whether a source takes messages of this topic."""
        return self._router.match(topic) is not None

    def understand(self, topic: str, payload: bytes) -> Understood | None:
        """What a message holds; None where no source fits its topic."""
        route = self._router.match(topic)
        if route is None:
            return None
        decoded = self._decoders[route.source_index].decode(payload, route.stream, route.channel)
        return Understood(self._sources[route.source_index], decoded, route.channel is not None)
