"""What a target is: a machine, and how kernels become code for it.

    program = target.build(func)        # a scheduled kernel as selected instructions
    code = target.code(program)         # as the machine runs it: what it costs, and a listing

Each target is one folder that fills this protocol and gives its ``Family``, by which the driver
finds it. Values need nothing of a target: rows carry their meaning, by which ``target/jit`` runs
any program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..tir.stmt import PrimFunc
from .cost import Cost, Timeline, Work
from .instruction import Instruction
from .machine_facts import Machine
from .program import Program
from .selection_record import SelectionRecord


class Listing(Protocol):
    """A program as the machine has it."""

    @property
    def text(self) -> str:
        """For people, and for an assembler if there is one."""


@dataclass(frozen=True, slots=True)
class Code:
    """A program as one machine runs it."""

    listing: Listing
    cost: Cost


@dataclass(frozen=True, slots=True)
class ProgramPhase:
    """A phase of a listing within a longer program, whose it is, and the thread that takes the
    first share of it; the threads behind that one, and then those before it, take the others."""

    listing: Any  # of the target that made it
    phase: int
    owner: int
    first: int = 0


class Target(Machine, Protocol):
    """A machine with what makes code for it."""

    @property
    def simulated(self) -> bool:
        """Whether costs are exact and repeat, without running code or a clock."""

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes of requantization that it has code for."""

    @property
    def rows(self) -> Mapping[str, Instruction]:
        """The machine's instructions by name, in the order of their table."""

    def unit(self, row: Instruction) -> str:
        """What executes an instruction, for people: ``"VX_DV"``."""

    def build(
        self,
        func: PrimFunc,
        *,
        record: SelectionRecord | None = None,
        forbidden: frozenset[str] = frozenset(),
    ) -> Program:
        """The selected program of a scheduled kernel; SelectError where the machine has no way.
        ``record`` takes what selection did and why; ``forbidden`` rows are not used."""

    def code(self, program: Program) -> Code:
        """ValueError where the machine has no room for it, in registers for instance."""

    def walk(self, phases: Sequence[ProgramPhase], free: frozenset[int]) -> Timeline:
        """What phases take where all are run one after another; threads wait for each other before
        those that are not ``free``."""

    def bound(self, work: Work) -> int:
        """Cycles that no code for this work can beat."""


@dataclass(frozen=True, slots=True)
class Family:
    """The machines of one name, ``dsp(threads=1, tcm=4096)``: ``kind`` is their class, a frozen
    dataclass, ``make`` one with some fields changed, MachineError for a value that no machine has.
    ``words`` may stand in a name, with fields of their own. ``real`` names the machines whose code
    it is: ``execute`` runs whole programs as these would, on an emulator, ``emit`` writes them."""

    name: str
    kind: type[Any]
    make: Callable[..., Target]
    words: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    real: str = ""
    execute: Callable[..., Any] | None = None  # as linked.Execute
    emit: Callable[..., Any] | None = None  # as linked.Emit
