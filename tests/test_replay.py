"""Publishing a file, against a real broker: everything arrives, in order, to the last bit, or there is an error."""

from __future__ import annotations

import gc
import io
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from rich.console import Console

from streamd.config import ConfigError
from streamd.replay import Broker, Link, ReplayError, encoder, replay, schedule
from streamd.table import Row, Table, open_table
from tests.broker.mosquitto import Mosquitto

WITHIN_S = 30.0  # nothing here takes a second, but the machine may be busy
UNBOUNDED = float("inf")
SUCCESS = ReasonCode(PacketTypes.CONNACK, "Success")
LOST = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")


class Subscriber:
    """Keeps every message of a broker, in order of arrival."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes, int]] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("#", qos=1)
        assert self._subscribed.wait(WITHIN_S)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload, message.qos))
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[tuple[str, bytes, int]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, WITHIN_S), len(self.messages)
            return list(self.messages)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def hanging_up_once(port: int, after_bytes: int) -> Iterator[int]:
    """A port that leads to the broker's, and whose first connection breaks after some bytes towards the broker."""
    server = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket, allowed: float) -> None:
        while allowed > 0 and (data := source.recv(4096)):
            allowed -= len(data)
            sink.sendall(data)
        for end in (source, sink):
            with closing(end):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the other pump was faster

    def guarded(*given: Any) -> None:
        try:
            pump(*given)
        except OSError:
            return  # the other pump has closed the connection

    def serve() -> None:
        for allowed in (after_bytes, UNBOUNDED):
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for ends in ((near, far, allowed), (far, near, UNBOUNDED)):
                threads.append(threading.Thread(target=guarded, args=ends))
                threads[-1].start()

    acceptor = threading.Thread(target=serve)
    acceptor.start()
    yield server.getsockname()[1]
    acceptor.join()
    for thread in threads:
        thread.join()
    server.close()


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> int:
    return mosquitto().port


@pytest.fixture
def subscriber(broker: int) -> Iterator[Subscriber]:
    with closing(Subscriber(broker)) as subscriber:
        yield subscriber


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Table]:
    def make(text: str) -> Table:
        path = tmp_path / "data.csv"
        path.write_text(text)
        return open_table(path)

    return make


def rows(count: int) -> str:
    return "time,a,b\n" + "".join(f"{1_600_000_000 + n}.125,{n},{n / 3!r}\n" for n in range(count))


# --- pace ---


def test_the_times_in_the_file_set_the_pace_scaled_by_the_speed() -> None:
    found = list(schedule([Row(10.0, []), Row(12.0, []), Row(40.0, [])], speed=4.0))
    assert [due for due, _ in found] == [0.0, 0.5, 7.5]


def test_the_pace_is_real_time_where_neither_rate_nor_speed_is_given() -> None:
    assert [due for due, _ in schedule([Row(10.0, []), Row(12.5, [])])] == [0.0, 2.5]


def test_a_rate_sets_the_pace_whatever_the_times_are() -> None:
    assert [due for due, _ in schedule([Row(10.0, []), Row(9.0, []), Row(1e9, [])], rate=2.0)] == [0.0, 0.5, 1.0]


def test_a_row_that_goes_back_in_time_is_not_waited_for() -> None:
    assert [due for due, _ in schedule([Row(10.0, []), Row(4.0, [])], speed=1.0)] == [0.0, -6.0]


def test_an_unbounded_rate_or_speed_waits_for_nothing() -> None:
    for pace in ({"rate": UNBOUNDED}, {"speed": UNBOUNDED}):
        assert [due for due, _ in schedule([Row(10.0, []), Row(1e9, [])], **pace)] == [0.0, 0.0]


# --- what arrives ---


def test_every_row_arrives_once_in_order_with_its_time_and_values(
    broker: int, subscriber: Subscriber, table: Callable[[str], Table]
) -> None:
    summary = replay(table(rows(1000)), "plant/p1/telemetry", Broker(port=broker), rate=UNBOUNDED)
    assert (summary.rows, summary.empty, summary.messages) == (1000, 0, 1000)
    found = subscriber.wait_for(1000)
    assert {(topic, qos) for topic, _, qos in found} == {("plant/p1/telemetry", 1)}
    wanted = [{"ts": 1_600_000_000.125 + n, "a": float(n), "b": n / 3} for n in range(1000)]
    assert [json.loads(payload) for _, payload, _ in found] == wanted


