"""How good searches, rankings and defaults are, against the best known, kernel by kernel.

python benchmarks/search.py [LAYER ...] [--trials N] [--seeds N] [--log FILE ...] [--json]

The kernels are those of kernels.py whose name has a LAYER's text in it. Each is searched with the
ranking of production (estimate, ranker and model), with the estimate alone, and at random. The best
known cost is the lowest of all these trials, of the default's and of the logs that are named. The
table has the trials that a search takes to within 5 % of it (one more than N where it did not get
there; the mean of the seeds), the default over it, and Spearman's rank correlation with the costs
of random points that no search saw: of the estimate, and of who ranks after 0, 12, 24 and 64
trials. Means are geometric, those of correlations arithmetic. Exit code 1 where the default is not
within 2 % of the best known, or the search is not faster there than random search.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from math import exp, inf, log
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
from kernels import LAYERS, tasks
from rank import spearman
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dovetail.driver.defaults import Pick, ranked
from dovetail.schedule.knobs import Point, key
from dovetail.tuner.candidates import Candidates
from dovetail.tuner.measure import default_workers
from dovetail.tuner.ranker import shipped
from dovetail.tuner.ranking import Ranking, by_estimate, chosen
from dovetail.tuner.records import read
from dovetail.tuner.search import Evolution, RandomSearch, Searcher
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import Measured, Task, TaskSpec, rebuild
from dovetail.tuner.worker import perform

NEAR, CLOSE = 1.05, 1.02  # of a search's target and of the default, to the best known
SEEN = (0, 12, 24, 64)  # trials after which rankings are looked at
UNSEEN = 48  # points that rankings order
EXAMPLES = """examples:
  python benchmarks/search.py                            # all kernels
  python benchmarks/search.py depthwise --seeds 3        # those with depthwise in their name
  python benchmarks/search.py --synthetic 6              # made-up kernels, seconds
"""


class Estimated(Evolution):
    """The search with the estimate alone."""

    def ranking(self) -> Ranking:
        return by_estimate(self._known)


SEARCHES: dict[str, Callable[[Task, int], Searcher]] = {
    "model": lambda task, seed: Evolution(task, seed, (), shipped()),
    "estimate": Estimated,
    "random": RandomSearch,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of a kernel."""

    kernel: str
    points: int  # valid ones
    bound: float
    known: float
    default: float
    to_near: dict[str, float]  # trials to within 5 % of the best known, by search
    estimate: float  # rank correlations
    ranked: dict[int, float] = field(default_factory=dict)  # by trials
    ranker: dict[int, str] = field(default_factory=dict)  # who ranks, by trials


