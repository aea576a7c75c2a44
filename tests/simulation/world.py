"""A daemon in bad weather: the real shell on a simulated broker, disk and clock, life after life, until it clears up.

Knows how the parts are put together and what a script asks for; the witness knows what must hold. What is real: `App`
and everything it builds, but for the engine, training, web, sockets, files and time. All chance comes from the seed, so
that a seed that fails fails again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from streamd.app import App
from streamd.config import Config, Group, Mqtt, Network, State, Training
from streamd.store import archive, sqlite
from streamd.store.spill import Spill
from streamd.store.sqlite import StoreError
from tests.simulation.broker import Broker
from tests.simulation.clock import Clock, Killed, Loop, StuckError
from tests.simulation.disk import Disk, Place
from tests.simulation.machine import Machine, candidate
from tests.simulation.paths import SimPath
from tests.simulation.sensors import SOURCES, Sensors
from tests.simulation.stage import installed
from tests.simulation.weather import Conditions, Event, conditions, script
from tests.simulation.witness import Violation, Witness

FOLDER = "/state"
PREFIX = "streamd"
CALM_S = 900.0  # after the weather has cleared everything is answered within this
STOP_S = 300.0  # a daemon that is asked to stop does so within this
GROUP = Group(
    horizon_steps=1,
    max_future_s=1e9,  # the clock is stepped by hours: what is refused should not depend on it
)
REAL = msgspec.structs.replace(  # for the real engine: as small as it can be and still train
    GROUP,
    network=Network(hidden=4, layers=1),
    training=Training(
        every_frames=4, windows=2, steps=1, burn_in_frames=2, train_frames=4, lag_frames=2, memory_windows=16
    ),
)
PLACES: tuple[Place, ...] = ("journal", "spill", "files")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a world."""

    seed: int
    hours: float  # of virtual time
    readings: int
    records: int  # committed
    lives: int
    deaths: int  # that were not asked for
    callbacks: int
    broken: str  # the promise that was; empty if all held


