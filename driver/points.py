"""The points at which kernels run: their defaults, those that a search finds, those of a log.

    points = by_default(found, given)             # or searched(...), or replayed(...)
    points.choices[task.key].cost.cycles

All of it is the same for the kernels of a model and for one that a person wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..options import checks
from ..quant.recipe import Recipe
from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point
from ..target.protocol import Target
from ..tuner import replay as logs
from ..tuner.log import require_writable
from ..tuner.measure import Measurer
from ..tuner.missing import Missing, missing
from ..tuner.records import Contents, LogError, read, recipe_text
from ..tuner.run import Best
from ..tuner.settings import Search
from ..tuner.task import MODEL, OK
from ..tuner.tune import get_ready, tune_tasks
from .choose import Choice, choose, differing
from .errors import InputError
from .given import Given
from .kernel_task import CodeTask
from .model_program import Together
from .model_search import ModelSearch

MODES = ("apply", "verify", "strict")
Choices = Mapping[str, Choice]
Begin = Callable[[Choices, Mapping[str, Sequence[Choice]], Measurer, int], ModelSearch | None]
Replay = Callable[[Contents, Measurer, bool], Together | None]


class Kernels(Protocol):
    """Kernels on one machine: ``kernels`` has all, ``tasks`` one of each form; ``key`` names them
    in logs, ``recipe`` says how their model was quantized."""

    @property
    def machine(self) -> Target: ...

    @property
    def kernels(self) -> Sequence[CodeTask]: ...

    @property
    def tasks(self) -> Sequence[CodeTask]: ...

    @property
    def key(self) -> str: ...

    @property
    def recipe(self) -> Recipe: ...


@dataclass(frozen=True, slots=True)
class KernelDrift:
    """A kernel of a log measured once more: the log's cycles, and the present ones."""

    name: str  # of the kernel
    status: str  # of the new measurement: "ok", "incorrect", ...
    logged: float | None  # cycles that the log says
    cycles: float | None  # cycles that were measured now; None unless it has code
    message: str  # what is wrong; "" if nothing is

    @property
    def same(self) -> bool:
        return self.status == "ok" and self.logged == self.cycles


@dataclass(frozen=True, slots=True)
class Points:
    """Each kernel's point with its cost, and its default; both by key."""

    choices: Mapping[str, Choice]
    defaults: Mapping[str, Choice]
    together: Together | None = None  # the best point of the model as a whole, if there is one
    missing: tuple[Missing, ...] = ()  # kernels that a replayed log does not know
    drift: tuple[KernelDrift, ...] = ()  # of a replay in the mode verify


@dataclass(frozen=True, slots=True)
class Sought:
    """The arguments of a search, checked, and the log that it writes."""

    search: Search
    path: Path | None

    @staticmethod
    def of(search: object, trials: int | None, seed: int | None, log: object) -> Sought:
        """LogError for a log that could not be read or written; writes nothing."""
        wanted = Search.require("tune: search", search).but(trials, seed)
        for earlier in wanted.logs:
            read(earlier)
        path = None if log is None else checks.path("log:", log)
        if path is not None:
            require_writable(path)
        return Sought(wanted, path)


def by_default(found: Kernels, given: Given) -> Points:
    """Every kernel at its default."""
    with given.hired() as hands:
        defaults = _defaults(found, hands, given)
    return Points(defaults, defaults)


def searched(found: Kernels, sought: Sought, given: Given, begin: Begin | None = None) -> Points:
    """The best points of a search; a kernel without a trial runs its default. ``begin`` makes the
    search over all of them together."""
    others: dict[str, list[Choice]] = {}
    with given.hired() as hands, Measurer(hands, timeout=given.timeout) as measurer:
        ready = partial(get_ready, found.tasks)
        defaults = _defaults(found, hands, given, meanwhile=ready, others=others)
        whole = begin and begin(defaults, others, measurer, sought.search.seed)
        hearing = (whole.hear,) if whole else ()
        best = tune_tasks(
            found.tasks, sought.search, target=found.machine.name, model_key=found.key,
            log=sought.path, executor=hands, timeout=given.timeout,
            callbacks=(*hearing, *given.callbacks), recipe=found.recipe.logged(),
            whole=(whole.model, whole) if whole else None,
        )  # fmt: skip
        choices = _chosen(found, best, defaults, hands, given.timeout)
        together = whole.found(best[MODEL]) if whole else None
    return Points(choices, defaults, together)


