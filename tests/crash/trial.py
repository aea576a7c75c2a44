"""One daemon's lives on one state folder, while readings come in, and what is to be said of them at the end.

Knows the whole from outside: broker, processes, topics, files. When it dies others decide; what must be true then is
said in `verdict`.
"""

from __future__ import annotations

import random
import re
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto
from tests.crash import audit
from tests.crash.faults import Fault
from tests.crash.nursery import Child, Nursery
from tests.crash.plant import CALM, GROUPS, Plant, Witness
from tests.crash.verdict import differences, judge, kept, left_with_broker

SHIPPED = ("max_inflight_messages 2000", "max_queued_messages 1000000")  # of the broker, as in deploy/mosquitto.conf
AT_ONCE = 400  # readings that the undisturbed run is given at a time
READINGS = (24, 60)  # published in a life, at least and at most
WARM = len(GROUPS) * (CALM + 20)  # readings of the first life: there are incidents from now on
_COMPLAINT = re.compile(r"^\S+ (error|critical) |Traceback", re.MULTILINE)


def settings(port: int, name: str, *, timed: bool) -> str:
    """A config whose every stage comes round often: commits, training, incidents. Nothing in it depends on speed."""
    time_of = 'time = "ts"' if timed else ""
    sources = "".join(
        f'[[source]]\ntopic = "plant/{group}/{{stream}}"\ngroup = "{group}"\n{time_of}\n'
        f'[group.{group}]\nchannels = ["n", "flow"]\nhorizon_steps = 2\nnetwork = {{ hidden = 8, layers = 1 }}\n'
        "alarm = { per_week = 20000 }\n"
        "training = { every_frames = 8, lag_frames = 4, windows = 2, steps = 1, burn_in_frames = 4, train_frames = 8, "
        "memory_windows = 16, cpu_share = 1.0 }\n"
        for group in GROUPS
    )
    return (
        f'[mqtt]\nport = {port}\nclient_id = "{name}"\nprefix = "{name}"\n'
        "reconnect_min_s = 0.1\nreconnect_max_s = 0.5\n"
        f'[http]\nport = 0\n[state]\nfolder = "state"\ncommit_ms = 10\n{sources}'
    )


