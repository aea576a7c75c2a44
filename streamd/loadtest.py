"""Puts a known load on a running daemon and measures what comes back.

Publishes readings of made-up streams at a rate, listens for their forecasts and scores, and asks the daemon's
`/metrics` what it took. Bounded in time. Knows a config's first source, the broker and topics; nothing of how the
daemon works. The streams stay known to the daemon that was tested.
"""

from __future__ import annotations

import ipaddress
import math
import ssl
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion

from streamd.config import Config, Mqtt, Source, read_secret

SETTLE_S = 15.0  # after the last reading, for what is still on its way
TICK_S = 0.01  # of the publisher
AHEAD = 5000  # messages that the broker may leave unacknowledged before the publisher waits: packet ids end at 65,535
CONNECT_S = 10.0
METRICS_S = 30.0
SHARES = (0.5, 0.99, 0.999)


class LoadError(Exception):
    """The test could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a load did."""

    streams: int
    seconds: float  # in which readings were sent
    sent: int  # readings that the broker has
    asked_per_s: float
    sent_per_s: float
    answered: int  # scores received, each of another reading
    answered_per_s: float  # until the last of them
    forecasts: int
    late_s: float  # from the last reading sent to the last score received
    latency_s: dict[str, float]  # "p50", "p99", "p99.9": from the payload's time to the forecast received; NaN: none
    inside_s: dict[str, float]  # the same within the daemon: from the arrival to the outcome handed to the socket
    gaps: int  # scores missing between the first and the last of a stream, by `seq`
    cpu_us: float  # of the daemon, per reading answered
    cores: float  # that the daemon kept busy
    rss_mb: float  # of the daemon, at the end
    metrics: dict[str, float]  # what the daemon counted meanwhile: given up, withheld, refused; highest pressure


class _Told(msgspec.Struct):
    """What of a score or a forecast matters here."""

    epoch: float
    seq: int


_decode = msgspec.json.Decoder(_Told).decode


@dataclass
class _Heard:
    """What came back; the network thread writes, the other reads when it is done."""

    scores: dict[str, set[int]] = field(default_factory=dict)  # stream -> seqs
    delays: list[float] = field(default_factory=list)  # of forecasts, s
    last: float = 0.0  # when the last score came, s by time.time
    count: int = 0
    subscribed: threading.Event = field(default_factory=threading.Event)

    def take(self, message: MQTTMessage) -> None:
        told = _decode(message.payload)
        _, stream, kind = message.topic.rsplit("/", 2)
        if kind == "score":
            seqs = self.scores.setdefault(stream, set())
            self.count += told.seq not in seqs
            seqs.add(told.seq)
            self.last = time.time()
        else:
            self.delays.append(time.time() - told.epoch)


def run(
    config: Config, *, streams: int, rate: float, seconds: float, channels: int = 6, anywhere: bool = False
) -> Report:
    """Send `rate` readings a second, of so many streams in turn, for so long; ends by itself.

    Args:
        config: of the daemon that runs; its first source is used.
        anywhere: also at a broker or daemon that is not on this machine.

    Raises:
        LoadError: the source is of a form that is not written here, broker or daemon do not answer, or are elsewhere.
    """
    source = _usable(config, streams, rate)
    for host in (config.mqtt.host, config.http.host):
        if not anywhere and not _is_here(host):
            raise LoadError(f"{host} is not this machine; say --anywhere to put the load on it all the same")
    name = f"load-{uuid.uuid4().hex[:6]}"
    group, prefix = source.group, config.mqtt.prefix
    heard = _Heard()
    with _client(config.mqtt, f"{name}-ear") as ear, _client(config.mqtt, f"{name}-mouth") as mouth:
        ear.on_message = lambda _client, _data, message: heard.take(message)
        ear.on_subscribe = lambda *_: heard.subscribed.set()
        topics = [source.topic.replace("{stream}", f"{name}-{n}") for n in range(streams)]
        ear.subscribe(
            [(f"{prefix}/{group}/{name}-{n}/{kind}", 0) for n in range(streams) for kind in ("forecast", "score")]
        )
        if not heard.subscribed.wait(CONNECT_S):
            raise LoadError("the broker does not answer to a subscription")
        before = _metrics(config)
        begun = time.time()
        peak = _Peak(config)
        sent = _send(mouth, topics, source.time or "", rate, seconds, channels, peak)
        ended = time.time()
        deadline = ended + SETTLE_S
        while heard.count < sent and time.time() < max(deadline, heard.last + SETTLE_S):
            peak.look()
            time.sleep(0.1)
        after = _metrics(config)
    spent_s = after.get("process_cpu_seconds_total", 0.0) - before.get("process_cpu_seconds_total", 0.0)
    lasted_s = max(heard.last, ended) - begun
    delays = np.array(heard.delays)
    counted = {sample: after[sample] - before.get(sample, 0.0) for sample in after}
    return Report(
        streams=streams,
        seconds=ended - begun,
        sent=sent,
        asked_per_s=rate,
        sent_per_s=sent / (ended - begun),
        answered=heard.count,
        answered_per_s=heard.count / (heard.last - begun) if heard.count else 0.0,
        forecasts=len(delays),
        late_s=max(heard.last - ended, 0.0) if heard.count else math.nan,
        latency_s={_named(share): _quantile(delays, share) for share in SHARES},
        inside_s={_named(share): _quantile_of(_buckets(counted), share) for share in SHARES},
        gaps=sum(max(seqs) - min(seqs) + 1 - len(seqs) for seqs in heard.scores.values()),
        cpu_us=spent_s / heard.count * 1e6 if heard.count else math.nan,
        cores=spent_s / lasted_s,
        rss_mb=after.get("process_resident_memory_bytes", math.nan) / 1e6,
        metrics={name: value for name, value in counted.items() if value and name.startswith(_COUNTED)}
        | {"highest pressure": peak.level},
    )


