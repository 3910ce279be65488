"""The dsp as a target: a simulated machine whose packed listings are walked for their cycles.

>>> dsp(threads=1, tcm=1 << 20).name
'dsp(threads=1, tcm=1048576)'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...options import record as options
from ...tir.hashed import Hashed
from ...tir.stmt import PrimFunc
from .. import pipeline
from ..cost import Timeline, Work
from ..errors import MachineError
from ..instruction import Instruction
from ..linked import ExecutedProgram, LinkedProgram
from ..program import Program
from ..protocol import Code, Family, ProgramPhase
from ..selection_record import SelectionRecord
from .bound import bound
from .compile import compile_program
from .cycles import cost, timeline
from .machine import DspMachine, Unit
from .rows import roles, rows, selector


@dataclass(frozen=True, slots=True)
class Dsp(DspMachine):
    """A machine with its code. Make it by ``dsp(...)``, which checks the values."""

    __hash__ = Hashed.__hash__

    @property
    def simulated(self) -> bool:
        return True

    @property
    def modes(self) -> tuple[str, ...]:
        return ("single",)

    @property
    def rows(self) -> Mapping[str, Instruction]:
        return rows(self.version)

    def unit(self, row: Instruction) -> str:
        return row.unit_at(self.version)

    def build(
        self,
        func: PrimFunc,
        *,
        record: SelectionRecord | None = None,
        forbidden: frozenset[str] = frozenset(),
    ) -> Program:
        select = selector(self.version, forbidden)
        return pipeline.build(func, select, roles(self.version), self.grain, record)

    def code(self, program: Program) -> Code:
        listing = compile_program(program, self)
        return Code(listing, cost(listing))

    def walk(self, phases: Sequence[ProgramPhase], free: frozenset[int]) -> Timeline:
        return timeline(phases, free, self)

    def bound(self, work: Work) -> int:
        return bound(work, self)


def dsp(**overrides: Any) -> Dsp:
    """The default machine with some fields changed."""
    known = {row.name: row.check for row in options.rows(Dsp)}
    for name in overrides:
        if name not in known:
            raise MachineError(f"dsp: a field is one of {', '.join(known)}, but got {name!r}")
    return Dsp(**{name: known[name](f"dsp: {name}", value) for name, value in overrides.items()})


def _execute(program: LinkedProgram) -> ExecutedProgram:
    from .hexagon.run_linked import run_linked

    return run_linked(program)


def _emit(program: LinkedProgram, form: str) -> bytes:
    from .hexagon.run_linked import emit_linked

    return emit_linked(program, form)


DSP = Family("dsp", Dsp, dsp, {"Unit": Unit}, "hexagon", _execute, _emit)
