"""How good the search is: 64 trials against random search and the best known, by kernel.

python benchmarks/search.py --synthetic 6

The best known point is the best of 500 random points, of a long search, and of the runs compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log

from dovetail.tuner.search import Evolution, RandomSearch, Search
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import Task


@dataclass(frozen=True)
class Row:
    """The lowest costs that the searches found for a kernel."""

    name: str
    points: int
    evolution: float
    random: float
    known: float


def lowest(search: Search, task: Task, trials: int) -> float:
    """The lowest cost in so many trials."""
    best, spent = inf, 0
    while spent < trials and (points := search.ask()[: trials - spent]):
        costs = [task.measure(point).cost for point in points]
        search.tell(points, costs)
        best = min([best, *(cost for cost in costs if cost is not None)])
        spent += len(points)
    return best


def compare(task: Task, trials: int, seed: int) -> Row:
    """Both searches on a task, and the best that is known."""
    evolution = lowest(Evolution(task, seed), task, trials)
    random = lowest(RandomSearch(task, seed), task, trials)
    many = lowest(RandomSearch(task, seed + 1), task, 500)
    long = lowest(Evolution(task, seed + 1), task, 4 * trials)
    known = min(evolution, random, many, long)
    return Row(task.name, task.space.count()[0], evolution, random, known)


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return exp(sum(map(log, ratios)) / len(ratios))


def report(rows: Sequence[Row], trials: int) -> None:
    """A line a kernel, and the means."""
    print(f"{'kernel':<16}{'points':>12}{'evolution':>12}{'random':>12}{'best known':>12}")
    for row in rows:
        costs = f"{row.evolution:>12.0f}{row.random:>12.0f}{row.known:>12.0f}"
        print(f"{row.name:<16}{row.points:>12}{costs}")
    known = mean([row.evolution / row.known for row in rows])
    random = mean([row.evolution / row.random for row in rows])
    print(f"after {trials} trials: {known:.3f} x the best known, {random:.3f} x random search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--synthetic", type=int, default=6, help="so many made-up kernels")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tasks = [Synthetic(f"synthetic{i}", i) for i in range(options.synthetic)]
    report([compare(task, options.trials, options.seed) for task in tasks], options.trials)


if __name__ == "__main__":
    main()
