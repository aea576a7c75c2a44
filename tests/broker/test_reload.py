"""The config of a real daemon changes while messages flow: nothing is dropped, and a kill after it changes nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker.daemon import Bystander, Daemon, pumps
from tests.broker.mosquitto import Mosquitto

STREAMS = ("p1", "p2", "p3")
BEGIN = 1_700_000_000.0


def settings(port: int, *, alarm: str = "per_week = 1.0", training: str = "", more: str = "", mqtt: str = "") -> str:
    group = f"""
channels = ["flow", "pressure"]
horizon_steps = 2
network = {{ hidden = 8, layers = 1 }}
[group.pumps.training]
every_frames = 4
lag_frames = 4
windows = 2
burn_in_frames = 2
train_frames = 8
cpu_share = 1.0
{training}
[group.pumps.alarm]
{alarm}
{more}"""
    return pumps(port, group, mqtt=mqtt)


def reading(n: int) -> dict[str, float]:
    return {"ts": BEGIN + n, "flow": 30.0 + n % 7 + 0.1 * (n * n % 11), "pressure": 2.0 + 0.1 * (n % 3)}


@contextmanager
def flow(bystander: Bystander) -> Iterator[dict[str, int]]:
    """Readings of each stream, one after the other, all the while; how many there were of each."""
    sent = dict.fromkeys(STREAMS, 0)
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            for stream in STREAMS:
                rows = [reading(n) for n in range(sent[stream], sent[stream] + 5)]
                bystander.publish_all(f"plant/{stream}/telemetry", rows)
                sent[stream] += len(rows)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


class Config:
    """The daemon's file, and what is said when it changes."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._told = 0

    def becomes(self, text: str) -> str:
        """What is said of another content in the end, when somebody asks for it to be read."""
        self._daemon.config.write_text(text)
        os.kill(self._daemon.pid, signal.SIGHUP)
        self._told += 1
        said: list[str] = self._daemon.wait_for_count("action=reload ", self._told)
        return said[-1]