@dataclass(slots=True)
class Report:
    """What was done, and what is wrong; nothing, as it should be."""

    seed: int
    timed: bool
    kills: int = 0
    struck: Counter[str] = field(default_factory=Counter)  # by the moments that have a name
    missed: list[str] = field(default_factory=list)  # planned kills whose call never came
    readings: int = 0
    lost: int = 0  # readings that the state does not hold
    doubled: int = 0  # readings that it holds more than once
    repeated: int = 0  # outcomes that were published more than once
    incidents: int = 0
    recoveries: int = 0
    recovered_records: int = 0
    recovery_s: float = 0.0  # of all recoveries
    longest_recovery_s: float = 0.0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """One daemon's lives on one state folder.

    Args:
        folder: for config, state and audit.
        broker: without persistence, since it never dies here.
        nursery: where daemons come from.
        seed: of readings and kills.
        timed: whether readings carry their time.
    """

    def __init__(self, folder: Path, broker: Mosquitto, nursery: Nursery, seed: int, *, timed: bool) -> None:
        self.report = Report(seed, timed)
        self.folder = folder
        self._port = broker.port
        self._nursery = nursery
        self._chance = random.Random(seed)
        self._plant = Plant(seed, timed=timed)
        self._config = folder / "streamd.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(settings(broker.port, "killed", timed=timed))
        self._audit = folder / "audit"
        self._published = 0
        self._witness = Witness(broker.port, "killed", timed=timed)

    def finish(self) -> Report:
        """Let the daemon live, stop it in good order, and look whether all is as if it had never been killed."""
        report = self.report
        child = self._start(None)
        self._publish(READINGS[1])
        if not self._witness.wait(self._published, child.ended.is_set):
            report.wrong.append(f"{self._witness.answered()} of {self._published} readings are answered:\n{child.log}")
        child.send(signal.SIGTERM)
        self._end(child, 0)
        self._witness.close()
        report.readings = self._published
        report.repeated, report.incidents = self._witness.repeated(), sum(map(len, self._witness.incidents.values()))
        report.wrong += self._witness.wrong
        if (answered := self._witness.answered()) > self._published:
            report.wrong.append(f"{answered} answers to {self._published} readings")
        if left := left_with_broker(self._port, "killed"):
            report.wrong.append(f"{left} messages were not acknowledged")
        verdict = judge(audit.read(self._audit), self._published, self._config, self.folder / "state")
        report.lost, report.doubled = verdict.lost, verdict.doubled
        report.wrong += verdict.wrong
        if report.timed:
            self._compare_with_undisturbed()
        return report

    def begin(self) -> None:
        """A first life, long enough for training to begin, with a checkpoint that later ones may truncate up to."""
        child = self._start(None)
        child.wait_until_ready()  # else nobody has subscribed, and readings are lost
        self._publish(WARM)
        self._witness.publish("killed/command/checkpoint", b"{}")
        self._publish(20)
        self._witness.wait(self._published, child.ended.is_set)
        self._kill(child)

    def live(self, fault: Fault | None) -> bool:
        """From a start to an end: by the fault's call, or else at a random moment; whether the call came."""
        needs_checkpoint = fault is not None and fault.point in ("write", "rename", "truncate")
        count = self._chance.randint(*READINGS)
        early = self._chance.choice((0, count // 2))  # they wait for the daemon
        self._publish(early)
        child = self._start(fault)
        self._publish((count - early) // 2)
        if needs_checkpoint or self._chance.random() < 0.2:
            self._witness.publish("killed/command/checkpoint", b"{}")
        self._publish(count - early - (count - early) // 2)
        if fault is None:
            child.ended.wait(self._chance.uniform(0.0, 1.0))
            self._kill(child)
            return True
        self._witness.wait(self._published, child.ended.is_set)
        if fault.signal == signal.SIGTERM and child.struck:
            self._end(child, 0)
        else:
            self._kill(child)
        if child.struck:
            self.report.struck[f"{fault.moment} {fault.point}"] += 1
        return child.struck

    def _kill(self, child: Child) -> None:
        """Unless its fault has done so already."""
        child.send(signal.SIGKILL)
        self.report.kills += 1
        self._end(child, -signal.SIGKILL)

    def _end(self, child: Child, expected: int) -> None:
        """Wait until it has ended, and look at what it said."""
        code = child.join()
        self._witness.settle()
        if code != expected:
            self.report.wrong.append(f"exit code {code} instead of {expected}:\n{child.log}")
        elif _COMPLAINT.search(child.log):
            self.report.wrong.append(f"a life did not go well:\n{child.log}")
        found = re.search(r"action=recovered records=(\d+) seconds=([\d.]+)", child.log)
        if found is not None:
            self.report.recoveries += 1
            self.report.recovered_records += int(found[1])
            self.report.recovery_s += float(found[2])
            self.report.longest_recovery_s = max(self.report.longest_recovery_s, float(found[2]))

    def _start(self, fault: Fault | None) -> Child:
        return self._nursery.start(self._config, fault, self._audit, on_end=self._witness.look_again)

    def _publish(self, count: int) -> None:
        for _ in range(count):
            self._witness.publish(*self._plant.reading(self._published))
            self._published += 1

    def _compare_with_undisturbed(self) -> None:
        """A daemon of its own process, with a state of its own, gets the same readings and is left in peace."""
        report = self.report
        witness = Witness(self._port, "calm", timed=True)
        daemon = Daemon(self.folder / "calm", settings(self._port, "calm", timed=True)).start()
        try:
            for number in range(self._published):
                witness.publish(*self._plant.reading(number))
                if (number + 1) % AT_ONCE == 0:  # what can't keep up trains less, and learns something else
                    witness.wait(number + 1)
            if not witness.wait(self._published):
                report.wrong.append(
                    f"{witness.answered()} of {self._published} readings of the undisturbed run answered"
                )
            if (code := daemon.stop()) != 0:
                report.wrong.append(f"exit code {code} of the undisturbed run:\n{daemon.log}")
        finally:
            daemon.end()
            witness.close()
        killed, calm = kept(self.folder / "state"), kept(self.folder / "calm" / "state")
        report.wrong += differences(killed.arrays, calm.arrays, "an undisturbed run")
        if killed.meta["groups"] != calm.meta["groups"]:
            report.wrong.append("the state's numbers differ from those of an undisturbed run")
        for key, digests in witness.digests().items():
            if self._witness.digests()[key] != digests:
                report.wrong.append(f"outcomes {key} differ from those of an undisturbed run")
        if self._witness.incidents != witness.incidents:
            report.wrong.append("incidents differ from those of an undisturbed run")
