"""When to commit: seldom enough for an SD card, soon enough that the broker's window does not stand still.

A broker sends only so many messages (its window) ahead of our acknowledgements, and we acknowledge after a commit; a
window that is smaller than what arrives between two commits would cap the rate. How large it is nobody tells, so it is
found out: when nothing comes any more although so many messages wait for their acknowledgement, a commit is made at
once; if more comes right after it, the window was what held things up. Pure: the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_WINDOW = 20  # messages; Mosquitto's default
STALL_S = 0.01  # nothing came for so long although there was nothing else to do: it is held back
UNSURE_S = (
    0.1  # the same while that is a guess: in a steady flow something comes meanwhile, and shows that it was wrong
)
SURE = 3  # early commits in a row that were answered: the window is known
ANSWER_S = 0.05  # what comes so soon after the acknowledgements had waited for them
REPEATS = 3  # timed commits in a row that ended the same stall show a window that is smaller than was thought


@dataclass(frozen=True, slots=True)
class _Commit:
    time: float
    pending: int
    early: bool


class Pace:
    """Decides for one link and one journal.

    Args:
        commit_s: a record waits no longer than this.
        commit_frames: no more frames than this wait.
        largest_window: messages that the broker can have ahead at most, by our own limit.
    """

    def __init__(self, commit_s: float, commit_frames: int, largest_window: int) -> None:
        self._commit_s = commit_s
        self._commit_frames = commit_frames
        self._largest = largest_window
        self.window = min(SMALLEST_WINDOW, largest_window)  # messages; the best guess
        self.held_back = 0  # times that the window turned out to be what held things up
        self._answers = 0  # early commits in a row, with this window, that let more in
        self._frames = 0  # that wait, but for those of a commit under way
        self._oldest: float | None = None
        self._begun: tuple[int, float | None] = (0, None)  # frames and oldest of the commit under way
        self._last_arrival = 0.0
        self._commit: _Commit | None = None  # the last one, while its answer may still come
        self._stalls: list[int] = []  # messages that waited at timed commits which ended a stall

    @property
    def sure(self) -> bool:
        """Whether the window is known to be what holds things up: one early commit that is answered may be chance."""
        return self._answers >= SURE

    def configure(self, commit_s: float, commit_frames: int) -> None:
        """Other limits from now on; a wait under way ends as it would have."""
        self._commit_s, self._commit_frames = commit_s, commit_frames

    def noted(self, frames: int, now: float) -> None:
        """A record of so many frames waits for its commit."""
        self._frames += frames
        if self._oldest is None:
            self._oldest = now

    def arrived(self, now: float, pending: int) -> None:
        """Messages came in; `pending` of all are not acknowledged."""
        commit, self._commit = self._commit, None
        if commit is not None:
            self._learn(commit, answered=now - commit.time <= ANSWER_S)
        if pending > self.window:  # the broker does send so many ahead
            self._guess(pending)
        self._last_arrival = now

    def due_s(self, now: float, pending: int, dry: bool) -> float | None:
        """Seconds until the next commit; None while nothing waits.

        Args:
            pending: messages that are not acknowledged.
            dry: all that arrived is applied, so there is nothing else to do.
        """
        if self._oldest is None:
            return None
        if self._frames >= self._commit_frames:
            return 0.0
        due = self._oldest + self._commit_s - now
        if dry and pending >= self.window:
            patience_s = STALL_S if self.sure else UNSURE_S
            due = min(due, self._last_arrival + patience_s - now)
        return max(due, 0.0)

    def begin(self) -> None:
        """All that waits is being committed; what is noted from now on waits for the next commit."""
        self._begun = self._frames, self._oldest
        self._frames, self._oldest = 0, None

    def committed(self, now: float, pending: int) -> None:
        """It is committed; `pending` messages are acknowledged now."""
        frames, oldest = self._begun
        stalled = now - self._last_arrival >= STALL_S
        in_time = oldest is not None and now - oldest >= self._commit_s
        early = pending >= self.window and not in_time and frames < self._commit_frames
        self._commit = _Commit(now, pending, early) if stalled else None

    def failed(self) -> None:
        """It is not committed: all of it waits again."""
        frames, oldest = self._begun
        self._frames += frames
        self._oldest = self._oldest if oldest is None else oldest

    def _learn(self, commit: _Commit, *, answered: bool) -> None:
        if commit.early and answered:
            self.held_back += 1
            self._answers += 1
        elif commit.early:
            self._guess(2 * self.window)
        elif answered and 0 < commit.pending < self.window:
            self._stalls = [n for n in self._stalls if n == commit.pending] + [commit.pending]
            if len(self._stalls) == REPEATS:
                self._stalls = []
                self._guess(commit.pending)

    def _guess(self, window: int) -> None:
        if (window := min(window, self._largest)) != self.window:
            self.window, self._answers = window, 0
