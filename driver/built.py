"""Code for a kernel, made by hand or by a template: what it costs, its listing, and running it.

code = build(schedule)              # or a PrimFunc, as it stands
code.cycles, print(code.listing)
y = code.run(x)
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..graph.graph import Array
from ..options.checks import shown
from ..schedule.errors import ScheduleError
from ..schedule.schedule import Schedule
from ..target.cost import Cost
from ..target.jit import NativeProgram, jit
from ..target.program import Program
from ..target.protocol import Code, Target
from ..tir.stmt import PrimFunc
from ..tir.verify import VerifyError, verify
from .default import TARGET
from .errors import InputError
from .run_operands import Operands
from .targets import parse


class Built:
    """A scheduled kernel's code on one machine, made when it is first asked for.

    Arrays are the parameters that are not constant, in order. A run takes one for each that the
    kernel reads, and gives one for each that it writes: the array itself where it writes one, or
    else a tuple. An output begins as zeros, unless an array was given for every parameter.
    """

    def __init__(self, func: PrimFunc, machine: Target, kernel: PrimFunc | None = None) -> None:
        self.func, self.machine = func, machine
        self.kernel = func if kernel is None else kernel  # what ``func`` computes, as it is written

    def __call__(self, *arrays: object) -> Any:
        """The same as ``run``."""
        return self.run(*arrays)

    def run(self, *arrays: object) -> Any:
        """The outputs of the machine's code, which runs on this computer."""
        memory = self._operands.memory(arrays)
        if self._trusting:
            self._operands.interpreted(memory, "run")
        self._native(*memory)
        return self._given(memory)

    def reference(self, *arrays: object) -> Any:
        """The outputs by the interpreter, of the kernel as it was given: equal to those of ``run``,
        byte for byte."""
        memory = self._operands.memory(arrays)
        return self._given(self._operands.interpreted(memory, "run"))

    @cached_property
    def _trusting(self) -> bool:
        """Whether data could lead the kernel out of its buffers: then the interpreter goes first,
        which looks at every index."""
        try:
            verify(self.kernel)
        except VerifyError:
            return True
        return False

    @property
    def cycles(self) -> int:
        return self.cost.cycles

    @cached_property
    def cost(self) -> Cost:
        """Cycles with their causes, packets, bytes moved, memory."""
        return self.code.cost

    @property
    def listing(self) -> str:
        """The packed code, as the assembler takes it."""
        return self.code.listing.text

    @cached_property
    def code(self) -> Code:
        """The listing as data, with its cost."""
        return self.machine.code(self.program)

    @cached_property
    def program(self) -> Program:
        """The selected instructions, before packing."""
        return self.machine.build(self.func)

    @cached_property
    def _native(self) -> NativeProgram:
        return jit(self.program)

    @cached_property
    def _operands(self) -> Operands:
        return Operands(self.kernel)

    def _given(self, memory: list[Array]) -> Any:
        found = self._operands.results(memory)
        return found[0] if len(found) == 1 else tuple(found)

    def __repr__(self) -> str:
        return f"<{self.func.name}: {self.cycles:,} cycles on {self.machine.name}>"


def build(kernel: Schedule | PrimFunc, target: str | Target = TARGET) -> Built:
    """The code of a kernel as it is scheduled: nothing is lifted, staged or chosen."""
    machine = parse(target)
    if not isinstance(kernel, Schedule | PrimFunc):
        raise InputError(f"build: must be a Schedule or a prim_func, but got {shown(kernel)}")
    made = Built(kernel.func if isinstance(kernel, Schedule) else kernel, machine)
    if made.cost.tcm > machine.tcm:
        raise ScheduleError(
            f"build: a kernel's buffers must fit into TCM ({machine.tcm} bytes), "
            f"but those of {made.func.name} take {made.cost.tcm}"
        )
    return made
