"""Plain kernels by the automatic schedule: packets per 128 outputs on one thread, operands in TCM.

python benchmarks/idioms.py [NAMES] [--trials N] [--target T] [--json]

    gaussian3x3               default 10.86   after 60 trials  9.58   window 8.0 s
    dot_i16                   no code: select: ...

What comes without code is told with its reason, and makes the exit code 1. Bytes of every schedule
that is taken are those of the interpreter.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from time import perf_counter

from idiom_kernels import KERNELS

from dovetail.driver.api import compile as compile_kernel
from dovetail.driver.api import tune

PER = 128  # outputs: a register of bytes


@dataclass
class Row:
    """One kernel; packets are per 128 outputs."""

    name: str
    default: float | None = None
    tuned: float | None = None
    template: str = ""
    seconds: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        if self.default is None:
            return f"{self.name:26}no code: {self.error}"
        tuned = "" if self.tuned is None else f"  tuned {self.tuned:8.2f}"
        end = f"   {self.template}, {self.seconds:.1f} s"
        return f"{self.name:26}default {self.default:8.2f}{tuned}{end}"


def measured(name: str, trials: int, target: str) -> Row:
    """A kernel at its default, and at the best of some trials."""
    kernel, row, start = KERNELS[name], Row(name), perf_counter()
    try:
        made = compile_kernel(kernel.func, target)
        row.default, row.template = made.cost.packets * PER / kernel.outputs, made.template
        if trials:
            made = tune(kernel.func, trials, target)
            row.tuned, row.template = made.cost.packets * PER / kernel.outputs, made.template
    except Exception as error:  # any kind: the table shows what a user would see
        row.error = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    row.seconds = perf_counter() - start
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", help=f"of {', '.join(KERNELS)}; all where none is given"
    )
    parser.add_argument("--trials", type=int, default=60, help="0: defaults alone")
    parser.add_argument("--target", default="dsp(threads=1)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in KERNELS]:
        parser.error(f"names must be of {', '.join(KERNELS)}, but got {', '.join(unknown)}")
    rows = []
    for name in given.names or KERNELS:
        rows.append(measured(name, given.trials, given.target))
        if not given.json:
            print(rows[-1], flush=True)
    if given.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    return int(any(row.error for row in rows))


if __name__ == "__main__":
    sys.exit(main())
