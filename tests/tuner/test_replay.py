"""Replay: the best of a log, measured again, refused where it does not fit, and searched in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dovetail.tuner.missing import Missing, missing
from dovetail.tuner.recorded import recorded
from dovetail.tuner.records import LogError, read
from dovetail.tuner.replay import apply, verify
from dovetail.tuner.search import SEARCHES
from dovetail.tuner.settings import Search
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.tune import tune_tasks, versions

TASKS = [Synthetic(f"k{i}", i) for i in range(2)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "run.jsonl"
    tune_tasks(TASKS, Search(60), log=path, target="t", model_key="m", executor=0)
    return path


def edited(log: Path, path: Path, line: int, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a log with one line changed."""
    lines = log.read_text().splitlines()
    data = json.loads(lines[line])
    change(data)
    lines[line] = json.dumps(data)
    path.write_text("\n".join(lines) + "\n")
    return path


def refusal(path: Path, tasks: list[Synthetic] = TASKS, target: str = "t") -> str:
    with pytest.raises(LogError) as caught:
        apply(path, tasks, target, strict=True)
    return str(caught.value)


@pytest.mark.parametrize("strict", [False, True])
def test_apply_gives_what_tuning_gave(log: Path, strict: bool) -> None:
    best = tune_tasks(TASKS, Search(60), log=None, target="t", model_key="m", executor=0)
    assert apply(log, TASKS, "t", strict) == best


def test_unchecked_records_do_not_count(log: Path, tmp_path: Path) -> None:
    best = apply(log, TASKS, "t")[TASKS[0].key]
    assert best.index is not None
    path = edited(log, tmp_path / "a", best.index + 1, lambda line: line.update(checked=False))
    after = apply(path, TASKS, "t")[TASKS[0].key]
    assert after.cost is not None and best.cost is not None and after.cost > best.cost


def test_a_kernel_without_trials_runs_its_default(log: Path) -> None:
    other = Synthetic("new", 9)
    assert apply(log, [*TASKS, other], "t")[other.key].point == other.default


def test_verify_measures_again(log: Path, tmp_path: Path) -> None:
    assert [row.same for row in verify(log, TASKS, "t", executor=0)] == [True, True]
    best = apply(log, TASKS, "t")[TASKS[1].key]
    assert best.index is not None and best.cost is not None
    cost = best.cost - 5
    path = edited(log, tmp_path / "a", best.index + 1, lambda line: line.update(cycles=cost))
    rows = verify(path, TASKS, "t", executor=1)
    assert [(row.same, row.cost) for row in rows][1] == (False, best.cost)


def test_verify_finds_wrong_values(log: Path) -> None:
    class Broken(Synthetic):
        def check(self, point: object) -> tuple[bool, str]:
            return False, "all wrong"

    class Refused(Synthetic):
        def measure(self, point: object) -> Any:
            raise ValueError("unheard of")

    rows = verify(log, [Broken("k0", 0), Refused("k1", 1)], "t", executor=0)
    assert [(row.status, row.message) for row in rows] == [
        ("incorrect", "all wrong"),
        ("compile", "ValueError: unheard of"),
    ]


def test_a_log_of_nothing_that_fits_is_refused(log: Path) -> None:
    for tasks, target, count in ((TASKS, "u", 0), ([Synthetic("z", 7)], "t", 60)):
        with pytest.raises(LogError) as caught:
            apply(log, tasks, target)
        assert str(caught.value) == (
            f"log {log}: a replay needs a good trial of at least one kernel of the model on target "
            f"{target!r}, but none of its {count} trials there is one"
        )


def test_a_point_outside_the_space_is_refused(log: Path, tmp_path: Path) -> None:
    best = apply(log, TASKS, "t")[TASKS[0].key]
    assert best.index is not None
    path = edited(log, tmp_path / "a", best.index + 1, lambda line: line["point"].update(unroll=3))
    with pytest.raises(LogError) as caught:
        apply(path, TASKS, "t")
    assert str(caught.value) == (
        f"log {path}: the points of kernel 'k0' must be in its space, but trial {best.index} is "
        f"not (point: knob 'unroll' takes one of its 4 values (1, 2, 4, 8), but got 3)"
    )


def test_strict_refuses_what_differs(log: Path, tmp_path: Path) -> None:
    run = next(iter(read(log).headers))
    head = f"log {log}: strict replay: "
    assert refusal(log, target="u") == f"{head}the target must be 'u', but run {run} has 't'"
    assert refusal(log, TASKS[:1]) == (
        f"{head}each kernel must be one of the model's, but run {run} has 'k1' ({TASKS[1].key})"
    )
    other = Synthetic("new", 9)
    assert refusal(log, [*TASKS, other]) == (
        f"{head}each kernel must be in the run, but run {run} has no 'new' ({other.key}): "
        "the log has no kernel of this name"
    )
    path = edited(log, tmp_path / "a", 0, lambda line: line["versions"].update(dovetail="0"))
    assert refusal(path) == (
        f"log {path}: strict replay: dovetail must be {versions()['dovetail']!r}, "
        f"but run {run} has '0'"
    )
    path = edited(log, tmp_path / "a", 0, lambda line: line.update(schema=1))
    assert refusal(path) == (
        f"log {path}, line 1: the schema must be 3, but got 1; "
        "it is of another version, so tune into a new log"
    )
    (tmp_path / "empty").write_text("")
    assert refusal(tmp_path / "empty") == (
        f"log {tmp_path / 'empty'}: strict replay: there must be a run, but the log is empty"
    )


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_run_on_recorded_trials(log: Path, name: str) -> None:
    task = recorded(TASKS[0], read(log).records())
    search, costs = SEARCHES[name](task, 4, (), None), []
    while points := search.ask():
        found = [task.measure(point).cost for point in points]
        search.tell(points, found)
        costs += found
    assert len(costs) == task.space.count()[0] > 20
    assert min(cost for cost in costs if cost) == apply(log, TASKS, "t")[TASKS[0].key].cost


def test_nothing_recorded_is_an_error(log: Path) -> None:
    with pytest.raises(LogError) as caught:
        recorded(Synthetic("z", 7), read(log).records())
    assert str(caught.value) == (
        "simulate: the log must have trials of the kernel, but has none of 'z'"
    )


class Formed(Synthetic):
    """A task whose key says of its numbers what ``FORMS`` says for its seed."""

    @property
    def form(self) -> dict[str, tuple[int, int]]:
        return {
            0: {"shift": (33, 46), "zero": (0, 0)},
            5: {"shift": (47, 62), "zero": (1, 255)},
            6: {"shift": (33, 46), "zero": (0, 0)},
        }[self.seed]


def test_what_has_no_record_is_told_with_the_reason(tmp_path: Path) -> None:
    logged = [Formed("k0", 0), Synthetic("k1", 1)]
    tune_tasks(logged, Search(9), log=tmp_path / "log", target="t", model_key="m", executor=0)
    contents = read(tmp_path / "log")
    assert missing(contents, logged, "t") == ()
    tasks = [Formed("k0", 5), Formed("k0", 6), Synthetic("new", 9), logged[1]]
    assert missing(contents, tasks, "t") == (
        Missing("k0", "its shift is in 47..62 now, in the log in 33..46 and "
                "its zero is in 1..255 now, in the log 0"),
        Missing("k0", "its shape, its place in memory or its lowering is another"),
        Missing("new", "the log has no kernel of this name"),
    )  # fmt: skip
    assert [row.why for row in missing(contents, logged, "u")] == [
        "the log has no kernel of this name"
    ] * 2
