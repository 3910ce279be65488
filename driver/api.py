"""The public functions: tune, compile, replay, load.

    tuned = tune(model, trials=256, example_inputs=(x,), calibration=batches, log="run.jsonl")
    again = compile(model, example_inputs=(x,), calibration=batches, log="run.jsonl")

Each also takes a kernel that a person wrote, with the arguments of its namesake in ``own.py``.
Arguments are checked before the model is touched, and the log is opened last: a call that fails on
what it was given writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from ..options import checks
from ..quant.recipe import DEFAULT_RECIPE, Recipe
from ..target.protocol import Target
from ..tuner.measure import Measurer
from ..tuner.records import Contents, read
from ..tuner.run import Callback
from ..tuner.settings import DEFAULT_SEARCH, Search
from . import own
from .default import TARGET
from .either import or_kernel
from .given import Given
from .model_log import logged, require_own
from .model_program import Together, arranged
from .model_search import ModelSearch, program
from .points import (
    MODES,
    Points,
    Sought,
    by_default,
    recipe_of,
    replayed,
    searched,
    target_of,
)
from .prepare import Ready
from .store import load
from .tuned import Tuned

__all__ = ["compile", "load", "replay", "tune"]


@or_kernel(own.tune)
def tune(
    model: object,
    trials: int | None = None,
    example_inputs: object = None,
    calibration: object = None,
    target: str | Target = TARGET,
    log: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    *,
    recipe: Recipe = DEFAULT_RECIPE,
    search: Search = DEFAULT_SEARCH,
    executor: Executor | int | None = None,
    timeout: float = 120.0,
    callbacks: Sequence[Callback] = (),
) -> Tuned:
    """Searches the schedules of a model's kernels and gives the model with the best ones.

    ``example_inputs`` are the model's arguments: a tuple of them, one tensor, a dict of keywords,
    or ``(args, kwargs)`` as torch.export takes them. Tensors may be nested in all that torch's
    pytree opens; None, numbers and words become constants. A batch of ``calibration`` is of the
    same form, and several along the first axis are cut.

    ``recipe`` has the options of quantization, ``search`` those of the search; ``trials`` and
    ``seed``, where given, take the place of its own. Trials are the total over all kernels; one
    without a trial runs its default. The same call on the same ``log`` resumes.

    ``executor`` measures: any of concurrent.futures, or a number of worker processes of our own,
    one a processor for None, 0 for this process; a trial may take ``timeout`` seconds. Each of
    ``callbacks`` is called with a ``Progress`` for every default that was chosen, then for every
    trial that was written.
    """
    given = Given.of(target, executor, timeout, recipe, callbacks)
    sought = Sought.of(search, trials, seed, log)
    found = given.ready(model, example_inputs, calibration)
    return _tuned(found, searched(found, sought, given, partial(ModelSearch.begin, found)))


@or_kernel(own.compile)
def compile(
    model: object,
    example_inputs: object = None,
    calibration: object = None,
    target: str | Target = TARGET,
    log: str | os.PathLike[str] | None = None,
    *,
    recipe: Recipe = DEFAULT_RECIPE,
    executor: Executor | int | None = None,
    timeout: float = 600.0,
    callbacks: Sequence[Callback] = (),
) -> Tuned:
    """The model without a search: each kernel at its best point in ``log``, or at its default.

    Example inputs, calibration, recipe, executor and callbacks are as for ``tune``.
    """
    given = Given.of(target, executor, timeout, recipe, callbacks)
    path = None if log is None else checks.path("log:", log)
    if path is not None:
        read(path)
    return compile_ready(given.ready(model, example_inputs, calibration), given, path)


def compile_ready(found: Ready, given: Given, log: Path | None = None) -> Tuned:
    """Compiles a prepared model, or some of its kernels."""
    if log is not None:
        return _replayed(found, log, "apply", given)
    return _tuned(found, by_default(found, given))


@or_kernel(own.replay)
def replay(
    log: str | os.PathLike[str],
    model: object,
    mode: str = "apply",
    example_inputs: object = None,
    calibration: object = None,
    target: str | Target | None = None,
    *,
    recipe: Recipe | None = None,
    executor: Executor | int | None = None,
    timeout: float = 600.0,
    callbacks: Sequence[Callback] = (),
) -> Tuned:
    """The model as a log says: ``apply`` takes the best points; ``strict`` refuses a log of other
    kernels, another recipe, target or version; ``verify`` also measures and checks each best point
    once more, and tells in ``tuned.drift``. Target and recipe, where not given, are the log's."""
    mode = checks.choice("replay: the mode", mode, MODES)
    path = checks.path("log:", log)
    contents = read(path)
    target = target_of(contents) if target is None else target
    recipe = recipe_of(contents) if recipe is None else recipe
    given = Given.of(target, executor, timeout, recipe, callbacks)
    found = given.ready(model, example_inputs, calibration)
    return _replayed(found, path, mode, given)


def _replayed(found: Ready, path: Path, mode: str, given: Given) -> Tuned:
    def whole(contents: Contents, measurer: Measurer, strict: bool) -> Together | None:
        if strict:
            require_own(found, contents)
        return logged(found, contents, measurer)

    return _tuned(found, replayed(found, path, mode, given, whole))


def _tuned(found: Ready, points: Points) -> Tuned:
    """The model as it takes the fewest cycles: at the best point of the whole model that is known,
    at those of its kernels by themselves, or at its defaults."""
    default = program(found, points.defaults)
    ways = [(points.defaults, default)]
    if points.choices != points.defaults:
        ways.insert(0, (points.choices, program(found, points.choices)))
    if points.together is not None:
        ways.insert(0, (points.together.choices, arranged(found, points.together)))
    choices, best = min(ways, key=lambda way: way[1].cycles)
    return Tuned(found, choices, best, default, points.missing, points.drift)
