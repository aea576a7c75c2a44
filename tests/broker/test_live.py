"""The main job against a real mosquitto: what comes in is answered, once, in order, and the same again."""

from __future__ import annotations

import csv
import math
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.broker.daemon import Bystander, Daemon, pumps, streamd
from tests.broker.mosquitto import Mosquitto

ROWS = 260
CHANNELS = ("flow", "pressure", "current")
GROUP = """
channels = ["flow", "pressure", "current"]
horizon_steps = 4
network = { hidden = 16, layers = 2 }
training = { every_frames = 8, lag_frames = 4, windows = 4, burn_in_frames = 4, train_frames = 16, cpu_share = 1.0 }
"""


def settings(port: int) -> str:
    return pumps(port, GROUP)


def readings() -> list[dict[str, float]]:
    """A pump's cycle with noise, one reading a second; the same each time."""
    chance = random.Random(1)
    rows = []
    for n in range(ROWS):
        flow = 30.0 + 4.0 * math.sin(n / 7.0) + chance.gauss(0.0, 0.3)
        rows.append(
            {
                "ts": 1_700_000_000.0 + n,
                "flow": flow,
                "pressure": 2.0 + flow / 50.0 + chance.gauss(0.0, 0.01),
                "current": round(1.1 + 0.02 * flow + chance.gauss(0.0, 0.02), 2),
            }
        )
    return rows


def as_file(folder: Path, rows: list[dict[str, float]]) -> Path:
    path = folder / "pump.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def forecasts(payloads: list[dict[str, Any]], part: str) -> np.ndarray:
    """[N, H, C] of payloads, NaN for null."""
    rows = [[payload["channels"][name][part] for name in CHANNELS] for payload in payloads]
    return np.array(rows, dtype=float).transpose(0, 2, 1)


