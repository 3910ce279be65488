"""The arguments that tune, compile and replay have in common, checked before any work begins.

given = Given.of("dsp", None, 2, 120.0, Recipe(), None)
given.machine, given.workers
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from ..options import checks
from ..quant.recipe import Recipe
from ..target.protocol import Target
from ..tuner.measure import hired
from .choose import Heard
from .errors import InputError
from .prepare import Ready, prepare
from .targets import parse


@dataclass(frozen=True, slots=True)
class Given:
    """The machine, the executor or workers that measure, the recipe of quantization, and a
    listener."""

    machine: Target
    executor: Executor | None
    workers: int | None
    timeout: float
    recipe: Recipe
    heard: Heard | None

    @staticmethod
    def of(target: object, executor: object, workers: object, timeout: object, recipe: object,
           heard: object) -> Given:  # fmt: skip
        """InputError where an argument cannot be used."""
        return Given(
            parse(target),
            *checks.hands(executor, workers, timeout),
            Recipe.require("recipe:", recipe),
            checks.function("heard:", heard),
        )

    def ready(self, model: object, inputs: object, calibration: object) -> Ready:
        """The model's kernels on the machine, which must have code for the recipe."""
        if self.recipe.mode not in self.machine.modes:
            modes = ", ".join(map(repr, self.machine.modes))
            raise InputError(
                f"recipe: code for {self.machine.name} rescales sums by mode {modes}, but got "
                f"mode {self.recipe.mode!r}; give mode={modes} (--requantize), or take "
                "dovetail.quantize (run --evaluate), which has all modes"
            )
        return prepare(model, inputs, calibration, self.machine, self.recipe)

    @contextmanager
    def hired(self) -> Iterator[Executor]:
        """The executor that measures; one of our own ends with the block."""
        with hired(self.executor, self.workers, self.timeout) as hands:
            yield hands
