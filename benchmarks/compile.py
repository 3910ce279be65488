"""Untuned compilation, pass by pass: seconds and peak memory, and the time of one inference.

python benchmarks/compile.py [MODEL ...] [--workers N] [--json]

A pass's time is the wall clock; ``choose defaults`` runs on the workers, and its lines below it are
what one kernel spends there on average, by stage, taken in this process on a sample of kernels.
The peak counts this process and the largest worker. Exit code 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dovetail.driver.choose import choose
from dovetail.driver.inputs import as_array
from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.memory_plan import plan
from dovetail.driver.prepare import ready
from dovetail.driver.runtime import Runtime
from dovetail.driver.zoo import build as zoo_build
from dovetail.driver.zoo import calibration
from dovetail.graph.evaluate import evaluate
from dovetail.graph.lower import lower_graph
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import quantize_inputs
from dovetail.quant.quantize import quantize
from dovetail.schedule.knobs import Point
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.target import dsp
from dovetail.target.jit import jit
from dovetail.tuner.measure import Measurer

FIGURES = ("compile s", "memory MiB", "run s")
LIMITS = {"resnet18": (30.0, 3072.0, 2.0), "resnet50": (60.0, 4096.0, 4.0)}
SAMPLE = 8  # kernels whose stages are timed


class Clock:
    """Seconds by name, in the order in which they are first met."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def peak() -> float:
    """MiB: the most that this process had, and the most that one worker had."""
    own, workers = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(resource.getrusage(who).ru_maxrss for who in (own, workers)) / 1024


def stages(tasks: list[KernelTask], points: dict[str, Point], clock: Clock) -> None:
    """What a kernel spends in each stage of one compilation, on average over a sample."""
    sample = tasks[:: max(len(tasks) // SAMPLE, 1)]
    inner = Clock()
    for task in sample:
        with inner("  schedule"):
            func = task.template.apply(points[task.key])
        with inner("  select"):
            program = task.machine.build(func)
        with inner("  pack"):
            listing = compile_program(program, task.machine)
        with inner("  count cycles"):
            cost(listing)
        with inner("  (jit)"):
            jit(program)
    clock.seconds.update((name, total / len(sample)) for name, total in inner.seconds.items())


def measure(name: str, workers: int | None) -> dict[str, Any]:
    """All passes of a model's untuned compilation, and one run."""
    model, inputs = zoo_build(name)
    batches = [[as_array(part) for part in batch] for batch in calibration(name)]
    clock = Clock()
    with clock("import"):
        graph = import_model(model, inputs)
    with clock("calibrate and quantize"):
        integer = quantize(graph, batches)
    with clock("lower"):
        kernels = lower_graph(integer)
    with clock("plan memory"):
        plan(integer, kernels, dsp())
    with clock("place and group"):
        found = ready(integer, dsp())
    with clock("choose defaults"), Measurer(workers, 600.0) as measurer:
        choices = choose(found.tasks, {}, measurer)
    compiling, memory = sum(clock.seconds.values()), peak()
    points = {key: choice.point for key, choice in choices.items()}
    stages(found.tasks, points, clock)
    runtime = Runtime(found, points)
    with clock("jit"):
        runtime.prepare()
    arrays = quantize_inputs(integer, batches[0])
    runtime.run(arrays)
    with clock("run"):
        outputs = runtime.run(arrays)
    with clock("reference"):
        wanted = evaluate(integer, arrays)
    same = all(np.array_equal(a, b) for a, b in zip(outputs, wanted, strict=True))
    return {
        "model": name, "kernels": len(found.kernels), "distinct": len(found.tasks),
        "seconds": clock.seconds, "compile": compiling, "memory_mib": memory, "exact": same,
        "cycles": sum(choices[task.key].cost.cycles for task in found.kernels),
        "bound": sum(int(task.bound) for task in found.kernels),
    }  # fmt: skip


def misses(row: dict[str, Any]) -> list[str]:
    """The limits that do not hold."""
    found = [] if row["exact"] else ["its bytes are not the reference's"]
    if row["model"] in LIMITS:
        figures = (row["compile"], row["memory_mib"], row["seconds"]["run"])
        named = zip(
            ("compile s", "memory MiB", "run s"), figures, LIMITS[row["model"]], strict=True
        )
        found += [f"{what} {got:.2f} > {limit:g}" for what, got, limit in named if got > limit]
    return found


def show(row: dict[str, Any]) -> None:
    print(f"{row['model']}: {row['kernels']} kernels, {row['distinct']} distinct")
    for name, seconds in row["seconds"].items():
        print(f"  {name:<24}{seconds:10.3f} s")
    print(f"  compile, untuned {row['compile']:.1f} s, peak {row['memory_mib']:.0f} MiB")
    print(f"  {row['cycles']:,} cycles, bound {row['bound']:,}")
    for miss in misses(row):
        print(f"  MISSED: {miss}")


def alone(name: str, workers: int | None) -> dict[str, Any]:
    """A model in a process of its own, so that its peak is its own."""
    command = [sys.executable, __file__, name, "--json", "--inside"]
    command += ["--workers", str(workers)] if workers is not None else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", default=["resnet18", "resnet50"])
    parser.add_argument("--workers", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(measure(args.models[0], args.workers)))
        return 0
    rows = [alone(name, args.workers) for name in args.models]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            show(row)
    return int(any(misses(row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
