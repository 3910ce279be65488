"""An instruction: one declaration whose body is its meaning in the tensor IR.

Selection, values, timing, proofs, lowering, assembly text and the documentation page all read the
``Instruction`` rows; nothing else describes an instruction. Rows are made by ``@instruction`` in
``target/declare.py``, which parses a Python body; an operand's register class follows from its
type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ..tir.expr import Expr, var
from ..tir.types import Type
from .errors import SelectError


class Register(Enum):
    """Classes of registers; the value is the letter in listings."""

    VECTOR = "v"
    PAIR = "w"  # an aligned pair of vectors: v1:0
    PREDICATE = "q"  # one bit a byte lane
    SCALAR = "r"  # 32 bits
    DOUBLE = "d"  # an aligned pair of scalars: r1:0
    CONDITION = "p"  # a scalar predicate
    IMMEDIATE = "#"  # encoded in the instruction: no register

    __hash__ = object.__hash__  # an enumeration's own one is a Python function


def size_of(kind: Type) -> int:
    """Bytes of a value in registers."""
    return kind.bits * kind.lanes // 8 if kind.kind != "b" else kind.lanes


def has_register(kind: Type, vector: int) -> bool:
    """Whether a value lives in one register, where vectors have so many bytes."""
    return kind.kind == "b" or kind.bits * kind.lanes in (8, 16, 32, 64, 8 * vector, 16 * vector)


def register_class(kind: Type, vector: int) -> Register:
    """The class that holds a value, where vectors have so many bytes: by width, and predicates by
    element."""
    if kind.kind == "b":
        return Register.CONDITION if kind.lanes == 1 else Register.PREDICATE
    bits = kind.bits * kind.lanes
    if bits <= 32:
        return Register.SCALAR
    widths = {64: Register.DOUBLE, 8 * vector: Register.VECTOR, 16 * vector: Register.PAIR}
    if bits not in widths:
        raise SelectError(f"registers: no register holds a value of type {kind}")
    return widths[bits]


LARGE = (Register.VECTOR, Register.PAIR, Register.PREDICATE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named operand: type, register class, and for immediates the range of values; a register
    with a range of one value must hold it."""

    name: str
    type: Type
    register: Register
    low: int = 0
    high: int = 0
    variable: Expr = field(init=False, repr=False)  # what a body calls it

    def __post_init__(self) -> None:
        object.__setattr__(self, "variable", var(self.name, self.type))

    @property
    def fixed(self) -> bool:
        """Whether a register must hold one constant."""
        return self.low == self.high != 0


class Kind(Enum):
    """What the machine does besides computing: decides which operands an address has."""

    COMPUTE = "compute"
    LOAD = "load"  # one result, an address
    STORE = "store"  # one register operand, an address


@dataclass(frozen=True, slots=True)
class Instruction:
    """One row. ``asm`` is a format over result ``d``, the parameters' names and, for memory
    rows, ``addr``: ``"{d}.w = vadd({a}.w,{b}.w)"``, ``"{d} = vmem({addr})"``. ``timing`` is the
    cycle of the result, then of each operand (HVX.md section 2: result 9; late 7, early 5,
    scalar 2). ``unit`` maps the first version to a resource class ("VX_DV", "VA", ...; scalar
    rows: "LD", "ST", "ALU32", "S32", "M", "CR", "J"). ``accumulate`` names the parameter that is
    also the result's register. ``element`` of a memory row: bytes moved; ``align`` its alignment.
    """

    name: str
    parameters: tuple[Parameter, ...]
    result: Type | None
    body: Expr | None
    asm: str
    timing: tuple[int, ...]
    unit: tuple[tuple[int, str], ...]
    kind: Kind = Kind.COMPUTE
    accumulate: str | None = None
    hvx: str = ""
    since: int = 60
    bytes: int = 0
    align: int = 0
    doc: str = ""
    vector: int = 0  # bytes of the vectors that the machine has
    tags: frozenset[str] = field(default_factory=frozenset)  # "dot" counts as a dot product

    @property
    def covers(self) -> bool:
        """Whether selection covers values by it for what it means."""
        return self.kind is Kind.COMPUTE and self.body is not None and self.body.op != "var"

    @property
    def is_vector(self) -> bool:
        """Whether a register of vectors takes part."""
        kinds = [*(p.register for p in self.parameters), self.result_register]
        return any(kind in LARGE for kind in kinds)

    @property
    def result_register(self) -> Register | None:
        return register_class(self.result, self.vector) if self.result else None

    def unit_at(self, version: int) -> str:
        """The resource class on hardware ``version``."""
        return [name for first, name in self.unit if first <= version][-1]


def spelled(timing: Sequence[int]) -> str:
    """The cycle of the result, if there is one, and those of the operands: ``"9: 7 5"``."""
    result, *operands = timing
    return f"{result or '-'}: {' '.join(map(str, operands))}".rstrip(": ")
