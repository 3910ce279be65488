"""How good the search is: its trials against random search and the best known, kernel by kernel.

python benchmarks/search.py [MODEL] [--kernels TEXT] [--trials N] [--seeds N] [--log FILE ...]

The kernels are the model's convolutions and products of matrices. Evolution runs once a seed, each
from nothing. Random search is the mean of its lowest costs over all windows of as many trials in
500 random points. The best known point is the lowest of those 500, of all runs, of one four times
as long, and of the logs that are named. Means over kernels are geometric. Exit code 1 where the
search is not within 10 % of the best known, not better than random search, or where a space has
fewer than 10^4 valid points (resnet18 only).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from math import exp, inf, log
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dovetail.driver.prepare import prepare
from dovetail.driver.target import parse
from dovetail.driver.zoo import build, calibration
from dovetail.schedule.knobs import Point
from dovetail.tuner.measure import default_workers
from dovetail.tuner.records import read
from dovetail.tuner.search import Evolution, RandomSearch, Search
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import Spec, Task, rebuild

RANDOM = 500  # random points of each kernel
LONG = 4  # times the trials of the long run
NEAR, ENOUGH = 1.10, 10_000
EXAMPLES = """examples:
  python benchmarks/search.py                                  # resnet18, about 15 minutes
  python benchmarks/search.py mobilenet_v2 --kernels conv2d_1 --seeds 1
  python benchmarks/search.py --synthetic 6                    # made-up kernels, seconds
"""


@dataclass(frozen=True, slots=True)
class Row:
    """The lowest costs that were found for a kernel."""

    kernel: str
    points: int  # valid ones
    bound: float
    default: float
    evolution: list[float]  # by seed
    random: float
    known: float

    @property
    def near(self) -> float:
        """Of the searches over the best known."""
        return mean([found / self.known for found in self.evolution])

    @property
    def gain(self) -> float:
        """Of the searches over random search: less is better."""
        return mean([found / self.random for found in self.evolution])


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return exp(sum(map(log, ratios)) / len(ratios))


def costs(search: Search, cost: Callable[[Point], float], trials: int) -> Iterator[float]:
    """The costs of ``trials`` trials, in order; a failed one is infinite."""
    spent = 0
    while spent < trials and (points := search.ask()[: trials - spent]):
        found = [cost(point) for point in points]
        search.tell(points, [None if one == inf else one for one in found])
        spent += len(points)
        yield from found


def compare(spec: Spec, trials: int, seeds: int, logged: float) -> Row:
    """Searches of one kernel; a point that several of them ask for is measured once."""
    task = rebuild(spec)
    known: dict[str, float] = {}

    def cost(point: Point) -> float:
        key = json.dumps(point, sort_keys=True)
        if key not in known:
            found = task.measure(point).cost
            known[key] = inf if found is None else found
        return known[key]

    runs = [list(costs(Evolution(task, seed), cost, trials)) for seed in range(seeds)]
    draws = list(costs(RandomSearch(task, seeds), cost, max(RANDOM, trials)))
    windows = [draws[i : i + trials] for i in range(0, len(draws) - trials + 1, trials)] or [draws]
    long = list(costs(Evolution(task, seeds), cost, LONG * trials))
    random = sum(min(window) for window in windows) / len(windows)
    best = min(logged, min(draws), min(long), *map(min, runs))
    return Row(task.name, task.space.count()[0], task.bound, cost(task.default),
               [min(run) for run in runs], random, best)  # fmt: skip


def logged(paths: Sequence[Path]) -> dict[str, float]:
    """The lowest cost of each kernel in logs."""
    found: dict[str, float] = {}
    for path in paths:
        for record in read(path).records():
            if record.cost is not None:
                found[record.kernel] = min(record.cost, found.get(record.kernel, inf))
    return found


def kernels(model: str, only: str) -> list[Task]:
    """The convolutions and products of a model on the dsp."""
    module, inputs = build(model)
    tasks = prepare(module, inputs, calibration(model), parse("dsp")).tasks
    return [t for t in tasks if t.kind in ("conv2d", "linear", "matmul") and only in t.name]


def rows(tasks: Sequence[Task], options: argparse.Namespace) -> list[Row]:
    """All kernels, on several processes."""
    best: Mapping[str, float] = logged(options.log)
    one = partial(compare, trials=options.trials, seeds=options.seeds)
    context = get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        jobs = {
            pool.submit(one, task.spec, logged=best.get(task.key, inf)): number
            for number, task in enumerate(tasks)
        }
        found: dict[int, Row] = {}
        console = Console(stderr=True)
        for job in track(as_completed(jobs), "searching", len(jobs), console=console):
            found[jobs[job]] = job.result()
    return [found[number] for number in sorted(found)]


def show(found: Sequence[Row], trials: int) -> None:
    print(f"{'kernel':<20}{'points':>12}{'bound':>10}{'default':>10}{'search':>10}{'random':>10}"
          f"{'known':>10}{'to known':>10}{'to random':>10}")  # fmt: skip
    for row in found:
        search = sum(row.evolution) / len(row.evolution)
        numbers = (row.bound, row.default, search, row.random, row.known)
        print(f"{row.kernel:<20}{row.points:>12}" + "".join(f"{n:>10.0f}" for n in numbers)
              + f"{row.near:>10.3f}{row.gain:>10.3f}")  # fmt: skip
    near, gain = mean([row.near for row in found]), mean([row.gain for row in found])
    print(f"after {trials} trials: {near:.3f} x the best known, {gain:.3f} x random search")


def fine(found: Sequence[Row], model: str) -> bool:
    """Whether the search holds what it promises."""
    near, gain = mean([row.near for row in found]), mean([row.gain for row in found])
    large = model != "resnet18" or all(row.points >= ENOUGH for row in found)
    return near <= NEAR and gain < 1 and large


def main() -> int:
    parser = argparse.ArgumentParser(
        description="How good the search is, kernel by kernel.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", default="resnet18")
    parser.add_argument(
        "--synthetic", type=int, help="this number of made-up kernels instead of a model"
    )
    parser.add_argument("--kernels", default="", help="only those with this in their name")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1, help="runs of the search a kernel")
    parser.add_argument("--log", type=Path, nargs="*", default=[], help="logs of earlier searches")
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.synthetic:
        tasks: list[Task] = [Synthetic(f"synthetic{i}", i) for i in range(options.synthetic)]
    else:
        tasks = kernels(options.model, options.kernels)
    if not tasks:
        parser.error(f"no kernel of {options.model} has {options.kernels!r} in its name")
    found = rows(tasks, options)
    if options.json:
        print(json.dumps([asdict(row) for row in found], indent=2))
    else:
        show(found, options.trials)
    return int(not fine(found, options.model))


if __name__ == "__main__":
    sys.exit(main())
