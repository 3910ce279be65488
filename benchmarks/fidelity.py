"""Listings against real HVX code: LLVM's assembler, QEMU's bytes and QEMU's packet counts.

A sample is a small kernel of random shape, its operands in DDR or TCM at random, a machine of some
threads and TCM, and a random point of its template's space. It is faithful if LLVM's assembler
accepts all of its packets, QEMU and the JIT give the operator's exact bytes, and QEMU executes, in
each phase and thread, as many packets as the cost model counts. Some samples run the last thread
first, some copy as late as they may: neither may change a byte.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
from fidelity_cases import CASES, Make

from dovetail.driver.compiler import Compiled
from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.prepare import ready
from dovetail.driver.targets import parse
from dovetail.driver.zoo import names
from dovetail.graph.graph import Array, Graph
from dovetail.graph.kernels import place
from dovetail.graph.physical import pack, unpack
from dovetail.schedule.errors import ScheduleError
from dovetail.target.dsp.hexagon.assemble import AssembleError
from dovetail.target.dsp.hexagon.run_listing import Executed, run_program
from dovetail.target.dsp.hexagon.tools import advice
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import buffer, jit
from dovetail.tir.passes.vectorize import VectorizeError

LIMIT = 0.95  # of the samples must be faithful in everything
DRAWS = 8  # points that are tried until one is not refused
REFUSED = (ScheduleError, VectorizeError, SelectError)
MACHINES = (
    "dsp", "dsp", "dsp(threads=3)", "dsp(threads=1)", "dsp(tcm=64 << 10)", "dsp(tcm=16 << 10)"
)  # fmt: skip
EXAMPLES = """examples:
  python benchmarks/fidelity.py                          # 120 samples, a table, the misses
  python benchmarks/fidelity.py --samples 400 --seed 7
  python benchmarks/fidelity.py --cases conv2d depthwise --samples 20
  python benchmarks/fidelity.py --models digits resnet8  # the distinct kernels of zoo models
  python benchmarks/fidelity.py --only 17                # one sample of the same seed again
  python benchmarks/fidelity.py --json > fidelity.json