def replayed(
    found: Kernels, path: Path, mode: str, given: Given, whole: Replay | None = None
) -> Points:
    """The best points of a log, and by ``whole`` the best of all of them together."""
    contents, target, timeout = read(path), found.machine.name, given.timeout
    with given.hired() as hands, Measurer(hands, timeout=timeout) as measurer:
        defaults = _defaults(found, hands, given, _logged_defaults(found, contents))
        strict, recipe = mode == "strict", found.recipe.logged()
        best = logs.apply(path, found.tasks, target, strict, recipe, found.key)
        rows = []
        if mode == "verify":
            rows = logs.verify(path, found.tasks, target, hands, timeout, found.key)
            best |= {row.best.task.key: _true(row) for row in rows}
        choices = _chosen(found, best, defaults, hands, timeout)
        held = {key: row.point for key, row in best.items() if row.cost is not None}
        _hold(found, held, measurer)
        together = whole(contents, measurer, strict) if whole else None
        if together is not None:
            points = {key: one.point for key, one in together.choices.items()}
            _hold(found, {k: at for k, at in points.items() if at != held.get(k)}, measurer)
    drift = [
        KernelDrift(row.best.task.name, row.status, row.best.cost, row.cost, row.message)
        for row in rows
    ]
    if together is not None and mode == "verify":
        drift.append(KernelDrift(MODEL, OK, together.logged, together.cycles, ""))
    elif together is not None and together.cycles != together.logged:
        raise LogError(
            f"replay: a model must take the cycles that its log says, but takes {together.cycles} "
            f"instead of {together.logged}; the log is of another version, tune again"
        )
    missed = missing(contents, found.tasks, target)
    return Points(choices, defaults, together, missed, tuple(drift))


def target_of(log: Contents) -> str:
    """The one target of a log's runs."""
    targets = list(dict.fromkeys(head["target"] for head in log.headers.values()))
    return str(_only(log, "target", targets, targets))


def recipe_of(log: Contents) -> Recipe:
    """The one recipe of a log's runs; the default without a run."""
    recipes = [head.get("recipe", {}) for head in log.headers.values()] or [{}]
    distinct = [recipe for i, recipe in enumerate(recipes) if recipe not in recipes[:i]]
    found = _only(log, "recipe", distinct, map(recipe_text, distinct))
    return Recipe.read(f"log {log.path}: the recipe", found)


def _only(log: Contents, what: str, found: Sequence[Any], texts: Iterable[str]) -> Any:
    """The one of its kind that a log's runs have."""
    if len(found) != 1:
        raise InputError(
            f"replay: log {log.path} must have runs of one {what} or {what}= must be given, "
            f"but it has {', '.join(texts) or 'no run'}"
        )
    return found[0]


def _hold(found: Kernels, points: Mapping[str, Point], measurer: Measurer) -> None:
    """Holds every kernel with a point to its exact bytes, with its present numbers."""
    for task, where in differing(found.kernels, points, measurer):
        raise LogError(
            f"replay: a kernel must give the exact bytes at the point of its log, but "
            f"{task.name!r} does not ({where}); tune into a new log"
        )


def _true(row: logs.Drift) -> Best:
    """A log's best point with its present cycles; the default where the point no longer works."""
    task = row.best.task
    return replace(row.best, cost=row.cost) if row.status == OK else Best(task, task.default)


def _defaults(
    found: Kernels,
    hands: Executor,
    given: Given,
    known: Mapping[str, Point] | None = None,
    meanwhile: Callable[[], object] | None = None,
    others: dict[str, list[Choice]] | None = None,
) -> dict[str, Choice]:
    """The default of each distinct kernel, ``known`` or chosen now; its task takes it over."""
    with Measurer(hands, timeout=given.timeout) as measurer:
        defaults = choose(found.tasks, known or {}, measurer, given.callbacks, meanwhile, others)
    for task in found.tasks:
        task.default = defaults[task.key].point
    return defaults


def _chosen(found: Kernels, best: Mapping[str, Best], defaults: Mapping[str, Choice],
            hands: Executor, timeout: float) -> dict[str, Choice]:  # fmt: skip
    """The best points with their costs; the cycles that the search measured must come again."""
    changed = [task for task in found.tasks if best[task.key].point != defaults[task.key].point]
    points = {task.key: best[task.key].point for task in changed}
    choices = dict(defaults)
    if changed:
        with Measurer(hands, timeout=timeout) as measurer:
            choices.update(choose(changed, points, measurer))
    for task in found.tasks:
        logged, cycles = best[task.key].cost, choices[task.key].cost.cycles
        if logged is not None and logged != cycles:
            raise LogError(
                f"replay: a kernel must take the cycles that its log says, but {task.name!r} takes "
                f"{cycles} instead of {logged:.0f}; the log is of another version, tune again"
            )
    return choices


def _logged_defaults(found: Kernels, contents: Contents) -> dict[str, Point]:
    """The default points that the log's runs began with."""
    spaces = {task.key: task.space for task in found.tasks}
    known: dict[str, Point] = {}
    for head in contents.headers.values():
        for row in head.get("kernels", ()) if head["target"] == found.machine.name else ():
            if row["key"] in spaces and row["space"] == spaces[row["key"]].fingerprint:
                try:
                    known[row["key"]] = spaces[row["key"]].point(row["default"])
                except ScheduleError:
                    continue
    return known
