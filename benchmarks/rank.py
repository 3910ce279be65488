"""Makes the ranker that ships with the package: trials of many kernels -> tuner/ranker.ubj.

python benchmarks/rank.py LOG [MODEL ...] [--trials N] [--workers N] [--json]

The kernels are those of the zoo's MODELs that have a choice of schedules; each is searched and
drawn at random, N trials each, into LOG, which resumes: run it anew after templates or estimates
have changed, on a new LOG. Then the ranker is trained on all of LOG, by the same trials to the same
bytes. The table says how well estimate and ranker order the trials of kernels that the ranker was
not trained on (Spearman's rank correlation; kernels are held back by turns). The one that ships is
of all MODELs, `--trials 24`: 94 kernels, 0.89 against the estimate's 0.84.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.prepare import prepare
from dovetail.driver.targets import parse
from dovetail.driver.zoo import build, calibration
from dovetail.schedule.templates.template import FEATURES
from dovetail.tuner.measure import default_workers, hired
from dovetail.tuner.model import TrialGroup
from dovetail.tuner.ranker import SHIPPED, Ranker, save, untrained
from dovetail.tuner.settings import Search
from dovetail.tuner.tune import tune_tasks
from dovetail.tuner.warm import Warm

MODELS = ("resnet8", "resnet18", "mobilenet_v2", "dscnn", "autoencoder", "digits")
FEWEST = 64  # points of a space that is worth learning from
FOLDS = 6


def kernels(models: Sequence[str]) -> Iterator[KernelTask]:
    """The kernels of models that have a choice, each once."""
    seen: set[str] = set()
    for name in models:
        module, inputs = build(name)
        for task in prepare(module, inputs, calibration(name), parse("dsp")).tasks:
            if task.key not in seen and task.space.every(FEWEST) is None:
                seen.add(task.key)
                yield task


def collect(log: Path, models: Sequence[str], trials: int, workers: int) -> None:
    """Searches and draws each kernel, as far as the log does not know it."""
    console = Console(stderr=True)
    with hired(workers, 120.0) as hands:
        for task in track(list(kernels(models)), "trials", console=console):
            for algorithm in ("evolution", "random"):
                search = Search(trials, algorithm=algorithm, append=True)
                tune_tasks([task], search, target=task.machine.name, model_key=task.key, log=log,
                           executor=hands)  # fmt: skip


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The correlation of ranks; equal values share their mean rank."""
    ranks = [_ranks(values) for values in (one, other)]
    if any(np.ptp(values) == 0 for values in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def held_back(groups: Sequence[TrialGroup]) -> list[tuple[float, float]]:
    """The rank correlations of estimate and ranker with the costs of kernels that it has not seen,
    in the order of the groups."""
    found = {}
    for fold in range(FOLDS):
        told = [group for i, group in enumerate(groups) if i % FOLDS != fold]
        ranker = untrained(FEATURES).trained(told)
        for i, group in enumerate(groups):
            if i % FOLDS == fold:
                found[i] = (spearman(group.guesses, -group.costs), _right(ranker, group))
    return [found[i] for i in range(len(groups))]


def _right(ranker: Ranker, group: TrialGroup) -> float:
    return spearman(ranker.scores(group.rows, group.guesses), -group.costs)


def show(groups: Sequence[TrialGroup], rows: Sequence[tuple[float, float]], size: int) -> None:
    table = Table("", "kernels", "trials", "estimate", "ranker")
    means = np.mean(rows, axis=0)
    worst = np.min(rows, axis=0)
    trials = sum(len(group.costs) for group in groups)
    table.add_row("mean", f"{len(groups)}", f"{trials:,}", *(f"{mean:.3f}" for mean in means))
    table.add_row("worst", "", "", *(f"{one:.3f}" for one in worst))
    Console().print(table)
    print(f"{SHIPPED}: {size:,} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("log", type=Path)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--trials", type=int, default=40, help="of each search of a kernel")
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    collect(options.log, options.models, options.trials, options.workers)
    groups = list(Warm.of([options.log], "", (), FEATURES).groups())
    rows = held_back(groups)
    save(untrained(FEATURES).trained(groups), SHIPPED)
    size = SHIPPED.stat().st_size
    if options.json:
        means = dict(zip(("estimate", "ranker"), np.mean(rows, axis=0), strict=True))
        print(json.dumps({"kernels": len(groups), "bytes": size, **means}, indent=2))
    else:
        show(groups, rows, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
