"""The tuning loop: tasks, trials, log -> the best point of each kernel.

    best = tune_tasks(tasks, trials=256, log="run.jsonl", seed=0, target="dsp", model_key=key)
    best[task.key].point

The scheduler picks a kernel, its search proposes a batch, ``run.py`` turns it into records. Every
decision follows from the seed and the records, so the same call on a log that was cut short
repeats them from the records, and goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .asked import Asked
from .log import Log
from .measure import Measurer, hired
from .ranker import shipped
from .records import header
from .run import Best, Callback, Run, State
from .scheduler import Scheduler
from .search import SEARCHES
from .task import Task, TuneError
from .warm import Warm


def tune_tasks(
    tasks: Sequence[Task],
    trials: int,
    *,
    target: str,
    model_key: str,
    log: str | Path | None = None,
    seed: int = 0,
    search: str = "evolution",
    append: bool = False,
    resume: bool = True,
    executor: Executor | None = None,
    workers: int | None = None,
    timeout: float = 120.0,
    warm: Sequence[str | Path] = (),
    callbacks: Sequence[Callback] = (),
) -> dict[str, Best]:
    """The best point of each kernel, by key, after ``trials`` trials over all of them.

    The same call on the same log resumes (``resume=False`` refuses that); any other is refused
    unless ``append``. ``workers=0`` measures in this process, without time-out or isolation.
    ``warm`` names logs whose trials the search may know: those of these kernels, and of others to
    rank points by.
    """
    asked = Asked.of(trials, seed, search, append, resume, warm, callbacks)
    with hired(executor, workers, timeout) as hands:
        return search_tasks(
            tasks, asked, target=target, model_key=model_key, log=log, executor=hands,
            timeout=timeout,
        )  # fmt: skip


def search_tasks(
    tasks: Sequence[Task],
    asked: Asked,
    *,
    target: str,
    model_key: str,
    log: str | Path | None,
    executor: Executor,
    timeout: float,
) -> dict[str, Best]:
    """As ``tune_tasks``, with arguments that were checked."""
    _require_own_keys(tasks)
    warm = Warm.of(asked.warm, target, tasks)
    ranker = warm.ranker(shipped())
    head = run_header(tasks, target, model_key, asked.seed, asked.search, warm.digest, ranker.name)
    search = SEARCHES[asked.search]
    with ExitStack() as stack:
        held = stack.enter_context(Log(log, head, asked.append, asked.resume))
        measurer = stack.enter_context(Measurer(executor, timeout=timeout))
        states = [
            State(task, search(task, asked.seed, warm.trials.get(task.key, ()), ranker))
            for task in tasks
        ]
        scheduler = Scheduler(tasks, asked.seed)
        Run(states, asked.trials, held, measurer, scheduler, asked.callbacks).run()
    return {state.task.key: state.best for state in states}


def get_ready(tasks: Sequence[Task]) -> None:
    """Loads what a search over ``tasks`` begins with: for a time when this process only waits. A
    kernel without code is for others to tell."""
    assert shipped().columns
    for task in tasks:
        with suppress(ValueError):
            assert task.space is not None


def _require_own_keys(tasks: Sequence[Task]) -> None:
    keys = [task.key for task in tasks]
    if len(set(keys)) != len(keys):
        raise TuneError("tune: tasks must have different keys, but two kernels share one")


def versions() -> dict[str, str]:
    """The versions that decide which points a search proposes and what they cost."""
    found = {}
    for name, packages in {
        "dovetail": ("dovetail",),
        "numpy": ("numpy",),
        "xgboost": ("xgboost-cpu", "xgboost"),
    }.items():
        found[name] = next((text for text in map(_version, packages) if text), "unknown")
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def run_header(
    tasks: Sequence[Task],
    target: str,
    model_key: str,
    seed: int,
    search: str = "evolution",
    warm: str = "",
    ranker: str = "",
) -> dict[str, Any]:
    """The header of a run: all that its trials depend on, except their number. ``warm`` and
    ``ranker`` name what the search knew before, ``columns`` the features of its records."""
    kernels = [
        {"key": task.key, "name": task.name, "kind": task.kind, "weight": task.weight}
        | {"form": {name: list(band) for name, band in task.form.items()}}
        | {"bound": task.bound, "space": task.space.fingerprint, "default": task.default}
        for task in tasks
    ]
    columns = list(tasks[0].columns) if tasks else []
    more: dict[str, Any] = {"search": search, "warm": warm, "ranker": ranker}
    more |= {"columns": columns, "kernels": kernels}
    return header(versions(), target, model_key, seed, **more)
