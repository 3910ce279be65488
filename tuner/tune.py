"""The tuning loop: tasks, trials, log -> the best point of each kernel.

    best = tune_tasks(tasks, Search(256), log="run.jsonl", target="dsp", model_key=key)
    best[task.key].point

The scheduler picks a kernel, its search proposes a batch, ``run.py`` turns it into records. Every
decision follows from the seed and the records, so the same call on a log that was cut short
repeats them from the records, and goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .log import Log
from .measure import Measurer, hired
from .ranker import shipped
from .records import DEFAULT_RECIPE, header
from .run import Best, Callback, KernelState, Run
from .scheduler import Scheduler
from .search import SEARCHES, Searcher
from .settings import Search
from .task import Task, TuneError
from .warm import Warm


def tune_tasks(
    tasks: Sequence[Task],
    search: Search,
    *,
    target: str,
    model_key: str,
    log: str | Path | None = None,
    executor: Executor | int | None = None,
    timeout: float = 120.0,
    callbacks: Sequence[Callback] = (),
    recipe: Mapping[str, object] = DEFAULT_RECIPE,
    whole: tuple[Task, Searcher] | None = None,
) -> dict[str, Best]:
    """The best point of each kernel, by key, after all trials; that of the ``whole`` model, where
    its own decisions are searched with them, under ``MODEL``.

    The same call on the same log resumes; any other is refused unless ``search.append``.
    ``executor`` measures, or so many worker processes; 0 is this one, without time-out or
    isolation. ``recipe`` says in the header how the model was quantized, where it is not by
    default.
    """
    _require_own_keys(tasks)
    warm = Warm.of(search.logs, target, tasks)
    ranker = warm.ranker(shipped())
    head = run_header(tasks, target, model_key, search, warm.digest, ranker.name, recipe)
    searcher = SEARCHES[search.algorithm]
    with ExitStack() as stack:
        hands = stack.enter_context(hired(executor, timeout))
        held = stack.enter_context(Log(log, head, search.append, search.resume))
        measurer = stack.enter_context(Measurer(hands, timeout=timeout))
        states = [
            KernelState(task, searcher(task, search.seed, warm.trials.get(task.key, ()), ranker))
            for task in tasks
        ]
        states += [KernelState(*whole)] if whole else []
        scheduler = Scheduler([state.task for state in states], search.seed)
        Run(states, search.trials, held, measurer, scheduler, callbacks).run()
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
    search: Search,
    warm: str = "",
    ranker: str = "",
    recipe: Mapping[str, object] = DEFAULT_RECIPE,
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
    more: dict[str, Any] = search.logged() | {"warm": warm, "ranker": ranker}
    more |= {"columns": columns, "kernels": kernels}
    more |= {"recipe": dict(recipe)} if recipe else {}
    return header(versions(), target, model_key, **more)
