"""The arguments that tune, compile and replay have in common, checked before any work begins.

given = Given.of("dsp", None, 2, 120.0, "minmax", None)
given.machine, given.workers
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from ..target.protocol import Target
from ..tuner import arguments
from ..tuner.measure import hired
from .choose import Heard
from .prepare import Ready, prepare
from .targets import parse


@dataclass(frozen=True, slots=True)
class Given:
    """The machine, the executor or workers that measure, the observer, and a listener."""

    machine: Target
    executor: Executor | None
    workers: int | None
    timeout: float
    observer: str
    heard: Heard | None

    @staticmethod
    def of(target: object, executor: object, workers: object, timeout: object, observer: object,
           heard: object) -> Given:  # fmt: skip
        """InputError where an argument cannot be used."""
        from ..quant.observe import OBSERVERS

        return Given(
            parse(target),
            *arguments.hands(executor, workers, timeout),
            arguments.choice("observer:", observer, OBSERVERS),
            arguments.function("heard:", heard),
        )

    def ready(self, model: object, inputs: object, calibration: object) -> Ready:
        """The model's kernels on the machine."""
        return prepare(model, inputs, calibration, self.machine, self.observer)

    @contextmanager
    def hired(self) -> Iterator[Executor]:
        """The executor that measures; one of our own ends with the block."""
        with hired(self.executor, self.workers, self.timeout) as hands:
            yield hands
