"""What selection did at each value, and why: filled by the selector that generates the code.

    record = Record()
    build(func, machine, record=record)
    record.events      # Started, Begin, Covered, Emitted, ...: a value before its operands

A reason begins with its kind: ``users: ...``, ``immediate: ...``, ``fewer: ...``; an operator or a
type that differs says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..tir.expr import Expr
from .instruction import Instruction

DISTANT = ("operator", "type", "lanes")  # kinds of reasons of rows that are not meant at all


@dataclass(frozen=True, slots=True)
class Trial:
    """A row tried at a value: ``reason`` is "" for the one that was taken. ``inside`` counts the
    operators of its body, ``met`` those that agreed with the value."""

    row: Instruction
    inside: int
    met: int
    matched: bool
    reason: str

    @property
    def kind(self) -> str:
        return self.reason.partition(":")[0]

    @property
    def near(self) -> bool:
        """Whether a reader wants to see the row: it matched, or failed behind its operator."""
        return self.matched or self.kind not in DISTANT


@dataclass(frozen=True, slots=True)
class Begin:
    """Straight-line code begins, in these loops, the outermost first. What was recorded since the
    last ``CodeEnd`` prepared it."""

    loops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeEnd:
    """Straight-line code ends."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A value and the row that computes it; ``row`` None: an expansion has to."""

    node: Expr
    row: Instruction | None
    operands: tuple[Expr, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Expanded:
    """A value written in smaller steps; ``early``: before its users were known."""

    node: Expr
    result: Expr
    name: str
    early: bool


@dataclass(frozen=True, slots=True)
class Emitted:
    """An instruction that was asked for by its role: a load, a store, a splat."""

    row: Instruction
    node: Expr
    operand: Expr | None
    buffer: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A phase begins; ``parallel`` is the loop that the threads share."""

    parallel: str | None


Event = Started | Begin | CodeEnd | Covered | Expanded | Emitted


@dataclass(slots=True)
class SelectionRecord:
    """The events of one compilation; ``same``: values that live where another one does."""

    events: list[Event] = field(default_factory=list)
    same: dict[Expr, Expr] = field(default_factory=dict)
