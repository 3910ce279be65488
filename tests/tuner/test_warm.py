"""Warm logs: the trials of these kernels, and those of others to rank points by."""

import json
from pathlib import Path

import pytest

from dovetail.tuner.ranker import shipped
from dovetail.tuner.records import LogError, read
from dovetail.tuner.settings import Search
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.tune import tune_tasks
from dovetail.tuner.warm import Warm
from tests.tuner.logs import without_times

OLD = [Synthetic(f"old{i}", 20 + i) for i in range(2)]
NEW = Synthetic("new", 5)


def tune(task: Synthetic, log: Path, *warm: Path, trials: int = 24) -> None:
    search = Search(trials, warm=warm)
    tune_tasks([task], search, log=log, target="t", model_key="m", executor=0)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run with two other kernels."""
    path = tmp_path_factory.mktemp("old") / "run.jsonl"
    tune_tasks(OLD, Search(40), log=path, target="elsewhere", model_key="m", executor=0)
    return path


def test_records_have_the_features_of_their_points(old: Path) -> None:
    contents = read(old)
    (head,) = contents.headers.values()
    assert tuple(head["columns"]) == NEW.columns
    task = {task.key: task for task in OLD}
    for record in contents.records():
        point = task[record.kernel].space.point(record.point)
        assert record.features == [round(x, 4) for x in task[record.kernel].features(point)]


def test_other_kernels_are_groups_of_their_own(old: Path) -> None:
    warm = Warm.of([old], "t", [NEW])
    groups = list(warm.groups())
    assert not warm.trials and len(groups) == 2
    assert sum(len(group.costs) for group in groups) == 40
    ranker = warm.ranker(shipped())
    assert ranker.columns == NEW.columns and ranker.name != shipped().name


def test_without_logs_the_ranker_is_that_of_the_package() -> None:
    warm = Warm.of([], "t", [NEW])
    assert warm.digest == "" and warm.ranker(shipped()) is shipped()


def test_the_same_kernel_on_this_target_keeps_its_trials(tmp_path: Path) -> None:
    tune(NEW, tmp_path / "a.jsonl", trials=12)
    assert len(Warm.of([tmp_path / "a.jsonl"], "t", [NEW]).trials[NEW.key]) == 12
    elsewhere = Warm.of([tmp_path / "a.jsonl"], "u", [NEW])
    assert not elsewhere.trials and len(list(elsewhere.groups())) == 1


def test_other_columns_are_passed_over(old: Path, tmp_path: Path) -> None:
    lines = old.read_text().splitlines()
    head = json.loads(lines[0]) | {"columns": ["cycles", "beauty"]}
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    assert not list(Warm.of([path], "t", [NEW]).groups())


def test_a_run_repeats_with_the_same_warm_logs_alone(old: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tune(NEW, tmp_path / name, old)
    assert without_times(tmp_path / "a") == without_times(tmp_path / "b")
    lines = (tmp_path / "a").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").write_bytes(b"".join(lines[:11]))
    tune(NEW, tmp_path / "b", old)
    assert without_times(tmp_path / "a") == without_times(tmp_path / "b")
    with pytest.raises(LogError, match="only with the same warm"):
        tune(NEW, tmp_path / "a")
