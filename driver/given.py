"""The arguments that tune, compile and replay have in common, checked before any work begins.

given = Given.of("dsp", 2, 120.0, Recipe(), ())
given.machine, given.executor
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
from ..tuner.run import Callback
from .errors import InputError
from .prepare import Ready, prepare
from .targets import parse


@dataclass(frozen=True, slots=True)
class Given:
    """The machine, the executor that measures (or a number of our workers), the recipe of
    quantization, and who hears of progress."""

    machine: Target
    executor: Executor | int | None
    timeout: float
    recipe: Recipe
    callbacks: tuple[Callback, ...]

    @staticmethod
    def of(
        target: object, executor: object, timeout: object, recipe: object, callbacks: object
    ) -> Given:
        """InputError where an argument cannot be used."""
        return Given(
            parse(target),
            *checks.hands(executor, timeout),
            Recipe.require("recipe:", recipe),
            checks.functions("callbacks:", callbacks),
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
        with hired(self.executor, self.timeout) as hands:
            yield hands