class World:
    """One world.

    Args:
        seed: everything follows from it.
        hours: that the weather lasts.
        make_engine: the engine of a group, from its settings and its trainer.
        train: makes a candidate of a job.
        group: settings of all groups, but for what the conditions say.
    """

    def __init__(
        self,
        seed: int,
        hours: float,
        make_engine: Callable[[Group, Any], Any] = Machine,
        train: Callable[[Any], Any] = candidate,
        group: Group = GROUP,
    ) -> None:
        self.seed = seed
        self.clock = Clock()
        self._random = Random(f"{seed} world")
        self._weather = Random(f"{seed} weather")
        self.conditions = conditions(self._weather, hours)
        self._events = script(self._weather, self.conditions.lasts_s)
        self.disk = Disk(self.clock, Random(f"{seed} disk"))
        self.broker = Broker(
            self.clock,
            Random(f"{seed} broker"),
            window=self.conditions.window,
            broken=self.conditions.broken_window,
            latency_s=self.conditions.latency_s,
        )
        self.config = _config(self.conditions, group)
        self._make_engine = make_engine
        self._train = train
        self._loop: Loop | None = None
        self._app: App | None = None
        self._over = False
        self._power = False
        self._lossless = True
        self._callbacks = self._deaths = 0
        self._fault_until = -1.0
        self.engines: list[Any] = []  # of the daemon's present life
        engines = {name: make_engine(settings, _AtOnce(train)) for name, settings in self.config.groups().items()}
        self.witness = Witness(engines, PREFIX)
        self._sensors = Sensors(self.clock, self._random, self.broker, self.witness, PREFIX)
        self.broker.on_acknowledged = self.witness.acknowledged
        self.broker.on_outcome = self.witness.told
        self.broker.on_new_session = self._new_session
        self.disk.on_commit = self._committed

    def run(self) -> Result:
        """Live through the script, and check."""
        with installed(
            self.clock,
            self.disk,
            self.broker,
            self._random,
            make_engine=self._engine,
            train=self._train,
            journal_bytes=self.conditions.journal_bytes,
            look_s=self.conditions.look_s,
        ):
            try:
                self._schedule()
                self._live_until_calm()
                self._compare_states()
                broken = ""
            except Violation as violation:
                broken = str(violation)
        return Result(
            self.seed,
            self.clock.now / 3600.0,
            sum(map(len, self.witness.published.values())),
            self.witness.position,
            self.witness.life,
            self._deaths,
            self._callbacks,
            broken,
        )

    # --- lives ---

    def _live_until_calm(self) -> None:
        while not self._over:
            self._live()
            if not self._over:
                self.clock.run_until(self.clock.now + self._random.choice((0.1, 2.0, 2.0, 60.0)))

    def _live(self) -> None:
        """One life of the daemon: until it is killed, stopped, or gives up because the disk fails."""
        self.witness.life += 1
        self.broker.life = self.witness.life
        self.engines = []
        loop = self._loop = Loop(self.clock, self.disk)
        try:
            self._app = App(self.config)
            loop.live(self._app.run())
        except Killed:
            self._deaths += 1
            self._died()
        except Violation:
            raise
        except StuckError as error:
            self._fail(str(error))
        except BaseException as error:
            self._fail_unless_disk(error)
            self._died()
        finally:
            self._loop = self._app = None
            self._callbacks += loop.callbacks
        if self.disk.quarantined:
            self._fail(f"a crash has left {self.disk.quarantined} damaged under its last name")

    def _died(self) -> None:
        if self.broker.connection is not None:
            self.broker.connection.process_died(power=self._power)
        self.disk.process_died()
        if self._power:
            self.disk.power_failed()
        self._power = False
        self.disk.kill_inside = False

    def _fail_unless_disk(self, error: BaseException) -> None:
        """A daemon may give up at the start when the disk fails; anything else that ends it is a bug."""
        if self.witness.broken:
            raise Violation(self.witness.broken) from error
        causes = list(_leaves(error))
        if not (
            self.clock.now <= self._fault_until and all(isinstance(cause, StoreError | OSError) for cause in causes)
        ):
            self._fail("the daemon fell: " + "; ".join(f"{type(cause).__name__}: {cause}" for cause in causes))

    def _fail(self, text: str) -> None:
        self.witness.fail(f"{text} (at {self.clock.now:.3f} s)")

    # --- the script ---

    def _schedule(self) -> None:
        for event in self._events:
            self.clock.at(event.time, functools.partial(self._happens, event))
        over = self.conditions.lasts_s
        self.clock.at(over, self._clear_up)
        self.clock.at(over + CALM_S / 3, self._sensors.all_speak)
        self.clock.at(over + CALM_S, self._end)

    def _happens(self, event: Event) -> None:
        match event.kind:
            case "readings":
                self._sensors.burst(event.amount, event.lasts_s)
                self._check_bounds()
            case "command":
                self._sensors.order_reset()
            case "checkpoint":
                self._sensors.order_checkpoint()
            case "kill" | "power":
                if self._loop is not None:
                    self._power = event.kind == "power"
                    self._loop.kill_after(event.amount)
            case "kill_inside":
                self.disk.kill_inside = self._loop is not None
            case "stop":
                self._stop()
            case "cut":
                self.broker.drop_connection()
            case "stall":
                self.broker.stalled_until = self.clock.now + event.lasts_s
            case "unreachable":
                self.broker.reachable = False
                self.broker.drop_connection()
                self.clock.after(event.lasts_s, self._reachable)
            case "broker_restart" | "session_lost":
                persistent = event.kind == "broker_restart"
                self._lossless &= persistent or self.broker.session is None
                self.broker.stop(persistent=persistent)
                self.clock.after(event.lasts_s, self._broker_up)
            case "disk_fault":
                places = [place for bit, place in enumerate(PLACES) if event.number and event.amount >> bit & 1]
                self.disk.faults = dict.fromkeys(places, event.number)
                self._fault_until = self.clock.now + event.lasts_s + 120.0
                self.clock.after(event.lasts_s, self._disk_heals)
            case "slow_disk":
                self.disk.sync_s = 2.0
                self.clock.after(event.lasts_s, self._disk_heals)
            case "clock_step":
                self.clock.offset += event.lasts_s

    def _end(self) -> None:
        self._check_answered()
        self._over = True
        self._stop()

    def _stop(self) -> None:
        if self._loop is not None and self._app is not None:
            life = self.witness.life
            self._loop.call_soon(self._app.stop)
            self.clock.after(STOP_S, lambda: self._check_stopped(life))

    def _kill(self) -> None:
        if self._loop is not None:
            self._loop.kill_after(0)

    def _reachable(self) -> None:
        self.broker.reachable = True

    def _broker_up(self) -> None:
        self.broker.up = True

    def _disk_heals(self) -> None:
        self.disk.faults, self.disk.sync_s = {}, 0.0

    def _clear_up(self) -> None:
        self._reachable()
        self._broker_up()
        self._disk_heals()
        self.disk.kill_inside = False

    # --- what must hold ---

    def _committed(self, place: Place) -> None:
        """A transaction has landed, or a dead process has left behind what it could."""
        database = self.disk.databases.get(f"{FOLDER}/journal.sqlite")
        if place != "journal" or database is None:
            return
        ((base,),) = database.rows("SELECT position FROM base")
        ((last,),) = database.rows("SELECT max(position) FROM entry")
        select = 'SELECT position, "group", record FROM entry WHERE position > ? ORDER BY position'
        self.witness.journal_is(max(base, last or 0), lambda after: database.rows(select, (after,)))

    def _new_session(self) -> None:
        """The one case that is excused: session and disk fail at once, so that the loss can't be written down.

        The daemon subscribes all the same. If it dies before the disk heals, a message of the new session may be taken
        for one of the old, if it has the same packet id and the same bytes.
        """
        if "journal" in self.disk.faults or (self._app is not None and self._app._keeper.failing):
            self.witness.excused = True

    def _check_bounds(self) -> None:
        """What is held is bounded by what the broker may send ahead."""
        app, inbox = self._app, self.conditions.inbox
        if app is not None and app.started.is_set():
            held, entries = app._link.held, len(app._keeper._entries)
            if held > 4 * inbox + 200:
                self._fail(f"{held} messages are held with an inbox of {inbox}")
            if entries > 4 * (4 * inbox + 200):
                self._fail(f"{entries} records wait with an inbox of {inbox}")

    def _check_answered(self) -> None:
        if self.broker.pending:
            self._fail(f"{self.broker.pending} messages are not acknowledged although nothing has been wrong for long")
        if unanswered := self.witness.unanswered():
            self._fail(f"the last frames of {unanswered} were not answered")
        self.witness.check(lossless=self._lossless)

    def _check_stopped(self, life: int) -> None:
        if self._loop is not None and life == self.witness.life:
            self._fail("the daemon does not stop")

    def _compare_states(self) -> None:
        """A last life finds what the run that was never interrupted has; to the bit."""
        self.clock.after(60.0, self._kill)
        self._live()
        self._compare_archive()
        rows = Spill.open(SimPath(self.disk, f"{FOLDER}/spill.sqlite"))  # type: ignore[arg-type]
        for (name, wanted), found in zip(self.witness.engines.items(), self.engines, strict=True):
            there = found.absent(stream for group, stream in self.witness.numbers if group == name)
            stored = [(stream, rows.get(f"{name}/{stream}")) for stream in there]
            found.restore([(stream, row) for stream, row in stored if row is not None])
            if state(found) != state(wanted):
                self._fail(f"the state of {name} is not that of a run that was never interrupted")

    def _compare_archive(self) -> None:
        """Every incident that happened is archived, once, and none that did not."""
        kept = sqlite.Database.made(SimPath(self.disk, f"{FOLDER}/incidents.sqlite"), archive.LAYOUT, None)  # type: ignore[arg-type]
        found = [archive.Item(*row) for row in kept.rows('SELECT "group", incident, kind, place, body FROM kept')]
        if set(found) != self.witness.archived or len(found) != len(self.witness.archived):
            more, less = set(found) - self.witness.archived, self.witness.archived - set(found)
            self._fail(f"the archive lacks {less} and has {more} that it should not")

    # --- what is put in the place of what ---

    def _engine(self, settings: Group, trainer: Any) -> Any:
        made = self._make_engine(settings, trainer)
        self.engines.append(made)
        return made


class _AtOnce:
    """A trainer for the run that is never interrupted."""

    def __init__(self, train: Callable[[Any], Any]) -> None:
        self._train = train

    def submit(self, job: Any) -> None:
        self._job = job

    def result(self) -> Any:
        return self._train(self._job)


def state(engine: Any) -> Any:
    """All of an engine's state, whatever the order of its streams; the engine is empty afterwards."""
    rows = dict(engine.spill(engine.resident))
    arrays, meta = engine.state_dict()
    return rows, {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}, meta


def _config(given: Conditions, group: Group) -> Config:
    group = msgspec.structs.replace(group, max_batch=given.max_batch, max_resident_streams=given.residents)
    return Config(
        mqtt=Mqtt(inbox_messages=given.inbox, reconnect_min_s=1.0, reconnect_max_s=60.0, prefix=PREFIX),
        source=SOURCES,
        group={source.group: group for source in SOURCES},
        state=State(folder=FOLDER, commit_ms=given.commit_ms, commit_frames=given.commit_frames),
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
