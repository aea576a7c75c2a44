"""Topic templates: which messages are readings, and of which stream and channel.

Knows levels, wildcards and names; not payloads, and nothing of the connection to a broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamd.config import Source
from streamd.wire import names

MAX_TOPIC_BYTES: Final = 65_535  # MQTT's own limit: a two-byte length in front of UTF-8

_STREAM: Final = "{stream}"
_CHANNEL: Final = "{channel}"
_CACHED_ROUTES: Final = 32_768
_CACHED_CHARS: Final = 256  # longer topics are looked up each time, so that odd ones can't fill the memory


class TemplateError(ValueError):
    """A topic template is wrong; the text names the template and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A topic with places for names, such as `plant/{stream}/telemetry` or `site/+/{stream}/{channel}`.

    A level is a literal text, `{stream}` (exactly one, or none where readings name it), `{channel}` (at most one), `+`
    (any one level) or, at the end, `#` (any number of levels, also none).

    >>> template = Template.parse("site/+/{stream}/{channel}")
    >>> template.filter
    'site/+/+/+'
    >>> template.match("site/north/pump-1/flow")
    ('pump-1', 'flow')
    """

    text: str
    filter: str  # what to subscribe to
    levels: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, stream: bool = True, channel: bool = True) -> Template:
        """The template that a text describes; whether it has to name the stream, and may name the channel.

        Raises:
            TemplateError: a placeholder is missing, doubled or unknown, a wildcard is where MQTT forbids it, or the
                text can't be part of a topic.
        """
        levels = tuple(text.split("/"))
        fault = _fault(text, levels, stream, channel)
        if fault is not None:
            raise TemplateError(f"topic template {text!r}: {fault}")
        wild = ("+" if level in (_STREAM, _CHANNEL) else level for level in levels)
        return cls(text, "/".join(wild), levels)

    def match(self, topic: str) -> tuple[str, str | None] | None:
        """Stream and channel (None without a `{channel}`) that a topic names; None where it doesn't fit.

        A topic doesn't fit either where the name of its stream or channel is empty, longer than `names.MAX_NAME`, or
        has control characters in it. No topic raises.
        """
        return self._match(topic.split("/"))

    def _match(self, given: list[str]) -> tuple[str, str | None] | None:
        levels = self.levels
        if levels[-1] == "#":
            levels = levels[:-1]
            if len(given) < len(levels):
                return None
        elif len(given) != len(levels):
            return None
        # MQTT 4.7.2: a wildcard in front doesn't match the broker's own topics. "".startswith is False.
        if given[0].startswith("$") and given[0] != self.levels[0]:
            return None
        stream, channel = "", None
        for want, have in zip(levels, given, strict=False):  # `given` may go on where the template ends in #
            if want == _STREAM:
                stream = have
            elif want == _CHANNEL:
                channel = have
            elif want not in ("+", have):
                return None
        if (_STREAM in levels and not names.is_level(stream)) or (channel is not None and not names.is_level(channel)):
            return None
        return stream, channel


@dataclass(frozen=True, slots=True)
class Route:
    """Where a topic leads."""

    source_index: int  # into the sources that the router was made from
    stream: str  # empty: the readings name it
    channel: str | None  # None: the payload names the channels


class Router:
    """Finds the source, stream and channel of a topic; remembers those found, for topics come again and again."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """A router over sources; the first one that fits a topic gets it.

        Raises:
            TemplateError: the topic of a source is not a template.
        """
        self._templates = tuple(
            Template.parse(source.topic, stream=source.stream is None, channel=source.format == "json")
            for source in sources
        )
        self._found: dict[str, Route] = {}

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to, each filter once, in the order of the sources."""
        return tuple(dict.fromkeys(template.filter for template in self._templates))

    def match(self, topic: str) -> Route | None:
        """The route of a topic; None where no source fits or a name in it can't be used. No topic raises."""
        route = self._found.get(topic)
        if route is None:
            route = self._search(topic)
            if route is not None and len(topic) <= _CACHED_CHARS:
                if len(self._found) >= _CACHED_ROUTES:
                    self._found.clear()
                self._found[topic] = route
        return route

    def _search(self, topic: str) -> Route | None:
        if len(topic) > MAX_TOPIC_BYTES:
            return None
        given = topic.split("/")
        for index, template in enumerate(self._templates):
            match = template._match(given)
            if match is not None:
                return Route(index, *match)
        return None


def _fault(text: str, levels: tuple[str, ...], stream: bool, channel: bool) -> str | None:
    """What is wrong with a template, in words; None: nothing."""
    if not names.is_printable(text):
        return "control characters and lone surrogates can't be part of a topic"
    if len(text.encode()) > MAX_TOPIC_BYTES:
        return f"longer than {MAX_TOPIC_BYTES} bytes"
    if levels[0] == "$share":
        return "a shared subscription hands the readings of one stream to several members, each with half of its state"
    if stream and levels.count(_STREAM) != 1:
        return f"expected exactly one level {_STREAM}, found {levels.count(_STREAM)}"
    if not stream and _STREAM in levels:
        return f"expected no level {_STREAM}, as the source's `stream` says where readings name it"
    if not channel and _CHANNEL in levels:
        return f'expected no level {_CHANNEL}, as only payloads of format "json" leave it to the topic'
    if levels.count(_CHANNEL) > 1:
        return f"expected at most one level {_CHANNEL}, found {levels.count(_CHANNEL)}"
    for position, level in enumerate(levels, start=1):
        if level in (_STREAM, _CHANNEL, "+"):
            continue
        if level == "#":
            if position < len(levels):
                return "# may only be the last level"
        elif "{" in level or "}" in level:
            return f"level {position} is {level!r}: only {_STREAM} and {_CHANNEL} are known, each as a whole level"
        elif "+" in level or "#" in level:
            return f"level {position} is {level!r}: + and # must be a whole level"
    return None
