"""Plain kernels by the automatic schedule: packets per 128 outputs on one thread, operands in TCM.

python benchmarks/idioms.py [NAMES] [--trials N] [--target T] [--json]

    gaussian3x3               default     3.84  tuned     3.60  hand   4.10  x 0.88   lanes, 9.8 s
    dot_i16                   no code: select: ...

``hand`` are the best packets known of code written by hand, ``x`` how many times as many these are
(of the better of both numbers). What comes without code is told with its reason, and makes the exit
code 1. Bytes of every schedule that is taken are those of the interpreter.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from time import perf_counter

from idiom_kernels import HAND, KERNELS

from dovetail.driver.api import compile as compile_kernel
from dovetail.driver.api import tune

PER = 128  # outputs: a register of bytes


@dataclass
class Row:
    """One kernel; packets are per 128 outputs."""

    name: str
    default: float | None = None
    tuned: float | None = None
    hand: float | None = None
    template: str = ""
    seconds: float = 0.0
    error: str = ""

    @property
    def ratio(self) -> float:
        """Times the packets of the best code by hand."""
        assert self.default is not None and self.hand is not None
        return min(self.default, self.tuned or self.default) / self.hand

    def __str__(self) -> str:
        if self.default is None:
            return f"{self.name:26}no code: {self.error}"
        tuned = "" if self.tuned is None else f"  tuned {self.tuned:8.2f}"
        end = f"   {self.template}, {self.seconds:.1f} s"
        if self.hand is not None:
            end = f"  hand {self.hand:6.2f}  x {self.ratio:4.2f}{end}"
        return f"{self.name:26}default {self.default:8.2f}{tuned}{end}"


def measured(name: str, trials: int, target: str) -> Row:
    """A kernel at its default, and at the best of some trials."""
    kernel, row, start = KERNELS[name], Row(name, hand=HAND.get(name)), perf_counter()
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
