"""The tuning loop: the same log from any number of workers and after any interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dovetail.options.checks import InputError
from dovetail.tuner.pool import Inline
from dovetail.tuner.records import LogError, read
from dovetail.tuner.run import Best, Progress
from dovetail.tuner.settings import Search
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import TuneError
from dovetail.tuner.tune import tune_tasks
from tests.tuner.logs import without_times

TASKS = [Synthetic(f"k{i}", i, weight=1 + i) for i in range(3)]
TRIALS = 50


def tune(log: Path | None, tasks: list[Synthetic] = TASKS, **more: Any) -> dict[str, Best]:
    search = {row.name: more.pop(row.name) for row in Search.rows() if row.name in more}
    options: dict[str, Any] = {"executor": 0, "target": "t", "model_key": "m"}
    return tune_tasks(tasks, Search(**{"trials": TRIALS} | search), log=log, **(options | more))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of an uninterrupted run."""
    path = tmp_path_factory.mktemp("whole") / "run.jsonl"
    tune(path)
    return path


def test_each_trial_is_in_the_log_and_the_best_is_checked(whole: Path) -> None:
    best = tune(None)
    records = list(read(whole).records())
    assert [record.index for record in records] == list(range(TRIALS))
    for task in TASKS:
        costs = [r.cost for r in records if r.kernel == task.key and r.cost is not None]
        assert best[task.key].cost == min(costs)
        index = best[task.key].index
        assert index is not None and records[index].checked and records[index].cost == min(costs)
        assert set(records[index].time) == {"measure", "check"}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(whole: Path, tmp_path: Path, workers: int) -> None:
    tune(tmp_path / "run.jsonl", executor=workers)
    assert without_times(tmp_path / "run.jsonl") == without_times(whole)


def test_batches_of_other_kernels_begin_before_one_is_told(tmp_path: Path) -> None:
    """So workers have jobs while a batch is checked and the next one is chosen."""
    under_way, most = set[str](), 0

    class Watched(Inline):
        def submit(self, fn: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
            nonlocal most
            under_way.add(given[0].key)
            most = max(most, len(under_way))
            return super().submit(fn, *given, **named)

    def told(progress: Progress) -> None:
        under_way.discard(progress.task.key)

    with Watched() as executor:
        tune(tmp_path / "run.jsonl", executor=executor, callbacks=[told])
    assert most == len(TASKS)


def test_nor_does_another_executor(whole: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as executor:
        tune(tmp_path / "run.jsonl", executor=executor)
    assert without_times(tmp_path / "run.jsonl") == without_times(whole)


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 5, 6, 17, 18, 30, 50, 51])
@pytest.mark.parametrize("torn", [0, 25])
def test_a_run_resumes_after_any_record(whole: Path, tmp_path: Path, lines: int, torn: int) -> None:
    path = tmp_path / "run.jsonl"
    kept = whole.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:lines]) + b"".join(kept[lines:])[:torn])
    tune(path)
    assert without_times(path) == without_times(whole)