def test_with_a_channel_in_the_topic_each_value_is_a_message(
    broker: int, subscriber: Subscriber, table: Callable[[str], Table]
) -> None:
    source = table("time,a,flow rate\n1600000000,1,2\n1600000001,,3\n")
    summary = replay(source, "s/pump/{channel}", Broker(port=broker), rate=UNBOUNDED, time_field="at")
    assert (summary.rows, summary.messages) == (2, 3)
    assert [(topic, json.loads(payload)) for topic, payload, _ in subscriber.wait_for(3)] == [
        ("s/pump/a", {"at": 1_600_000_000.0, "value": 1.0}),
        ("s/pump/flow rate", {"at": 1_600_000_000.0, "value": 2.0}),
        ("s/pump/flow rate", {"at": 1_600_000_001.0, "value": 3.0}),
    ]


def test_missing_values_are_left_out_and_a_row_without_any_sends_nothing(
    broker: int, subscriber: Subscriber, table: Callable[[str], Table]
) -> None:
    source = table("time,a,b\n1600000000,1,NA\n1600000001,,\n1600000002,,2\n")
    summary = replay(source, "t", Broker(port=broker), rate=UNBOUNDED)
    assert (summary.rows, summary.empty, summary.messages) == (3, 1, 2)
    assert [json.loads(payload) for _, payload, _ in subscriber.wait_for(2)] == [
        {"ts": 1_600_000_000.0, "a": 1.0},
        {"ts": 1_600_000_002.0, "b": 2.0},
    ]


def test_a_limit_ends_after_that_many_rows(broker: int, table: Callable[[str], Table]) -> None:
    assert replay(table(rows(50)), "t", Broker(port=broker), rate=UNBOUNDED, limit=7).messages == 7


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
    st.floats(-62_000, 9e9, width=64),
)
def test_numbers_survive_to_the_last_bit_whoever_reads_them(values: list[float], time: float) -> None:
    channels = tuple(f"c{n}" for n in range(len(values)))
    ((_, payload),) = encoder("t", channels, "ts")(Row(time, values))
    for read in (json.loads, msgspec.json.decode):
        assert repr(list(read(payload).values())) == repr([time, *values])  # -0.0 is not 0.0


def test_what_a_broken_connection_swallowed_is_sent_again_in_order(
    broker: int, subscriber: Subscriber, table: Callable[[str], Table]
) -> None:
    with hanging_up_once(broker, after_bytes=20_000) as port:
        summary = replay(table(rows(2000)), "t", Broker(port=port), rate=UNBOUNDED)
    assert summary.messages == 2000
    found, count = [0.0], 2000
    while found[-1] != 1999.0:  # some come twice, so there may be more than that
        found = [json.loads(payload)["a"] for _, payload, _ in subscriber.wait_for(count)]
        count = len(found) + 1
    assert list(dict.fromkeys(found)) == [float(n) for n in range(2000)]  # first arrivals; some come twice


def test_nothing_new_is_sent_before_what_a_broken_connection_swallowed_is_acknowledged() -> None:
    client = Mock()
    link = Link(client, patience_s=0.01)
    client.on_connect(client, None, None, SUCCESS, None)
    link.publish("t", b"1")
    client.on_disconnect(client, None, None, LOST, None)
    client.on_connect(client, None, None, SUCCESS, None)
    with pytest.raises(ReplayError, match="acknowledged nothing"):
        link.publish("t", b"2")
    assert [call.args[1] for call in client.publish.mock_calls] == [b"1"]


def test_what_was_acknowledged_before_the_connection_broke_holds_nothing_back() -> None:
    client = Mock()
    link = Link(client, patience_s=0.01)
    client.on_connect(client, None, None, SUCCESS, None)
    link.publish("t", b"1")
    client.on_publish(client, None, 1, None, None)
    client.on_disconnect(client, None, None, LOST, None)
    client.on_connect(client, None, None, SUCCESS, None)
    link.publish("t", b"2")
    assert [call.args[1] for call in client.publish.mock_calls] == [b"1", b"2"]


# --- errors ---


def test_a_broker_that_is_not_there_is_an_error(table: Callable[[str], Table]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ReplayError, match=rf"127\.0\.0\.1:{port}: can't connect: .*refused"):
        replay(table(rows(1)), "t", Broker(port=port))