"""


@dataclass
class Sample:
    """One kernel at one point, and how faithful its listing is."""

    number: int
    case: str
    template: str = ""
    machine: str = ""
    backwards: bool = False  # the last thread first
    late: bool = False  # copies are done when they are awaited
    shapes: dict[str, Any] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    point: dict[str, Any] = field(default_factory=dict)
    cycles: int = 0
    packets: int = 0  # executed by QEMU, all threads
    assembled: bool = False
    reference_bytes: bool = False  # the JIT gives the operator's bytes
    qemu_bytes: bool = False  # QEMU gives the operator's bytes
    counted: bool = False
    seconds: float = 0.0
    refused: list[str] = field(default_factory=list)  # points that have no code, and why
    reasons: list[str] = field(default_factory=list)

    @property
    def faithful(self) -> bool:
        return self.assembled and self.reference_bytes and self.qemu_bytes and self.counted

    @property
    def wrong(self) -> bool:
        """Code that gives wrong bytes, or none."""
        executed = self.reference_bytes and (self.qemu_bytes or not self.assembled)
        return bool(self.template) and not executed


def sample(number: int, case: str, seed: int) -> Sample:
    """Draws a sample and judges it; it depends on the seed, its number and its case alone."""
    start = perf_counter()
    made = Sample(number, case)
    numbers = np.random.default_rng([seed, number])
    draw = Random(f"{seed}:{number}")
    try:
        _judge(made, draw, numbers)
    except Exception as error:  # a benchmark reports what breaks and goes on
        made.reasons.append(f"{type(error).__name__}: {error}")
    made.seconds = perf_counter() - start
    return made


def _judge(made: Sample, draw: Random, numbers: np.random.Generator) -> None:
    task = _task(made, draw, numbers)
    compiled = _compiled(made, task, draw)
    if compiled is None:
        made.reasons.append(f"none of {DRAWS} points has code: {made.refused[-1]}")
        return
    made.template, made.point = task.template.name, dict(compiled.point)
    made.cycles = compiled.cost.cycles
    arrays, wanted = task.values.expected
    shape = task.graph.types[task.kernel.output].shape
    inputs = [pack(a, a.shape, 77) for a in arrays]
    output = np.full(task.kernel.func.params[-1].bytes, 0x5A, np.uint8)
    by_jit = unpack(_by_jit(compiled, inputs, output), shape)
    made.reference_bytes = _equal("the JIT", by_jit, wanted, made)
    try:
        executed = run_program(compiled.program, compiled.listing, [*inputs, output],
                               backwards=made.backwards, late=made.late)  # fmt: skip
    except AssembleError as error:
        made.reasons.append(str(error))
        return
    made.assembled = True
    by_qemu = unpack(next(iter(executed.outputs.values())), shape)
    made.qemu_bytes = _equal("QEMU", by_qemu, wanted, made)
    made.counted = _counted(executed, compiled, made)


def _task(made: Sample, draw: Random, numbers: np.random.Generator) -> KernelTask:
    """A kernel with its operands in either memory."""
    graph = CASES[made.case](numbers)
    made.machine = draw.choice(MACHINES)
    made.backwards, made.late = draw.random() < 0.5, draw.random() < 0.5
    machine = parse(made.machine)
    task = ready(graph, machine).kernels[0]
    func = task.kernel.func
    room = machine.tcm // 4
    for param in (p for p in func.params if p.name not in func.constants):
        near = draw.random() < 0.5 and param.bytes <= room
        room -= param.bytes * near
        made.scopes[param.name] = "tcm" if near else "ddr"
    made.shapes = dict(func.attrs["shapes"])
    kernel = replace(task.kernel, func=place(func, made.scopes))
    return KernelTask(kernel, task.graph, machine)


def _compiled(made: Sample, task: KernelTask, draw: Random) -> Compiled | None:
    for _ in range(DRAWS):
        point = task.space.sample(draw)
        try:
            return task.compiled(point)
        except REFUSED as refusal:
            made.refused.append(f"{type(refusal).__name__}: {str(refusal).splitlines()[0]}")
    return None


def _by_jit(compiled: Compiled, inputs: Sequence[Array], output: Array) -> Array:
    memory = [buffer(array.nbytes) for array in (*inputs, output)]
    for target, array in zip(memory, (*inputs, output), strict=True):
        target[:] = array.reshape(-1)
    jit(compiled.program)(*memory)
    return memory[-1]


def _equal(who: str, got: Array, wanted: Array, made: Sample) -> bool:
    where = np.argwhere(got != wanted)
    if len(where):
        first = tuple(int(i) for i in where[0])
        made.reasons.append(
            f"bytes: {who} differs from the operator in {len(where)} of {wanted.size}, the first "
            f"at {first}: {int(got[first])} instead of {int(wanted[first])}"
        )
    return not len(where)


def _counted(executed: Executed, compiled: Compiled, made: Sample) -> bool:
    predicted, found = compiled.cost.executed, executed.packets
    made.packets = sum(map(sum, found))
    for phase, (ours, theirs) in enumerate(zip(predicted, found, strict=True)):
        for thread, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one != other:
                made.reasons.append(
                    f"packets: phase {phase}, thread {thread}: {one} predicted, {other} executed"
                )
                return False
    return True


def run(samples: int, seed: int, cases: Sequence[str], only: int | None = None
        ) -> Iterator[Sample]:  # fmt: skip
    """The samples in order, the cases in turn."""
    for number in range(samples) if only is None else [only]:
        yield sample(number, cases[number % len(cases)], seed)


def enter(model: str) -> list[str]:
    """Enters the distinct kernels of a zoo model as cases; gives their names."""
    from dovetail.driver.prepare import prepare
    from dovetail.driver.zoo import build, calibration

    module, inputs = build(model)
    graphs = [task.graph for task in prepare(module, inputs, calibration(model), dsp()).tasks]
    made: dict[str, Make] = {f"{model}:{g.name}": partial(_given, g) for g in graphs}
    CASES.update(made)
    return list(made)


def _given(graph: Graph, _: np.random.Generator) -> Graph:
    return graph


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Totals; ``passed`` is the verdict."""
    faithful, wrong = sum(s.faithful for s in samples), sum(s.wrong for s in samples)
    return {
        "samples": len(samples), "faithful": faithful,
        "assembled": sum(s.assembled for s in samples),
        "qemu_bytes": sum(s.qemu_bytes for s in samples),
        "reference_bytes": sum(s.reference_bytes for s in samples),
        "counted": sum(s.counted for s in samples),
        "wrong": wrong, "refused": sum(len(s.refused) for s in samples),
        "packets": sum(s.packets for s in samples),
        "seconds": sum(s.seconds for s in samples),
        "passed": bool(samples) and not wrong and faithful >= LIMIT * len(samples),
    }  # fmt: skip