def test_a_finished_run_is_answered_from_its_log(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(whole.read_bytes())
    heard: list[Progress] = []
    best = tune(path, callbacks=[heard.append])
    assert path.read_bytes() == whole.read_bytes()
    assert best == tune(None) and all(one.resumed for one in heard)


def test_more_trials_go_on_where_fewer_ended(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    tune(path, trials=23)
    assert len(list(read(path).records())) == 23
    tune(path)
    points = [[(r.kernel, r.point, r.cycles) for r in read(p).records()] for p in (path, whole)]
    assert points[0] == points[1]


KILLED = """
import sys
from dovetail.tuner.settings import Search
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.tune import tune_tasks
tasks = [Synthetic(f"k{i}", i, weight=1 + i, fault="slow") for i in range(3)]
tune_tasks(tasks, Search(50), log=sys.argv[1], target="t", model_key="m", executor=2)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_resumes_to_the_same_log(tmp_path: Path, sent: signal.Signals) -> None:
    slow = [Synthetic(f"k{i}", i, weight=1 + i, fault="slow") for i in range(3)]
    tune(tmp_path / "whole.jsonl", slow)
    path = tmp_path / "run.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, path], env=environment, stderr=subprocess.DEVNULL
    )
    while not path.exists() or path.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(sent)
    process.wait(timeout=120)
    assert 20 <= path.read_bytes().count(b"\n") < 51
    tune(path, slow)
    assert without_times(path) == without_times(tmp_path / "whole.jsonl")


def test_an_interrupt_leaves_a_good_log(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"

    def stop(progress: Progress) -> None:
        if progress.index == 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(path, executor=1, callbacks=[stop])
    assert [record.index for record in read(path).records()] == list(range(22))
    tune(path)
    assert without_times(path) == without_times(whole)


def test_two_runs_at_once_on_one_log(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(tune, path, append=True, seed=seed) for seed in (0, 0, 1)]
        bests = [future.result() for future in futures]
    assert bests[0] == bests[1] == tune(None)
    contents = read(path)
    assert [len(trials) for trials in contents.trials.values()] == [TRIALS, TRIALS]
    assert contents.lines == 2 + 2 * TRIALS


def test_an_incorrect_candidate_never_becomes_best(tmp_path: Path) -> None:
    tasks = [Synthetic("k", 1, fault="wrong")]
    best = tune(tmp_path / "run.jsonl", tasks)
    records = list(read(tmp_path / "run.jsonl").records())
    wrong = [record for record in records if record.status == "incorrect"]
    assert wrong and {record.message for record in wrong} == {"element 3 is 7, but must be 8"}
    assert all(record.cost is None and record.cycles and not record.checked for record in wrong)
    assert not tasks[0]._faulty(best[tasks[0].key].point)


def test_failed_trials_say_what_failed(tmp_path: Path) -> None:
    tune(tmp_path / "run.jsonl", [Synthetic("k", 1, fault="raise")], executor=1)
    failed = [r for r in read(tmp_path / "run.jsonl").records() if r.status != "ok"]
    assert {(r.status, r.message, r.cost) for r in failed} == {
        ("compile", "ValueError: no rule for this point", None)
    }


def test_on_a_measured_target_every_candidate_is_checked(tmp_path: Path) -> None:
    class Clocked(Synthetic):
        bound = 0

    tasks: list[Synthetic] = [Clocked("k", 1, simulated=False)]
    tune(tmp_path / "run.jsonl", tasks)
    records = list(read(tmp_path / "run.jsonl").records())
    assert all(record.checked and record.seconds and record.cycles is None for record in records)


def test_fewer_trials_than_kernels(tmp_path: Path) -> None:
    best = tune(tmp_path / "run.jsonl", trials=1)
    assert [best[task.key].cost is None for task in TASKS] == [True, True, False]
    assert all(best[task.key].point == task.default for task in TASKS)


def test_callbacks_hear_of_each_trial() -> None:
    heard: list[Progress] = []
    best = tune(None, callbacks=[heard.append])
    assert [progress.index for progress in heard] == list(range(TRIALS))
    assert {progress.task.key for progress in heard} == {task.key for task in TASKS}
    assert not any(progress.resumed for progress in heard)
    costs = [task.weight * best[task.key].cost for task in TASKS]  # type: ignore[operator]
    assert heard[-1].total == sum(costs)
    measured = {progress.task.key for progress in heard[:20]}
    falling = [progress.total for progress in heard[20:]]
    assert measured and falling == sorted(falling, reverse=True)


def test_warm_logs_make_the_start_better(whole: Path, tmp_path: Path) -> None:
    cold = tune(None, seed=1, trials=12)
    warm = tune(tmp_path / "run.jsonl", seed=1, trials=12, warm=[whole])
    totals = [
        sum(task.weight * (best[task.key].cost or 1e9) for task in TASKS) for best in (cold, warm)
    ]
    assert totals[1] < totals[0]
    with pytest.raises(LogError, match="only with the same warm"):
        tune(tmp_path / "run.jsonl", seed=1, trials=12)


def test_a_changed_proposal_is_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    lines = whole.read_text().splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | {"kernel": "elsewhere"})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LogError, match=r"trial 2 of run \w+ must be the point that the search pro"):
        tune(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 0}, "tune: trials must be a whole number of at least 1, but got 0"),
        ({"trials": 2.5}, "tune: trials must be a whole number of at least 1, but got 2.5"),
        (
            {"algorithm": "magic"},
            "tune: algorithm (--search) must be one of evolution, random, exhaustive, but got "
            "'magic'",
        ),
        (
            {"tasks": TASKS[:1] * 2},
            "tune: tasks must have different keys, but two kernels share one",
        ),
    ],
)
def test_bad_calls_are_one_sentence(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises((InputError, TuneError)) as caught:
        tune(tmp_path / "run.jsonl", **change)
    assert str(caught.value) == said
    assert not (tmp_path / "run.jsonl").exists()


def test_a_cost_below_the_bound_is_an_error() -> None:
    class Lucky(Synthetic):
        def cost(self, point: object) -> int:
            return self.bound - 1

    with pytest.raises(TuneError, match="a cost must not be below the bound of its kernel, but"):
        tune(None, [Lucky("k", 1)])


TWINS = [Synthetic(f"k{i}", i, weight=1 + i, twins=True) for i in range(3)]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run in whose space points come in pairs."""
    path = tmp_path_factory.mktemp("twins") / "run.jsonl"
    tune(path, TWINS, trials=90)
    return path


class TestDuplicates:
    """Points that make the nest of an earlier trial are no trials."""

    def test_a_trial_is_a_distinct_nest(self, twins: Path) -> None:
        contents = read(twins)
        records, duplicates = list(contents.records()), list(contents.duplicates())
        assert [record.index for record in records] == list(range(90))
        nests = [(record.kernel, record.nest) for record in records]
        assert len(set(nests)) == 90 and duplicates
        for note in duplicates:
            assert (note.kernel, note.nest) == nests[note.index] and note.cost is None

    @pytest.mark.parametrize("workers", [1, 3])
    def test_workers_change_nothing(self, twins: Path, tmp_path: Path, workers: int) -> None:
        tune(tmp_path / "run.jsonl", TWINS, trials=90, executor=workers)
        assert without_times(tmp_path / "run.jsonl") == without_times(twins)

    @pytest.mark.parametrize("lines", [1, 9, 20, 41, 66, 90])
    def test_a_run_resumes_after_any_line(self, twins: Path, tmp_path: Path, lines: int) -> None:
        path = tmp_path / "run.jsonl"
        path.write_bytes(b"".join(twins.read_bytes().splitlines(keepends=True)[:lines]))
        tune(path, TWINS, trials=90)
        assert without_times(path) == without_times(twins)

    def test_a_finished_run_makes_no_nest(self, twins: Path) -> None:
        class Finished(Synthetic):
            def nest(self, point: object) -> str:
                raise AssertionError("the log knows all points")

        again: list[Synthetic] = [Finished(f"k{i}", i, weight=1 + i, twins=True) for i in range(3)]
        before = twins.read_bytes()
        tune(twins, again, trials=90)
        assert twins.read_bytes() == before

    def test_a_space_of_few_nests_ends(self, tmp_path: Path) -> None:
        class Same(Synthetic):
            def nest(self, point: object) -> str:
                return "the only one"

        tune(tmp_path / "run.jsonl", [Same("k", 1)])
        contents = read(tmp_path / "run.jsonl")
        assert len(list(contents.records())) == 1
        assert {note.index for note in contents.duplicates()} == {0}

    def test_two_writers_of_one_run_agree(self, twins: Path, tmp_path: Path) -> None:
        path = tmp_path / "run.jsonl"
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: tune(path, TWINS, trials=90), range(2)))
        assert without_times(path) == without_times(twins)
        assert read(path).lines == twins.read_bytes().count(b"\n")