def test_a_broker_that_refuses_the_login_is_an_error(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], table: Callable[[str], Table]
) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    port = mosquitto(passwords={"pump": "another"}).port
    who = Broker(port=port, username="pump", password_file=tmp_path / "password")
    with pytest.raises(ReplayError, match="the broker refused us: Not authorized") as caught:
        replay(table(rows(1)), "t", who)
    assert "hunter2" not in str(caught.value)


def test_a_password_from_a_file_opens_the_broker(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], table: Callable[[str], Table]
) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    port = mosquitto(passwords={"pump": "hunter2"}).port
    who = Broker(port=port, username="pump", password_file=tmp_path / "password")
    assert replay(table(rows(3)), "t", who, rate=UNBOUNDED).messages == 3


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # paho leaves the socket of a failed handshake to gc
def test_a_broker_behind_an_authority_that_we_trust_is_reached_and_another_is_refused(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], table: Callable[[str], Table]
) -> None:
    for name in ("broker", "stranger"):
        make = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
        files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*make.split(), *files], cwd=tmp_path, check=True, capture_output=True)
    port = mosquitto(extra=[f"certfile {tmp_path / 'broker.pem'}", f"keyfile {tmp_path / 'broker.key'}"]).port
    assert replay(table(rows(3)), "t", Broker(port=port, ca_file=tmp_path / "broker.pem"), rate=UNBOUNDED).messages == 3
    with pytest.raises(ReplayError, match=r"can't connect: .*certificate verify failed"):
        replay(table(rows(3)), "t", Broker(port=port, ca_file=tmp_path / "stranger.pem"))
    gc.collect()


def test_what_is_no_broker_is_an_error(table: Callable[[str], Table]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            near, _ = server.accept()
            with near:
                near.recv(4096)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ReplayError, match="the broker hung up on our CONNECT"):
            replay(table(rows(1)), "t", Broker(port=server.getsockname()[1]))
        thread.join()


def test_a_broker_that_no_longer_acknowledges_is_an_error_that_says_how_far_we_came(
    mosquitto: Callable[..., Mosquitto], table: Callable[[str], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto()
    source = table(rows(500))

    def stopping() -> Iterator[Row]:
        for number, row in enumerate(Table.rows(source)):
            if number == 400:
                broker.pause()
            yield row

    monkeypatch.setattr(source, "rows", stopping)
    with pytest.raises(ReplayError, match=r"acknowledged nothing for 0\.3 s: (3|4)\d\d messages acknowledged, \d+ not"):
        replay(source, "t", Broker(port=broker.port), rate=UNBOUNDED, patience_s=0.3)


def test_an_absent_password_file_is_named(tmp_path: Path, table: Callable[[str], Table]) -> None:
    with pytest.raises(ConfigError, match=r"secret file .*absent"):
        replay(table(rows(1)), "t", Broker(username="u", password_file=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("topic", "options", "told"),
    [
        ("t", {"rate": 1.0, "speed": 1.0}, "rate and speed exclude each other"),
        ("t", {"rate": 0.0}, "rate: expected more than 0, got 0.0"),
        ("t", {"speed": float("nan")}, "speed: expected more than 0, got nan"),
        ("t", {"limit": 0}, "limit: expected more than 0, got 0"),
        ("t", {"time_field": "a"}, "time field 'a': a value has the same name"),
        ("", {}, "topic '': expected 1 to 65535 bytes"),
        ("t/+", {}, "topic 't/+': wildcards are for subscribers"),
        ("t/{stream}", {}, "topic 't/{stream}': only {channel} is filled in; the stream is yours to name"),
        ("{channel}", {}, "topic '{channel}': channel 'b/c' can't be a level of it, for it has one of / + #"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    table: Callable[[str], Table], topic: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ReplayError, match=re.escape(told)):
        replay(table("time,a,b/c\n1600000000,1,2\n"), topic, Broker(port=1), **options)


def test_the_time_can_not_have_the_name_of_the_value(table: Callable[[str], Table]) -> None:
    with pytest.raises(ReplayError, match="time field 'value': a value has the same name"):
        replay(table(rows(1)), "t/{channel}", Broker(port=1), time_field="value")


# --- progress ---


def test_a_terminal_sees_a_progress_bar_and_a_pipe_sees_nothing(broker: int, table: Callable[[str], Table]) -> None:
    for terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100)
        replay(table(rows(20)), "t", Broker(port=broker), rate=UNBOUNDED, console=console)
        assert ("data.csv" in out.getvalue()) is terminal
