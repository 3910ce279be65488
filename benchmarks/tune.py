"""How fast a search is: trials a second, checks included, and where the time goes.

python benchmarks/tune.py [MODEL] [--trials N] [--workers N] [--profile] [--json]

Worker seconds are those of measuring and checking, added over the workers; ``--profile`` searches
in this process alone and prints the functions that take the most. Exit code 1 below the limit of
20 trials a second on two cores, for resnet18.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from dovetail.driver.api import Search, tune
from dovetail.driver.zoo import build, calibration
from dovetail.tuner.log import read
from dovetail.tuner.measure import default_workers

LIMIT = 20.0  # trials a second
LINES = 40


def measure(name: str, trials: int, workers: int | None) -> dict[str, Any]:
    """One search from an empty log."""
    model, inputs = build(name)
    report = Search()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run.jsonl"
        tuned = tune(model, trials, inputs, calibration(name), log=log, workers=workers,
                     report=report)  # fmt: skip
        records = list(read(log).records())
    clocks: Counter[str] = Counter()
    for record in records:
        clocks.update(record.time)
    return {
        "model": name, "trials": report.trials, "seconds": report.seconds,
        "search_seconds": report.searching, "trials_per_second": report.trials_per_second,
        "before_search_seconds": report.preparing,
        "workers": default_workers() if workers is None else workers,
        "worker_seconds": dict(clocks),
        "checks": sum("check" in record.time for record in records),
        "statuses": dict(Counter(record.status for record in records)),
        "cycles": tuned.cycles, "default_cycles": tuned.default_cycles, "bound": tuned.bound,
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    print(
        f"{row['model']}: {row['trials']} trials in {row['search_seconds']:.1f} s on "
        f"{row['workers']} workers: {row['trials_per_second']:.1f} trials/s"
    )
    print(f"  import, quantize, defaults  {row['before_search_seconds']:10.2f} s")
    for name, seconds in sorted(row["worker_seconds"].items()):
        print(f"  workers: {name:<18} {seconds:10.2f} s")
    busy = row["search_seconds"] * max(row["workers"], 1)
    shared = row["worker_seconds"].get("measure", 0.0) + row["worker_seconds"].get("check", 0.0)
    print(f"  workers: idle or elsewhere  {busy - shared:10.2f} s")
    print(f"  {row['checks']} checks, {row['statuses']}")
    print(f"  cycles {row['default_cycles']:,} -> {row['cycles']:,}, bound {row['bound']:,}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="resnet18")
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    profile = cProfile.Profile()
    if args.profile:
        row = profile.runcall(measure, args.model, args.trials, 0)
    else:
        row = measure(args.model, args.trials, args.workers)
    if args.json:
        print(json.dumps(row, indent=2))
    else:
        show(row)
    if args.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(LINES)
    return int(args.model == "resnet18" and row["trials_per_second"] < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
