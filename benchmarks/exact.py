"""Bytes and cycles of every kernel of the zoo: its default, and random points of its space.

A point is sound if its code gives the operator's exact bytes, or if the schedule says why it does
not fit. The table shows each kernel's default cycles against its bound, and how long it took to
find; the lines below it name every point that is not sound, or slow to compile.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from random import Random
from time import process_time
from types import FrameType

from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.prepare import quantized, ready
from dovetail.driver.targets import parse
from dovetail.driver.zoo import build, calibration, names
from dovetail.graph.graph import Graph
from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.knobs import Point, key
from dovetail.tir.passes.vectorize import VectorizeError

SLOW_DEFAULT, SLOW_POINT = 10.0, 2.0  # seconds of a processor from which a line says so
EXAMPLES = """examples:
  python benchmarks/exact.py                                   # defaults of the whole zoo
  python benchmarks/exact.py resnet8 --points 50
  python benchmarks/exact.py resnet50 --target 'dsp(tcm=256 << 10)' --only layer1 --json
"""


@dataclass
class Row:
    """One kernel: ``points`` counts what became of them, ``notes`` names the bad and the slow."""

    model: str
    kernel: str
    kind: str
    template: str
    weight: int
    cycles: int = 0
    bound: int = 0
    spills: int = 0
    seconds: float = 0.0  # to choose the default
    slowest: float = 0.0  # to compile one point
    points: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return self.cycles / max(self.bound, 1)

    @property
    def text(self) -> str:
        tried = " ".join(f"{n} {what}" for what, n in sorted(self.points.items()))
        return (
            f"{self.model:12} {self.kernel:24.24} {self.template:11} {self.weight:2}x "
            f"{self.cycles:9} {self.bound:9} {self.ratio:6.2f} {self.spills:4} spills "
            f"{self.seconds:6.1f} s {self.slowest:5.1f} s  {tried}"
        )


class TooLong(Exception):
    """A point took longer than it may."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises TooLong in the block after ``seconds`` seconds."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TooLong(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def integer(name: str) -> Graph:
    """A zoo model's integer graph."""
    model, inputs = build(name)
    return quantized(model, inputs, calibration(name))


def survey(model: str, task: KernelTask, count: int, rng: Random, seconds: float) -> Row:
    """The default of a kernel and ``count`` random points."""
    row = Row(model, task.name, task.kind, task.template.name, task.weight, bound=int(task.bound))
    start = process_time()
    try:
        with limit(30 * seconds):
            default = task.default
    except Exception as error:
        row.notes.append(f"default: {type(error).__name__}: {error}")
        return row
    row.seconds = process_time() - start
    if row.seconds > SLOW_DEFAULT:
        row.notes.append(f"default: chosen in {row.seconds:.1f} s")
    found = Counter([tried(task, default, row, seconds, True)])
    for point in different(task, default, count, rng):
        found[tried(task, point, row, seconds)] += 1
    row.points = dict(found)
    return row


def different(task: KernelTask, default: Point, count: int, rng: Random) -> Iterator[Point]:
    """Random points, each once."""
    seen = {key(default)}
    for _ in range(8 * count):
        point = task.space.sample(rng)
        if len(seen) <= count and key(point) not in seen:
            seen.add(key(point))
            yield point


def tried(task: KernelTask, point: Point, row: Row, seconds: float, default: bool = False) -> str:
    """What became of a point: right, wrong, refused or failed."""
    start = process_time()
    try:
        with limit(seconds):
            code = task.compiled(point)
            took = process_time() - start
            row.slowest = max(row.slowest, took)
            if took > SLOW_POINT:
                row.notes.append(f"slow, {took:.1f} s: {key(point)}")
            if default:
                row.cycles, row.spills = code.cost.cycles, code.cost.spills
            right, message = task.check(code.point)
    except (ScheduleError, VectorizeError) as refused:
        if not default:
            return "refused"
        row.notes.append(f"refused: {key(point)}: {refused}")
        return "refused"
    except Exception as error:
        row.notes.append(f"failed: {key(point)}: {type(error).__name__}: {str(error)[:300]}")
        return "failed"
    if not right:
        row.notes.append(f"wrong: {key(point)}: {message}")
    return "right" if right else "wrong"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Sums of the models, and the kernels that lose most cycles."""
    for model in dict.fromkeys(row.model for row in rows):
        mine = [row for row in rows if row.model == model]
        cycles = sum(row.cycles * row.weight for row in mine)
        bound = sum(row.bound * row.weight for row in mine)
        yield f"{model:12} {cycles:10} cycles, bound {bound:10}, {cycles / max(bound, 1):.2f}"
    yield "lost most cycles:"
    lost = sorted(rows, key=lambda row: -(row.cycles - row.bound) * row.weight)
    yield from (row.text for row in lost[:15])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of the zoo; all without one")
    parser.add_argument("--target", default="dsp")
    parser.add_argument("--points", type=int, default=0, help="random points a kernel")
    parser.add_argument("--seconds", type=float, default=60, help="that one point may take")
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for model in options.models or names():
        tasks = ready(integer(model), parse(options.target)).tasks
        for task in tasks:
            if options.only not in task.name:
                continue
            rng = Random(f"{options.seed} {task.key}")
            row = survey(model, task, options.points, rng, options.seconds)
            rows.append(row)
            text = json.dumps(asdict(row)) if options.json else row.text
            print(text, *([] if options.json else row.notes), sep="\n    ", flush=True)
    if not options.json:
        print(*table(rows), sep="\n")
    bad = sum(row.points.get(what, 0) for row in rows for what in ("wrong", "failed"))
    return int(bad > 0 or any(not row.points for row in rows))


if __name__ == "__main__":
    sys.exit(main())
