"""How fast a search is: trials a second, checks included, and where the time goes.

python benchmarks/tune.py [MODEL] [--trials N] [--workers N] [--profile] [--json]

The search phase runs from the first proposal to the last record. Worker seconds are those of
measuring and checking, added over the workers. Processor seconds are those of this process and of
the workers: what other programs on the machine take is not in them, so that
trials a second of N idle cores are N times trials a processor second at most. ``--profile``
searches in this process alone and prints what each stage takes, which is the more the more calls it
makes, and the functions that take the most. Exit code 1 below 24 trials a second on two cores, for
resnet18.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from dovetail.driver.choose import Choice, choose
from dovetail.driver.prepare import Ready, prepare
from dovetail.driver.targets import parse
from dovetail.driver.zoo import build, calibration
from dovetail.tuner.measure import Measurer, default_workers, hired
from dovetail.tuner.records import read
from dovetail.tuner.run import Best
from dovetail.tuner.settings import Search
from dovetail.tuner.tune import get_ready, tune_tasks

LIMIT = 24.0  # trials a second
LINES = 40
STAGES = {
    "search": ("tuner/search.py", "ask"),
    "schedule, with placing": ("driver/compiler.py", "scheduled"),
    "  placing": ("schedule/placing/operands.py", "place_operands"),
    "name the nest": ("driver/nest_name.py", "nest"),
    "lower": ("target/pipeline.py", "_by_phases"),
    "select": ("target/program_builder.py", "build"),
    "pack": ("target/dsp/compile.py", "compile_program"),
    "cost": ("target/dsp/cycles.py", "cost"),
    "check": ("driver/compiler.py", "check"),
}  # each by the function that does it


def processor() -> tuple[float, float]:
    """Seconds of processors: of this process, and of its children, which live or have ended."""
    clock = os.times()
    children = clock.children_user + clock.children_system
    for started in Path("/proc/self/task").glob("*/children"):
        for child in started.read_text().split():
            fields = Path("/proc", child, "stat").read_text().rpartition(")")[2].split()
            children += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return clock.user + clock.system, children


def ready(name: str, hands: Executor) -> tuple[Ready, dict[str, Choice]]:
    """A model's kernels with their defaults chosen: what a search starts from."""
    model, inputs = build(name)
    found = prepare(model, inputs, calibration(name), parse("dsp"))
    with Measurer(hands) as measurer:
        defaults = choose(found.tasks, {}, measurer, meanwhile=partial(get_ready, found.tasks))
    for task in found.tasks:
        task.default = defaults[task.key].point
    return found, defaults


def search(found: Ready, trials: int, hands: Executor) -> tuple[dict[str, Any], Mapping[str, Best]]:
    """One search from an empty log, and its clocks."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run.jsonl"
        start, (own, children) = perf_counter(), processor()
        best = tune_tasks(found.tasks, Search(trials), target=found.machine.name,
                          model_key=found.key, log=log, executor=hands)  # fmt: skip
        seconds, (own_end, children_end) = perf_counter() - start, processor()
        records = list(read(log).records())
    clocks: Counter[str] = Counter()
    for record in records:
        clocks.update(record.time)
    row = {
        "trials": len(records), "search_seconds": seconds,
        "trials_per_second": len(records) / seconds,
        "worker_seconds": dict(clocks),
        "processor_seconds": {"search": own_end - own, "workers": children_end - children},
        "checks": sum("check" in record.time for record in records),
        "statuses": dict(Counter(record.status for record in records)),
    }  # fmt: skip
    return row, best


def measure(name: str, trials: int, workers: int, run: Callable[..., Any]) -> dict[str, Any]:
    """Prepares a model and searches; ``run`` calls the search and may profile it."""
    start = perf_counter()
    with hired(workers, 120.0) as hands:
        found, defaults = ready(name, hands)
        before = perf_counter() - start
        row, best = run(search, found, trials, hands)
    costs = {key: choice.cost.cycles for key, choice in defaults.items()}
    tuned = {key: costs[key] if best[key].cost is None else best[key].cost for key in costs}
    weights = {task.key: task.weight for task in found.tasks}
    totals = [sum(weights[key] * one[key] for key in costs) for one in (costs, tuned)]
    return {
        "model": name, **row, "workers": workers, "before_search_seconds": before,
        "default_cycles": totals[0], "cycles": totals[1],
        "bound": sum(task.weight * task.bound for task in found.tasks),
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    print(
        f"{row['model']}: {row['trials']} trials in {row['search_seconds']:.1f} s on "
        f"{row['workers']} workers: {row['trials_per_second']:.1f} trials/s"
    )
    used = sum(row["processor_seconds"].values())
    print(f"  a processor second          {row['trials'] / used:10.2f} trials")
    print(f"  import, quantize, defaults  {row['before_search_seconds']:10.2f} s")
    for name, seconds in row["processor_seconds"].items():
        print(f"  processors: {name:<15} {seconds:10.2f} s")
    for name, seconds in sorted(row["worker_seconds"].items()):
        print(f"  workers: {name:<18} {seconds:10.2f} s")
    busy = row["search_seconds"] * max(row["workers"], 1)
    shared = row["worker_seconds"].get("measure", 0.0) + row["worker_seconds"].get("check", 0.0)
    print(f"  workers: idle or elsewhere  {busy - shared:10.2f} s")
    print(f"  {row['checks']} checks, {row['statuses']}")
    print(f"  cycles {row['default_cycles']:,} -> {row['cycles']:,}, bound {row['bound']:,}")


def stages(found: pstats.Stats, trials: int) -> list[str]:
    """A line a stage: its share of the time, and milliseconds a trial under the profile."""
    known: Mapping[tuple[str, int, str], tuple[Any, ...]] = vars(found)["stats"]
    whole, lines = vars(found)["total_tt"], []
    for stage, (file, name) in STAGES.items():
        spent = sum(row[3] for (where, _, what), row in known.items()
                    if where.endswith(file) and what == name)  # fmt: skip
        lines.append(f"  {stage:<24} {spent / whole:7.1%} {1000 * spent / trials:10.2f} ms a trial")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="resnet18")
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    profile = cProfile.Profile()
    if args.profile:
        row = measure(args.model, args.trials, 0, profile.runcall)
    else:
        row = measure(args.model, args.trials, args.workers, lambda f, *given: f(*given))
    if args.json:
        print(json.dumps(row, indent=2))
    else:
        show(row)
    if args.profile:
        found = pstats.Stats(profile, stream=sys.stderr)
        print(*stages(found, row["trials"]), sep="\n", file=sys.stderr)
        found.sort_stats("tottime").print_stats(LINES)
    return int(args.model == "resnet18" and row["trials_per_second"] < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