def show(samples: Sequence[Sample]) -> None:
    """A row a case and template, the totals, the misses and the refusals."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="listings against QEMU")
    for name in ("case", "template", "samples", "assembled", "JIT bytes", "QEMU bytes", "packets"):
        table.add_column(name, justify="left" if name in ("case", "template") else "right")
    kinds = sorted({(s.case, s.template) for s in samples})
    for case, template in kinds:
        mine = [s for s in samples if (s.case, s.template) == (case, template)]
        parts = ("assembled", "reference_bytes", "qemu_bytes", "counted")
        sums = [str(sum(getattr(s, part) for s in mine)) for part in parts]
        table.add_row(case, template, str(len(mine)), *sums)
    console.print(table)
    total = summary(samples)
    console.print(
        f"{total['faithful']} of {total['samples']} faithful in everything "
        f"({100 * total['faithful'] / max(len(samples), 1):.1f} %, {100 * LIMIT:g} % needed); "
        f"{total['wrong']} with wrong bytes; {total['packets']:,} packets executed "
        f"in {total['seconds']:.0f} s"
    )
    for miss in (s for s in samples if not s.faithful):
        order = f"{' backwards' * miss.backwards}{' late' * miss.late}"
        console.print(f"\nMISS --only {miss.number}: {miss.case}/{miss.template} {miss.machine} "
                      f"{miss.shapes} {miss.scopes} {miss.point}{order}", markup=False)  # fmt: skip
        for reason in miss.reasons:
            console.print(f"  {reason}", markup=False)
    refusals = Counter((s.case, text) for s in samples for text in s.refused)
    for (case, text), count in refusals.most_common():
        console.print(f"refused {count} times, {case}: {text}", markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, help="how many (default 120, or one a kernel)")
    parser.add_argument("--seed", type=int, default=0, help="of shapes, numbers and points")
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), metavar="CASE",
                        default=list(CASES), help=f"of {', '.join(CASES)}")  # fmt: skip
    parser.add_argument("--models", nargs="+", choices=names(), metavar="MODEL", default=[],
                        help=f"those of zoo models instead: {', '.join(names())}")  # fmt: skip
    parser.add_argument("--only", type=int, help="only the sample of this number")
    parser.add_argument("--json", action="store_true", help="totals and samples as JSON")
    args = parser.parse_args()
    if args.samples is not None and args.samples < 1:
        parser.error(f"--samples: must be at least 1, but got {args.samples}")
    if advice():
        parser.error(advice())
    cases = [name for model in args.models for name in enter(model)] or args.cases
    samples = args.samples or (len(cases) if args.models else 120)
    done = []
    for one in run(samples, args.seed, cases, args.only):
        done.append(one)
        if not args.json:
            verdict = "ok" if one.faithful else "MISS"
            print(f"{one.number:4} {one.case:<14} {one.template:<12} {verdict}", file=sys.stderr)
    total = summary(done)
    if args.json:
        rows = [{**asdict(one), "faithful": one.faithful} for one in done]
        print(json.dumps({**total, "rows": rows}, indent=2))
    else:
        show(done)
    return 0 if total["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
