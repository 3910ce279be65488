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
from pathlib import Path

from ..target.protocol import Target
from ..tuner import arguments
from ..tuner.asked import Asked
from ..tuner.records import read
from ..tuner.run import Callback
from . import own
from .choose import Heard
from .either import or_kernel
from .given import Given
from .points import MODES, Points, Search, Sought, by_default, replayed, searched, target_of
from .prepare import Ready
from .store import load
from .tuned import Tuned

__all__ = ["compile", "load", "replay", "tune"]


@or_kernel(own.tune)
def tune(
    model: object,
    trials: int,
    example_inputs: object = None,
    calibration: object = None,
    target: str | Target = "dsp",
    log: str | os.PathLike[str] | None = None,
    seed: int = 0,
    *,
    append: bool = False,
    resume: bool = True,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 120.0,
    callbacks: Sequence[Callback] = (),
    search: str = "evolution",
    warm: str | Path | Sequence[str | Path] = (),
    observer: str = "minmax",
    heard: Heard | None = None,
    report: Search | None = None,
) -> Tuned:
    """Searches the schedules of a model's kernels and gives the model with the best ones.

    ``example_inputs`` are the model's arguments: a tuple of them, one tensor, a dict of keywords,
    or ``(args, kwargs)`` as torch.export takes them. Tensors may be nested in all that torch's
    pytree opens; None, numbers and words become constants. A batch of ``calibration`` is of the
    same form, and several along the first axis are cut.

    ``trials`` is the total over all kernels; one without a trial runs its default. The same call
    on the same ``log`` resumes. ``callbacks`` hear of every trial, ``heard`` of every default that
    was chosen; ``report`` is filled with what happened.
    """
    given = Given.of(target, executor, workers, timeout, observer, heard)
    asked = Asked.of(trials, seed, search, append, resume, warm, callbacks)
    sought = Sought.of(asked, log, report)
    found = given.ready(model, example_inputs, calibration)
    return _tuned(found, searched(found, sought, given))


@or_kernel(own.compile)
def compile(
    model: object,
    example_inputs: object = None,
    calibration: object = None,
    target: str | Target = "dsp",
    log: str | os.PathLike[str] | None = None,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    observer: str = "minmax",
    heard: Heard | None = None,
) -> Tuned:
    """The model without a search: each kernel at its best point in ``log``, or at its default.

    Example inputs and calibration are as for ``tune``.
    """
    given = Given.of(target, executor, workers, timeout, observer, heard)
    path = None if log is None else arguments.path("log:", log)
    if path is not None:
        read(path)
    return compile_ready(given.ready(model, example_inputs, calibration), given, path)


def compile_ready(found: Ready, given: Given, log: Path | None = None) -> Tuned:
    """Compiles a prepared model, or some of its kernels."""
    if log is not None:
        return _tuned(found, replayed(found, log, "apply", given))
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
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    observer: str = "minmax",
    heard: Heard | None = None,
) -> Tuned:
    """The model as a log says: ``apply`` takes the best points; ``strict`` refuses a log of other
    kernels, another target or version; ``verify`` also measures and checks each best point once
    more, and tells in ``tuned.drift``. Without ``target`` it is the log's."""
    mode = arguments.choice("replay: the mode", mode, MODES)
    path = arguments.path("log:", log)
    contents = read(path)
    target = target_of(contents) if target is None else target
    given = Given.of(target, executor, workers, timeout, observer, heard)
    found = given.ready(model, example_inputs, calibration)
    return _tuned(found, replayed(found, path, mode, given))


def _tuned(found: Ready, points: Points) -> Tuned:
    return Tuned(found, points.choices, points.defaults, points.missing, points.drift)