def test_good_and_bad_configs_under_load_drop_nothing_and_the_bad_ones_are_refused_by_the_name_of_the_key(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(settings(broker.port)).start()
    config = Config(daemon)
    works = '[[source]]\ntopic = "works/{stream}/telemetry"\ngroup = "pumps"\ntime = "ts"\n'
    good = settings(broker.port, alarm="per_week = 20.0", training="learning_rate = 0.01", more=works)
    rules = good + "[group.pumps.channel.flow]\nleast = 0.5\n[state]\ncommit_ms = 50.0\ncommit_frames = 10\n"
    with flow(bystander) as sent:
        bystander.wait("streamd/pumps/p3/score", 30)
        assert "result=applied" in config.becomes(good)
        said = config.becomes(good.replace("20.0", "-20.0"))
        assert "result=refused" in said
        assert f"{daemon.config}: group.pumps.alarm.per_week: expected float > 0.0, got -20.0" in said
        assert daemon.http("/readyz")[0] == 200
        assert daemon.metric("streamd_config_last_reload_successful") == 0
        assert "result=applied" in config.becomes(rules)
        assert daemon.metric("streamd_config_last_reload_successful") == 1
        bystander.publish("works/w1/telemetry", reading(0))
        assert bystander.wait("streamd/pumps/w1/score", 1)[0]["seq"] == 0
        said = config.becomes(rules.replace("learning_rate", "learning_speed"))
        assert "group.pumps.training.learning_speed: unknown key" in said
        assert "result=applied" in config.becomes(rules + "[log]\nsample_s = 1.0\n")
        seen = len(bystander.of("streamd/pumps/p3/score"))
        bystander.wait("streamd/pumps/p3/score", seen + 30)
    for stream in STREAMS:
        assert sent[stream] > 60
        for kind in ("forecast", "score"):
            told = bystander.wait(f"streamd/pumps/{stream}/{kind}", sent[stream])
            assert [one["seq"] for one in told] == list(range(sent[stream]))
            assert [one["epoch"] for one in told] == [BEGIN + n for n in range(sent[stream])]
    total = sum(sent.values()) + 1
    assert daemon.metric('streamd_readings_total{group="pumps",outcome="taken"}') == total
    for reason in ("full", "closed", "received_before"):
        assert daemon.metric(f'streamd_dropped_total{{queue="inbox",reason="{reason}"}}') == 0
    assert daemon.metric('streamd_config_reloads_total{result="refused"}') == 2
    assert daemon.metric('streamd_config_reloads_total{result="applied"}') == 3
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log


def test_a_login_is_changed_and_a_wrong_one_rolled_back_under_load_and_nothing_is_lost(
    mosquitto: Callable[..., Mosquitto], daemons: Callable[..., Daemon], tmp_path: Path
) -> None:
    broker = mosquitto(passwords={"ada": "one", "eve": "two"}, log_packets=False)
    for name, secret in (("ada", "one"), ("eve", "two"), ("wrong", "three")):
        (tmp_path / name).write_text(secret)

    def login(user: str, secret: str) -> str:
        lines = f'username = "{user}"\npassword_file = "{tmp_path / secret}"\nreconnect_min_s = 0.01'
        return settings(broker.port, mqtt=lines)

    bystander = Bystander(broker.port, "eve", "two")
    daemon = daemons(login("ada", "ada")).start()
    config = Config(daemon)
    with flow(bystander) as sent:
        bystander.wait("streamd/pumps/p3/score", 30)
        assert "result=applied" in config.becomes(login("eve", "eve"))
        daemon.wait_for_count("action=connected", 2)
        assert "result=applied" in config.becomes(login("ada", "wrong"))
        (said,) = daemon.wait_for_count("result=rolled_back", 1)
        assert "keys=mqtt.username,mqtt.password_file" in said
        daemon.wait_for_count("action=connected", 3)
        assert daemon.metric("streamd_config_last_reload_successful") == 0
        seen = len(bystander.of("streamd/pumps/p3/score"))
        bystander.wait("streamd/pumps/p3/score", seen + 30)
    for stream in STREAMS:
        told = bystander.wait_for_seq(f"streamd/pumps/{stream}/score", sent[stream] - 1)
        assert told["seq"] == sent[stream] - 1
        assert told["epoch"] == BEGIN + sent[stream] - 1
    assert daemon.metric('streamd_readings_total{group="pumps",outcome="taken"}') == sum(sent.values())
    assert daemon.metric('streamd_dropped_total{queue="inbox",reason="full"}') == 0
    bystander.close()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
    assert "three" not in daemon.log


def test_a_kill_right_after_settings_have_changed_is_invisible(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    now = settings(broker.port)
    other = settings(broker.port, alarm="per_week = 20.0", training="learning_rate = 0.02\nsteps = 3")
    rows = [reading(n) for n in range(160)]
    outcomes = []
    for name in ("whole", "killed"):
        daemon = daemons(now, name).start()
        before = len(bystander.of("streamd/pumps/p1/score"))
        bystander.publish_all("plant/p1/telemetry", rows[:80])
        bystander.wait("streamd/pumps/p1/score", before + 80)
        assert bystander.command("checkpoint")["ok"]
        assert "applied=3 waiting=0" in Config(daemon).becomes(other)
        bystander.publish_all("plant/p1/telemetry", rows[80:120])
        bystander.wait("streamd/pumps/p1/score", before + 120)
        if name == "killed":
            # all readings, and a command, of the life before and of this one: what is acknowledged is in the journal
            broker.wait_for_log("Received PUBACK from streamd", 161 + 121)
            assert daemon.stop(signal.SIGKILL) != 0
            daemon.start()
            daemon.wait_for("action=recovered")
            assert "action=refit" not in daemon.log
        bystander.publish_all("plant/p1/telemetry", rows[120:])
        last = bystander.wait_for_seq("streamd/pumps/p1/score", 159)
        assert last["epoch"] == BEGIN + 159
        by_seq = {}
        for kind in ("forecast", "score"):
            for one in bystander.of(f"streamd/pumps/p1/{kind}")[before:]:
                assert by_seq.setdefault((kind, one["seq"]), one) == one, "what comes twice is the same"
        outcomes.append(by_seq)
        assert daemon.stop() == 0
    assert len(outcomes[0]) == 320
    assert outcomes[0] == outcomes[1]