_COUNTED = ("streamd_dropped_total", "streamd_withheld_total", "streamd_refused_total", "streamd_training_steps_total")


class _Peak:
    """The highest level of pressure that the daemon told of."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._next = 0.0
        self.level = 0.0

    def look(self) -> None:
        if time.time() >= self._next:
            self._next = time.time() + 1.0
            try:
                found = _metrics(self._config)
            except LoadError:
                return  # a daemon under load may take its time for this
            levels = [value for name, value in found.items() if name.startswith("streamd_pressure_level")]
            self.level = max([self.level, *levels])


def _usable(config: Config, streams: int, rate: float) -> Source:
    if not config.source:
        raise LoadError("source: expected at least one [[source]]")
    source = config.source[0]
    wild = source.topic.replace("{stream}", "")
    if source.format != "json" or source.stream or source.readings or set(wild) & set("{+#"):
        raise LoadError(
            f"source #1: only a topic with {{stream}} and no other place, and a JSON object in it, can be loaded, "
            f"not {source.topic!r}"
        )
    if source.time is None or "." in source.time:
        raise LoadError("source #1.time: expected a field of the reading, to tell how old a forecast is")
    if source.time_unit not in ("auto", "s"):
        raise LoadError(f'source #1.time_unit: expected "auto" or "s", got "{source.time_unit}"')
    if config.http.port == 0:
        raise LoadError("http.port: expected the port of the daemon, which 0 does not tell")
    if streams < 1 or rate <= 0.0:
        raise LoadError("expected at least one stream and a rate above nought")
    return source


def _send(
    client: Client, topics: list[str], time_field: str, rate: float, seconds: float, channels: int, peak: _Peak
) -> int:
    """Publish at the rate, and wait until the broker has all of it; how many readings."""
    sent: list[MQTTMessageInfo] = []
    begun = time.monotonic()
    acknowledged = 0
    while (now := time.monotonic() - begun) < seconds:
        for number in range(len(sent), min(int(now * rate), acknowledged + AHEAD)):
            tick, stream = divmod(number, len(topics))
            values = {f"c{n}": round(20.0 + n + 0.1 * ((tick * (n + 3) + stream) % 17), 3) for n in range(channels)}
            payload = msgspec.json.encode({time_field: time.time(), **values})
            sent.append(client.publish(topics[stream], payload, qos=1))
        while acknowledged < len(sent) and sent[acknowledged].is_published():
            acknowledged += 1
        peak.look()
        time.sleep(TICK_S if len(sent) - acknowledged < AHEAD else 10 * TICK_S)
    if sent:
        sent[-1].wait_for_publish(seconds + CONNECT_S)
    return sum(info.is_published() for info in sent)


@contextmanager
def _client(mqtt: Mqtt, client_id: str) -> Iterator[Client]:
    """Connected, with the daemon's own login."""
    client = Client(CallbackAPIVersion.VERSION2, client_id)
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    if mqtt.username is not None:
        client.username_pw_set(mqtt.username, None if mqtt.password_file is None else read_secret(mqtt.password_file))
    if mqtt.tls is not None:
        context = ssl.create_default_context(cafile=mqtt.tls.ca_file)
        if mqtt.tls.cert_file is not None:
            context.load_cert_chain(mqtt.tls.cert_file, mqtt.tls.key_file)
        client.tls_set_context(context)
    connected = threading.Event()

    def answered(_client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            connected.set()

    client.on_connect = answered
    try:
        client.connect(mqtt.host, mqtt.port)
    except OSError as error:
        raise LoadError(f"{mqtt.host}:{mqtt.port}: can't connect: {error}") from error
    client.loop_start()
    try:
        if not connected.wait(CONNECT_S):
            raise LoadError(f"{mqtt.host}:{mqtt.port}: the broker does not take us in")
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def _metrics(config: Config) -> dict[str, float]:
    """Every sample of the daemon's /metrics."""
    url = f"http://{config.http.host}:{config.http.port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=METRICS_S) as answer:
            text = answer.read().decode()
    except OSError as error:
        raise LoadError(f"{url}: no daemon answers: {error}") from error
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _named(share: float) -> str:
    return f"p{share:.1%}".rstrip("%").replace(".0", "")


def _buckets(counted: dict[str, float]) -> list[tuple[float, float]]:
    """Of the latency's histogram: the upper end of each bucket in s, and how many readings took no longer."""
    head = 'streamd_latency_seconds_bucket{le="'
    found = [(name.removeprefix(head).rstrip('"}'), many) for name, many in counted.items() if name.startswith(head)]
    return sorted((float(end), many) for end, many in found)


def _quantile_of(buckets: list[tuple[float, float]], share: float) -> float:
    """As Prometheus estimates it: along a straight line within the bucket; NaN of nothing, or beyond the last end."""
    total = buckets[-1][1] if buckets else 0.0
    low = below = 0.0
    for end, many in buckets:
        if many > below and many >= share * total:
            return math.nan if math.isinf(end) else low + (end - low) * (share * total - below) / (many - below)
        low, below = end, many
    return math.nan


def _quantile(values: Any, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else math.nan