def test_every_replayed_reading_is_answered_by_one_forecast_and_one_score_in_order(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = daemons(settings(broker.port)).start()
    rows = readings()
    told = streamd(
        "replay", as_file(tmp_path, rows), "--topic", "plant/p1/telemetry", "--port", broker.port, "--rate", 2000
    )
    assert told.returncode == 0, told.stderr
    for kind in ("forecast", "score"):
        payloads = bystander.wait(f"streamd/pumps/p1/{kind}", ROWS)
        assert [payload["seq"] for payload in payloads] == list(range(ROWS))
        assert [payload["epoch"] for payload in payloads] == [row["ts"] for row in rows]
    assert daemon.stop() == 0
    assert len(bystander.of("streamd/pumps/p1/score")) == ROWS
    assert bystander.wait("streamd/status", 2)[-1]["state"] == "offline"


def test_a_restart_in_the_middle_changes_nothing_that_comes_out(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    rows = readings()
    whole = daemons(settings(broker.port), "whole").start()
    bystander.publish_all("plant/p1/telemetry", rows)
    uninterrupted = {kind: bystander.wait(f"streamd/pumps/p1/{kind}", ROWS) for kind in ("forecast", "score")}
    assert whole.stop() == 0

    halves = daemons(settings(broker.port), "halves")
    for part in (rows[:133], rows[133:]):
        halves.start()
        seen = len(bystander.of("streamd/pumps/p1/score"))
        bystander.publish_all("plant/p1/telemetry", part)
        bystander.wait("streamd/pumps/p1/score", seen + len(part))
        steps = halves.metric('streamd_training_steps_total{group="pumps"}')
        assert steps > 0  # else the restart would have had nothing to lose
        assert halves.stop() == 0
    for kind, before in uninterrupted.items():
        assert bystander.wait(f"streamd/pumps/p1/{kind}", 2 * ROWS)[ROWS:] == before


def test_a_backtest_gives_the_forecasts_of_the_live_run_to_the_last_bit(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = daemons(settings(broker.port)).start()
    rows = readings()
    bystander.publish_all("plant/p1/telemetry", rows)
    live = bystander.wait("streamd/pumps/p1/forecast", ROWS)
    scores = bystander.wait("streamd/pumps/p1/score", ROWS)
    out = tmp_path / "out.npz"
    told = streamd("backtest", as_file(tmp_path, rows), "-c", daemon.config, "--time", "ts", "--out", out)
    assert told.returncode == 0, told.stderr
    with np.load(out) as arrays:
        for part, name in (("mean", "forecast"), ("lower", "lower"), ("upper", "upper")):
            np.testing.assert_array_equal(forecasts(live, part), arrays[name])
        np.testing.assert_array_equal([payload["score"] for payload in scores], arrays["score"])
    moved = forecasts(live, "mean") != forecasts(live, "mean")[:, :1]
    assert moved[-50:].any()  # not only persistence was compared
    assert daemon.metric('streamd_candidates_total{group="pumps",verdict="better"}') > 0  # but the network too


def test_commands_are_answered_and_a_frozen_network_does_not_train(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(settings(broker.port)).start()
    assert bystander.command("freeze")["ok"]
    rows = readings()
    bystander.publish_all("plant/p1/telemetry", rows)
    bystander.wait("streamd/pumps/p1/score", ROWS)
    assert daemon.metric('streamd_training_steps_total{group="pumps"}') == 0
    assert bystander.command("reset", {"group": "pumps", "stream": "p1"})["ok"]
    bystander.publish("plant/p1/telemetry", {**rows[-1], "ts": rows[-1]["ts"] + 1})
    after = bystander.wait("streamd/pumps/p1/forecast", ROWS + 1)[-1]
    assert after["seq"] == ROWS  # goes on counting
    assert after["channels"]["flow"]["mean"] == [rows[-1]["flow"]] * 4  # knows nothing of what came before any more
    answer = bystander.command("reset", {"group": "nobody"})
    assert not answer["ok"]
    assert "pumps" in answer["text"]


def test_what_the_daemon_publishes_is_not_learned_from(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    config = f'[mqtt]\nport = {broker.port}\n[http]\nport = 0\n[[source]]\ntopic = "+/+/{{stream}}/#"\n'
    daemon = daemons(config).start()
    bystander.publish("plant/hall/p1/telemetry", {"flow": 1.0})
    bystander.wait("streamd/default/p1/score", 1)
    assert bystander.command("status")["ok"]
    assert daemon.metric('streamd_readings_total{group="default",outcome="taken"}') == 1
    assert daemon.metric('streamd_streams{group="default"}') == 1
    assert daemon.metric('streamd_streams_warming{group="default"}') == 1
    bystander.command("checkpoint")  # which commits first
    assert daemon.metric("streamd_journal_bytes") > 0


def test_a_second_daemon_on_the_same_state_is_refused(broker: Mosquitto, daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(settings(broker.port)).start()
    second = streamd("run", "-c", daemon.config)
    assert second.returncode == 75
    assert "state" in second.stderr
    assert daemon.stop(signal.SIGINT) == 0


def test_a_state_made_with_other_settings_is_fitted_and_says_what_was_reset(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(settings(broker.port)).start()
    rows = readings()
    bystander.publish_all("plant/p1/telemetry", rows[:60])
    bystander.wait("streamd/pumps/p1/score", 60)
    assert daemon.stop(signal.SIGKILL) != 0  # so that the journal has to be applied with the settings of then
    more = settings(broker.port).replace("hidden = 16", "hidden = 24")
    daemon.config.write_text(more.replace('"current"]', '"current", "voltage"]'))
    daemon.start()
    notes = [line for line in daemon.lines if "action=refit group=pumps" in line]
    assert any("voltage" in note for note in notes)
    assert any("hidden" in note for note in notes)
    bystander.publish("plant/p1/telemetry", {**rows[60], "voltage": 230.0})
    score = bystander.wait_for_seq("streamd/pumps/p1/score", 60)  # behind what was not committed, and so sent again
    assert score["seq"] == 60
    assert set(score["channels"]) == {*CHANNELS, "voltage"}
    forecast = bystander.of("streamd/pumps/p1/forecast")[-1]["channels"]
    assert forecast["flow"]["lower"] != [None] * 4  # what was learnt of the errors is kept
    assert forecast["voltage"]["lower"] == [None] * 4
    assert daemon.stop() == 0
