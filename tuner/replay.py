"""Replay: what a log says about the kernels of a model, without a search.

best = apply("run.jsonl", tasks, target="dsp")             # the best checked point of each
best = apply("run.jsonl", tasks, target="dsp", strict=True)  # and the log is of this model
for row in verify("run.jsonl", tasks, target="dsp"): ...   # measured and checked once more
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..schedule.errors import ScheduleError
from .measure import Measurer
from .missing import why
from .records import DEFAULT_RECIPE, Contents, LogError, TrialRecord, read, recipe_text
from .run import Best
from .task import MODEL, OK, Task
from .tune import versions


@dataclass(frozen=True, slots=True)
class Drift:
    """A kernel measured again: the log's best record, and the status and cost of today."""

    best: Best
    status: str
    cost: float | None
    message: str

    @property
    def same(self) -> bool:
        """Whether the cost repeats and the values are right."""
        return self.status == OK and self.cost == self.best.cost


def apply(
    path: str | Path,
    tasks: Sequence[Task],
    target: str,
    strict: bool = False,
    recipe: Mapping[str, object] = DEFAULT_RECIPE,
    model: str = "",
) -> dict[str, Best]:
    """The best checked point of each kernel; the default point for a kernel without a trial. Some
    kernel must have one, or the ``model`` as a whole."""
    contents = read(path)
    if strict:
        _strict(contents, tasks, target, recipe)
    records = list(_of_target(contents, target))
    found = {task.key: _best(contents.path, task, records) for task in tasks}
    whole = any(record.kernel == MODEL and record.checked for record in records
                if contents.headers[record.run]["model"] == model)  # fmt: skip
    if tasks and not whole and all(best.cost is None for best in found.values()):
        raise LogError(
            f"log {path}: a replay needs a good trial of at least one kernel of the model on "
            f"target {target!r}, but none of its {len(records)} trials there is one"
        )
    return found


def verify(
    path: str | Path,
    tasks: Sequence[Task],
    target: str,
    executor: Executor | int | None = None,
    timeout: float = 120.0,
    model: str = "",
) -> list[Drift]:
    """Measures and checks the best point of each kernel once more."""
    found = apply(path, tasks, target, model=model)
    with Measurer(executor, timeout) as measurer:
        return [_again(measurer, best) for best in found.values() if best.cost is not None]


def _again(measurer: Measurer, best: Best) -> Drift:
    measured = measurer.run(best.task, "measure", [best.point])[0]
    if measured.status != OK:
        return Drift(best, measured.status, None, measured.message)
    checked = measurer.run(best.task, "check", [best.point])[0]
    return Drift(best, checked.status, measured.cost, checked.message)


def _of_target(contents: Contents, target: str) -> Iterator[TrialRecord]:
    for record in contents.records():
        if contents.headers[record.run]["target"] == target:
            yield record


def _best(path: str, task: Task, records: Iterable[TrialRecord]) -> Best:
    best = Best(task, task.default)
    for record in records:
        cost = record.cost
        if record.kernel != task.key or cost is None or not record.checked:
            continue
        if best.cost is None or cost < best.cost:
            try:
                best = Best(task, task.space.point(record.point), cost, record.index)
            except ScheduleError as error:
                raise LogError(
                    f"log {path}: the points of kernel {task.name!r} must be in its space, "
                    f"but trial {record.index} is not ({error})"
                ) from None
    return best


def _strict(
    contents: Contents, tasks: Sequence[Task], target: str, recipe: Mapping[str, object]
) -> None:
    """Refuses a log that is not of exactly these kernels, this target and these versions."""
    head = f"log {contents.path}: strict replay: "
    if not contents.headers:
        raise LogError(f"{head}there must be a run, but the log is empty")
    for run in contents.headers.values():
        if found := _misfit(run, tasks, target, recipe):
            rule, got = found
            raise LogError(f"{head}{rule}, but run {run['run']} has {got}")


def _misfit(
    run: Mapping[str, Any], tasks: Sequence[Task], target: str, recipe: Mapping[str, object]
) -> tuple[str, str] | None:
    """The first rule that the header of a run breaks, and what it has instead."""
    if run["target"] != target:
        return f"the target must be {target!r}", repr(run["target"])
    for package, wanted in versions().items():
        if run["versions"].get(package) != wanted:
            return f"{package} must be {wanted!r}", repr(run["versions"].get(package))
    if run.get("recipe", {}) != recipe:
        return f"the recipe must be {recipe_text(recipe)}", recipe_text(run.get("recipe"))
    logged = {row["key"]: row for row in run.get("kernels", ())}
    by_name = {row["name"]: row for row in logged.values()}
    for task in tasks:
        if task.key not in logged:
            reason = why(task, by_name.get(task.name))
            return "each kernel must be in the run", f"no {task.name!r} ({task.key}): {reason}"
    known = {task.key for task in tasks}
    for key, row in logged.items():
        if key not in known:
            return "each kernel must be one of the model's", f"{row['name']!r} ({key})"
    return None
