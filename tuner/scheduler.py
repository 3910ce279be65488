"""The task scheduler: which kernel gets the next batch of trials.

It goes to the kernel whose batch promises the largest fall of the model's end-to-end cost: the
share of its cost that recent batches won, or a share that shrinks with each batch, but never more
than what is left above the bound.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from random import Random

from .task import Task

_FIRST = 0.5  # share of the gap to the bound that a first batch is expected to close
_LATER = 0.3  # share of the cost that a second batch may win; divided by the square of the batches
_MOST = 0.3  # of what one batch won that counts: the fall from a bad default says nothing of later
_CHANCE = 0.05  # of a batch to go to any kernel


@dataclass(slots=True)
class _TaskState:
    task: Task
    start: float  # guessed cost of the default point
    best: float | None = None
    batches: int = 0
    recent: float = _MOST  # fading mean of the shares that batches won
    done: bool = False

    @property
    def cost(self) -> float:
        return self.start if self.best is None else self.best

    def promise(self) -> float:
        """Cost that the next batch may take off the model."""
        gap = max(self.cost - self.task.bound, 0.0)
        if not self.batches:
            return self.task.weight * gap * _FIRST
        share = max(self.recent, _LATER / self.batches**2)
        return self.task.weight * min(gap, self.cost * share)


@dataclass(slots=True)
class Scheduler:
    """Picks tasks by number; a pure function of the seed and the calls of ``tell``."""

    tasks: Sequence[Task]
    seed: int
    _states: list[_TaskState] = field(init=False)
    _rng: Random = field(init=False)

    def __post_init__(self) -> None:
        self._states = [_TaskState(task, task.prior(task.default)) for task in self.tasks]
        self._rng = Random(f"{self.seed}:scheduler")

    def pick(self, busy: Collection[int] = ()) -> int | None:
        """The number of the task that gets the next batch; None if no task but busy ones is
        open."""
        open_tasks = [i for i, state in enumerate(self._states) if not state.done and i not in busy]
        if not open_tasks:
            return None
        if self._rng.random() < _CHANCE:
            return self._rng.choice(open_tasks)
        return max(open_tasks, key=lambda i: (self._states[i].promise(), -i))

    def tell(self, number: int, best: float | None) -> None:
        """A batch of a task is over; best is its lowest cost so far."""
        state = self._states[number]
        won = 0.0 if best is None else min(max(1 - best / state.cost, 0.0), _MOST)
        state.recent = 0.5 * state.recent + 0.5 * won if state.batches else _MOST
        state.best, state.batches = best, state.batches + 1
        if best is not None and best <= state.task.bound:
            state.done = True

    def close(self, number: int) -> None:
        """A task has no more points."""
        self._states[number].done = True