class Bench:
    """A kernel whose points are measured once each."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.found: dict[str, Measured] = {}

    def measured(self, point: Point) -> Measured:
        name = key(point)
        if name not in self.found:
            self.found[name] = perform(self.task, "measure", point)
        return self.found[name]

    def cost(self, point: Point) -> float:
        cost = self.measured(point).cost
        return inf if cost is None else cost

    def play(self, search: Searcher, trials: int) -> list[tuple[Point, float]]:
        """The trials of a search, points of distinct nests."""
        nests: set[str] = set()
        found: list[tuple[Point, float]] = []
        while len(found) < trials and (points := search.ask()):
            batch = []
            for point in points:
                nest = self.measured(point).nest or key(point)
                if nest not in nests:
                    nests.add(nest)
                    batch.append(point)
            costs = [self.cost(point) for point in batch]
            search.tell(batch, [None if cost == inf else cost for cost in costs])
            found += zip(batch, costs, strict=True)
        return found[:trials]

    def default(self, bound: float) -> float:
        """The cost of the default, as untuned users get it."""
        pick = Pick(bound, ranked(self.task))
        while wave := pick.wave():
            pick.tell(wave, [self.measured(point) for point in wave])
        return float(pick.cost or inf)


def to_near(runs: Sequence[Sequence[float]], target: float) -> float:
    """The trials until a cost is at the target, the mean of runs."""
    firsts = [
        next((i for i, cost in enumerate(run, 1) if cost <= target), len(run) + 1) for run in runs
    ]
    return sum(firsts) / len(firsts)


def examine(name: str, spec: TaskSpec, trials: int, seeds: int, logged: float) -> Row:
    """Searches a kernel, and looks how well its points are ranked."""
    task = rebuild(spec)
    bench = Bench(task)
    # A search begins with the default, for which points were packed already: here, with any point.
    task.default = task.space.sample(Random(f"the first point of {task.key}"))
    runs = {
        kind: [bench.play(make(task, seed), trials) for seed in range(seeds)]
        for kind, make in SEARCHES.items()
    }
    default = bench.default(task.bound)
    known = min(logged, default, *(cost for cost in map(_cost, bench.found.values())))
    seen = {key(point) for kinds in runs.values() for run in kinds for point, _ in run}
    rng = np.random.default_rng(0)
    drawn = RandomSearch(task, int(rng.integers(1 << 30)) + seeds)
    unseen = [p for p, _ in bench.play(drawn, UNSEEN) if key(p) not in seen]
    points = Candidates(task)
    numbers = points.add(unseen)
    told = [(points.number(p), None if c == inf else c) for p, c in runs["model"][0]]
    right = -np.array([bench.cost(points.points[n]) for n in numbers])
    rankings = {n: chosen(points, told[:n], shipped()) for n in SEEN if n <= trials}
    return Row(
        name, task.space.count()[0], task.bound, known, default,
        {k: to_near([[c for _, c in run] for run in one], NEAR * known) for k, one in runs.items()},
        spearman(by_estimate(points).scores(numbers), right),
        {n: spearman(ranking.scores(numbers), right) for n, ranking in rankings.items()},
        {n: ranking.name for n, ranking in rankings.items()},
    )  # fmt: skip


def _cost(found: Measured) -> float:
    return inf if found.cost is None else found.cost


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return exp(sum(map(log, ratios)) / len(ratios))


def logged(paths: Sequence[Path]) -> dict[str, float]:
    """The lowest cost of each kernel in logs."""
    found: dict[str, float] = {}
    for path in paths:
        for record in read(path).records():
            if record.cost is not None:
                found[record.kernel] = min(record.cost, found.get(record.kernel, inf))
    return found


def rows(named: dict[str, Task], options: argparse.Namespace) -> list[Row]:
    """All kernels, on several processes."""
    best = logged(options.log)
    one = partial(examine, trials=options.trials, seeds=options.seeds)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(one, name, task.spec, logged=best.get(task.key, inf)): number
            for number, (name, task) in enumerate(named.items())
        }
        found: dict[int, Row] = {}
        console = Console(stderr=True)
        for job in track(as_completed(jobs), "searching", len(jobs), console=console):
            found[jobs[job]] = job.result()
    return [found[number] for number in sorted(found)]


def show(found: Sequence[Row], trials: int) -> None:
    heads = ("kernel", "points", "bound", "best", "default", *SEARCHES, "estimate",
             *(f"after {n}" for n in SEEN if n <= trials))  # fmt: skip
    table = Table(*heads, caption="trials to within 5 % of the best known; rank correlations")
    for row in found:
        correlations = [row.estimate, *row.ranked.values()]
        table.add_row(
            row.kernel, f"{row.points:,}", f"{row.bound:,.0f}", f"{row.known:,.0f}",
            f"{row.default / row.known:.3f}", *(f"{row.to_near[k]:.1f}" for k in SEARCHES),
            *(f"{value:.2f}" for value in correlations),
        )  # fmt: skip
    sums = summary(found)
    table.add_row(
        "mean", "", "", "", f"{sums['default']:.3f}", *(f"{sums[k]:.1f}" for k in SEARCHES),
        f"{sums['rho estimate']:.2f}",
        *(f"{sums[f'rho {n}']:.2f}" for n in SEEN if n <= trials),
    )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def summary(found: Sequence[Row]) -> dict[str, float]:
    """The means over all kernels."""
    sums = {"default": mean([row.default / row.known for row in found])}
    sums |= {kind: mean([row.to_near[kind] for row in found]) for kind in SEARCHES}
    sums["rho estimate"] = float(np.mean([row.estimate for row in found]))
    for n in found[0].ranked:
        sums[f"rho {n}"] = float(np.mean([row.ranked[n] for row in found]))
    return sums


def fine(found: Sequence[Row]) -> bool:
    """Whether defaults and searches hold what they promise."""
    sums = summary(found)
    return sums["default"] <= CLOSE and sums["model"] < sums["random"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else "",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("layers", nargs="*", metavar="LAYER", help="a part of names in kernels.py")
    parser.add_argument(
        "--synthetic", type=int, help="this number of made-up kernels instead of layers"
    )
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each search of a kernel")
    parser.add_argument("--log", type=Path, nargs="*", default=[], help="logs of earlier searches")
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.synthetic:
        named: dict[str, Task] = {f"synthetic{i}": Synthetic(f"synthetic{i}", i)
                                  for i in range(options.synthetic)}  # fmt: skip
    else:
        wanted = [n for n in LAYERS if not options.layers or any(p in n for p in options.layers)]
        named = dict(zip(wanted, tasks(wanted), strict=True))
    if not named:
        parser.error(f"no layer has any of {', '.join(options.layers)} in its name")
    found = rows(named, options)
    if options.json:
        print(json.dumps({"kernels": [asdict(row) for row in found], **summary(found)}, indent=2))
    else:
        show(found, options.trials)
    return int(not fine(found))


if __name__ == "__main__":
    sys.exit(main())
