"""Searches: one conformance suite for all, and that the evolutionary one is worth its name."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.schedule.knobs import Point, Space, choice, flag, key, split
from dovetail.tuner.search import BATCHES, SEARCHES, Evolution, RandomSearch, Searcher
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import Measured

Ask = Callable[[Searcher], list[Point]]


@dataclass(frozen=True)
class Tiny(Synthetic):
    """A task with 36 raw points, 30 of them valid."""

    @property
    def space(self) -> Space:
        knobs = (split("k", 12), choice("u", (1, 2, 4)), flag("f"))
        return Space(knobs, (lambda point: not (point["u"] == 4 and point["f"]),))

    @property
    def default(self) -> Point:
        return {"k": (3, 4), "u": 2, "f": True}

    def measure(self, point: Point) -> Measured:
        if point["u"] == 1:
            return Measured("invalid", message="no")
        return Measured("ok", cycles=10_000 + int(point["k"][0]))  # type: ignore[index]

    def prior(self, point: Point) -> float:
        return 1.0

    def features(self, point: Point) -> NDArray[np.float64]:
        return np.zeros(1)


def play(search: Searcher, task: Synthetic, trials: int) -> list[tuple[str, float | None]]:
    """The points and costs of ``trials`` trials, or of all that the search asks for."""
    seen: list[tuple[str, float | None]] = []
    while len(seen) < trials and (points := search.ask()):
        costs = [task.measure(point).cost for point in points]
        search.tell(points, costs)
        seen += zip(map(key, points), costs, strict=True)
    return seen[:trials]


def best(search: Searcher, task: Synthetic, trials: int) -> float:
    return min(cost for _, cost in play(search, task, trials) if cost is not None)


@pytest.mark.parametrize("name", SEARCHES)
class TestEverySearch:
    def test_starts_with_the_default(self, name: str) -> None:
        task = Synthetic("a")
        assert SEARCHES[name](task, 0, (), None).ask()[0] == task.default

    def test_asks_in_batches_of_its_own(self, name: str) -> None:
        task = Synthetic("a")
        search = SEARCHES[name](task, 0, (), None)
        for size in (*BATCHES, BATCHES[-1]):
            points = search.ask()
            assert len(points) == size
            search.tell(points, [task.measure(point).cost for point in points])

    def test_asks_for_valid_points_and_none_twice(self, name: str) -> None:
        task = Synthetic("a", fault="invalid")
        points = [text for text, _ in play(SEARCHES[name](task, 3, (), None), task, 120)]
        assert len(set(points)) == len(points) == 120

    def test_reaches_every_point_of_a_small_space_and_ends(self, name: str) -> None:
        task = Tiny("tiny")
        search = SEARCHES[name](task, 0, (), None)
        points = [text for text, _ in play(search, task, 1000)]
        assert sorted(points) == sorted(key(point) for point in task.space)
        assert search.ask() == []

    def test_is_a_function_of_task_seed_and_costs(self, name: str) -> None:
        task = Synthetic("a")
        runs = [play(SEARCHES[name](task, seed, (), None), task, 60) for seed in (1, 1, 2)]
        assert runs[0] == runs[1]
        assert name == "exhaustive" or runs[0] != runs[2]

    def test_lives_with_nothing_but_failures(self, name: str) -> None:
        search = SEARCHES[name](Synthetic("a"), 0, (), None)
        for size in BATCHES:
            points = search.ask()
            assert len(points) == size
            search.tell(points, [None] * size)


def test_evolution_beats_chance_at_equal_trials() -> None:
    ratios = []
    for seed in range(4):
        task = Synthetic("a", seed)
        ratios.append(best(Evolution(task, 0), task, 64) / best(RandomSearch(task, 0), task, 64))
    assert exp(sum(map(log, ratios)) / len(ratios)) < 0.75


def test_evolution_comes_near_the_best_known() -> None:
    ratios = []
    for seed in range(3):
        task = Synthetic("a", seed)
        known = best(Evolution(task, 9), task, 300)
        ratios.append(best(Evolution(task, 0), task, 64) / known)
    assert exp(sum(map(log, ratios)) / len(ratios)) < 1.10


def test_the_first_batch_is_better_than_chance() -> None:
    wins = 0
    for seed in range(8):
        task = Synthetic("a", seed)
        first, chance = best(Evolution(task, 0), task, 4), best(RandomSearch(task, 0), task, 4)
        wins += first < chance
    assert wins >= 6


def test_a_warm_start_proposes_what_was_good() -> None:
    task = Synthetic("a", 5)
    cold = play(Evolution(task, 0), task, 64)
    known = sorted((cost, text) for text, cost in cold if cost is not None)
    trials = [(task.space.point(json.loads(text)), cost) for text, cost in cold]
    warm = play(Evolution(task, 1, trials), task, 16)
    assert min(cost for _, cost in warm if cost is not None) <= known[0][0]


ORDER = """
from dovetail.tuner.search import Evolution
from dovetail.tuner.synthetic import Synthetic
task = Synthetic("a", 2)
search = Evolution(task, 0)
for _ in range(4):
    points = search.ask()
    search.tell(points, [task.measure(point).cost for point in points])
    print(points)
"""


def test_no_order_hangs_on_hashes(tmp_path: Path) -> None:
    def run(hashes: str) -> bytes:
        paths = os.pathsep.join(sys.path)
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": hashes}
        return subprocess.check_output([sys.executable, "-c", ORDER], env=environment)

    assert run("1") == run("2")


def test_importing_the_tuner_loads_neither_xgboost_nor_torch() -> None:
    code = "import sys, dovetail.tuner.tune; print({'xgboost', 'torch'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment) == b"set()\n"
