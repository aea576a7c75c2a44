"""The network of a group, and when it learns: what falls due, what is installed, and what is turned down.

The schedule is counted in frames, so that it is the same in every run. A job falls due at a frame count, and its
candidate is installed at a later one that was fixed when it fell due; in between, it is worked on elsewhere.
Knows frames and weights; no threads: a `Trainer` carries the jobs out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from streamd.config import Training
from streamd.engine.memory import Memory
from streamd.model.network import Shape, Weights, distance, from_arrays, init, is_finite, to_arrays, widen
from streamd.model.training import Candidate, Job, Optimizer, Windows, fresh_optimizer, train
from streamd.records import HELD, Array, Report

FULL_RATE_STREAMS = 64  # with more streams, jobs do not fall due more often than with so many
STALE = 0.2  # a hidden state is replayed when the weights have moved so far, relative, since it was made
WINDOW_ARRAYS = ("x", "h", "c", "target", "weight")
NUMBERS = ("due_at", "install_at", "generation", "stretch", "frozen")  # attributes that are plain state


class Trainer(Protocol):
    """Carries out one job at a time."""

    def submit(self, job: Job) -> None:
        """Begin a job; an unfinished one before it is forgotten."""

    def result(self) -> Candidate:
        """The candidate of the job submitted last; waits for it where it must."""


class InlineTrainer:
    """Trains when the result is asked for: for tests, and where nothing else has to go on meanwhile."""

    def submit(self, job: Job) -> None:
        self._job = job

    def result(self) -> Candidate:
        return train(self._job)


class Learner:
    """Weights, optimizer and schedule of one group."""

    def __init__(self, settings: Training, shape: Shape, seed: int, trainer: Trainer) -> None:
        self._settings = settings
        self._trainer = trainer
        self._seed = seed
        self._random = np.random.Generator(np.random.PCG64(seed))
        self.shape = shape
        self.weights = init(shape, seed)
        self.generation = 0  # a hidden state made by weights of an older one is stale
        self._generation_weights = self.weights
        self._optimizer = fresh_optimizer(self.weights)
        self._job: Job | None = None
        self.due_at = 0
        self.install_at = 0
        self.stretch = 1.0
        self.frozen = False

    @property
    def generator(self) -> np.random.Generator:
        """Where all of the engine's chance comes from."""
        return self._random

    def waits(self, frames: int) -> bool:
        """Whether a candidate is to be installed before the next frame, when `frames` have been applied."""
        return self._job is not None and frames >= self.install_at

    def begin(self, frames: int, streams: int, memory: Memory, favour: Callable[[], float]) -> None:
        """Hand over a job if one is due, when `frames` have been applied to `streams` streams.

        Args:
            favour: gives how far recent windows are preferred, 0..1.
        """
        settings = self._settings
        if self.frozen or self.stretch == HELD or not settings.enabled or self._job is not None:
            return
        if frames < self.due_at or not memory.ready:
            return
        recent = favour()
        rows = [memory.sample(settings.windows, self._random, recent) for _ in range(settings.steps)]
        batches = tuple(map(memory.windows, rows))
        pace = min(max(streams, 1), FULL_RATE_STREAMS) * self.stretch
        self.due_at = frames + math.ceil(settings.every_frames * pace)
        self.install_at = frames + math.ceil(settings.lag_frames * pace)
        self._submit(batches, memory.windows(memory.held_back()))

    def freeze(self) -> None:
        """Keep the weights as they are from now on; a job that is under way is forgotten."""
        self.frozen = True
        self._job = None

    def configure(self, settings: Training) -> None:
        """Other settings for the jobs to come; the one under way is carried out with those that it was begun with."""
        self._settings = settings

    def install(self) -> Report:
        """Take the candidate over if it is not worse than the weights in use; drop it otherwise."""
        candidate = self._trainer.result()
        self._job = None
        losses = candidate.loss, candidate.held_back_before, candidate.held_back_after
        # the losses may be finite by luck: a weight behind a gate that is shut, a moment that has not told yet
        moments = candidate.optimizer.first, candidate.optimizer.second
        finite = all(map(math.isfinite, losses)) and all(map(is_finite, (candidate.weights, *moments)))
        accepted = finite and candidate.held_back_after <= candidate.held_back_before
        if accepted:
            self.weights, self._optimizer = candidate.weights, candidate.optimizer
            if distance(self._generation_weights, self.weights) > STALE:
                self._generation_weights = self.weights
                self.generation += 1
        return Report(
            accepted=accepted,
            reason="better" if accepted else "worse" if finite else "not_finite",
            loss=candidate.loss,
            held_back_before=candidate.held_back_before,
            held_back_after=candidate.held_back_after,
            steps=candidate.steps,
        )

    def widen(self, channels: int) -> None:
        """Room for more channels; a job that is under way is forgotten, since its candidate would not fit."""
        old = self.shape
        new = Shape(channels, old.planes, old.extras, old.horizon, old.hidden, old.layers)
        if old.channels == 0:
            # nothing was learnt yet: the same network as if the channels had been known from the start
            self.weights = self._generation_weights = init(new, self._seed)
            self._optimizer = fresh_optimizer(self.weights)
        else:
            self.weights = widen(self.weights, old, new)
            self._generation_weights = widen(self._generation_weights, old, new)
            moments = self._optimizer
            self._optimizer = Optimizer(moments.step, widen(moments.first, old, new), widen(moments.second, old, new))
        self.shape = new
        self._job = None
        self.due_at = 0

    def state_dict(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays, and what else there is as plain numbers and texts; an unfinished job included."""
        arrays: dict[str, Array] = {}
        for name, weights in self._weight_sets().items():
            arrays |= {f"{name}.{key}": array for key, array in to_arrays(weights).items()}
        if self._job is not None:
            for number, windows in enumerate((*self._job.batches, self._job.held_back)):
                arrays |= {f"job.{number}.{key}": getattr(windows, key) for key in WINDOW_ARRAYS}
        meta = {
            "random": self._random.bit_generator.state,
            "optimizer_step": self._optimizer.step,
            "job_batches": None if self._job is None else len(self._job.batches),
            "job_rates": None if self._job is None else [self._job.learning_rate, self._job.clip_norm],
            **{key: getattr(self, key) for key in NUMBERS},
        }
        return arrays, meta

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; an unfinished job is begun anew, with the same result.

        Raises:
            ValueError: an array is missing, or the arrays are of another network than the settings ask for.
        """
        sets = {}
        for name, weights in self._weight_sets().items():
            for key, fits in to_arrays(weights).items():
                array = arrays.get(f"{name}.{key}")
                if array is None or array.shape != fits.shape or array.dtype != fits.dtype:
                    found = None if array is None else f"{array.dtype}{array.shape}"
                    raise ValueError(f"{name}.{key}: {found} is not {fits.dtype}{fits.shape}")
            sets[name] = from_arrays({key: arrays[f"{name}.{key}"] for key in weights})
        self.weights, self._generation_weights = sets["weights"], sets["generation_weights"]
        self._optimizer = Optimizer(meta["optimizer_step"], sets["first"], sets["second"])
        self._random.bit_generator.state = meta["random"]
        for key in NUMBERS:
            setattr(self, key, meta[key])
        self._job = None
        if meta["job_batches"] is not None:
            *batches, held_back = (
                Windows(**{key: arrays[f"job.{number}.{key}"] for key in WINDOW_ARRAYS})
                for number in range(meta["job_batches"] + 1)
            )
            self._submit(tuple(batches), held_back, meta.get("job_rates"))  # older states do not tell

    def _submit(
        self, batches: tuple[Windows, ...], held_back: Windows, rates: tuple[float, float] | None = None
    ) -> None:
        """Begin a job; `rates`: learning rate and norm to clip at, where they are not those of the settings."""
        settings = self._settings
        learning_rate, clip_norm = rates or (settings.learning_rate, settings.clip_norm)
        burn_in = held_back.x.shape[1] - settings.train_frames
        self._job = Job(
            shape=self.shape,
            weights=self.weights,
            optimizer=self._optimizer,
            batches=batches,
            held_back=held_back,
            burn_in=burn_in,
            learning_rate=learning_rate,
            clip_norm=clip_norm,
        )
        self._trainer.submit(self._job)

    def _weight_sets(self) -> dict[str, Weights]:
        return {
            "weights": self.weights,
            "generation_weights": self._generation_weights,
            "first": self._optimizer.first,
            "second": self._optimizer.second,
        }
