"""A whole target in one file: a small machine in order, of one thread, with few instructions.

    TARGETS["toy"] = TOY
    dovetail.compile(model, (x,), target="toy(multiply=5)")

An instruction takes as many cycles as its result needs, a loop two more a turn. Registers are as
many as code asks for. Scalars do all arithmetic; vectors sum products of bytes, move and compare.
"""

# The bodies are parsed, never run.
# mypy: disable-error-code="empty-body, no-any-return"

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from dovetail.target import pipeline
from dovetail.target.cost import Cost, Share, TimedSpan, Timeline, Work
from dovetail.target.declare import RowTable, collect
from dovetail.target.errors import MachineError
from dovetail.target.expansions import EXPANSIONS
from dovetail.target.instruction import Instruction, Kind
from dovetail.target.machine_facts import Issue, Loops
from dovetail.target.program import Dma, Item, Loop, MachineOp, Program
from dovetail.target.protocol import Code, Family, ProgramPhase
from dovetail.target.roles import Roles
from dovetail.target.select import Selector
from dovetail.target.selection_record import SelectionRecord
from dovetail.target.vocabulary import (
    E,
    K,
    N,
    Q,
    T,
    U,
    W,
    boolx1,
    cast,
    concat,
    const,
    group_sum,
    i32,
    i32x2,
    i64,
    imm_s32,
    imm_u5,
    imm_u6,
    interleave,
    iota,
    maximum,
    memory,
    minimum,
    rounding_mul_shr,
    sat_add,
    sat_cast,
    select,
    splat,
    split,
    u32,
)
from dovetail.tir.stmt import PrimFunc

VECTOR = 16  # bytes
rows = RowTable(VECTOR)
instruction, family = rows.instruction, rows.family
LOAD: dict[str, Any] = dict(timing=(2,), unit="memory", kind=Kind.LOAD)
STORE: dict[str, Any] = dict(timing=(0, 1), unit="memory", kind=Kind.STORE)
ONE: dict[str, Any] = dict(timing=(1, 1), unit="alu")
TWO: dict[str, Any] = dict(timing=(1, 1, 1), unit="alu")
TIMES: dict[str, Any] = dict(timing=(3, 1, 1), unit="multiplier")


def of(kinds: str, **same: Any) -> dict[str, dict[str, Any]]:
    """Rows by name with the type that stands for T in each: ``"lbu:u8 lb:i8"``."""
    rows = (word.split(":") for word in kinds.split())
    return {name: dict(T=kind, name=name, **same) for name, kind in rows}


BYTES, WORDS, LONG = dict(bytes=1, align=1), dict(bytes=4, align=4), dict(bytes=8, align=8)
VECTORS = dict(bytes=VECTOR, align=1)


@family(
    {**of("lbu:u8 lb:i8", **BYTES), **of("lhu:u16", bytes=2, align=2), **of("lw:i32", **WORDS),
     **of("ld:i32x2", **LONG), **of("vl:i32x4", **VECTORS)},
    **LOAD, asm="{name} {d}, {addr}",
)  # fmt: skip
def load() -> T:
    return memory()


@family(
    {**of("sb:i32", **BYTES), **of("sh:i32", bytes=2, align=2), **of("sw:i32", **WORDS),
     **of("sd:i32x2", **LONG), **of("vs:i32x4", **VECTORS)},
    **STORE, asm="{name} {a}, {addr}",
)  # fmt: skip
def store(a: T) -> None: ...


@instruction(timing=(1, 0), unit="alu", asm="li {d}, {n}")
def li(n: imm_s32) -> i32:
    return n


@instruction(**TWO, asm="addi {d}, {a}, {n}")
def addi(a: i32, n: imm_s32) -> i32:
    return a + n


@instruction(**TWO, asm="add {d}, {a}, {b}")
def add(a: i32, b: i32) -> i32:
    return a + b


@instruction(**TWO, asm="sub {d}, {a}, {b}")
def sub(a: i32, b: i32) -> i32:
    return a - b


@instruction(**TWO, asm="and {d}, {a}, {b}")
def and_(a: i32, b: i32) -> i32:
    return a & b


@instruction(**TWO, asm="max {d}, {a}, {b}")
def max_(a: i32, b: i32) -> i32:
    return maximum(a, b)


@instruction(**TWO, asm="min {d}, {a}, {b}")
def min_(a: i32, b: i32) -> i32:
    return minimum(a, b)


@instruction(**TWO, asm="slli {d}, {a}, {n}")
def slli(a: i32, n: imm_u5) -> i32:
    return a << n


@instruction(**TWO, asm="srai {d}, {a}, {n}")
def srai(a: i32, n: imm_u5) -> i32:
    return a >> n


@instruction(**TWO, asm="srli {d}, {a}, {n}")
def srli(a: u32, n: imm_u5) -> u32:
    return a >> cast(u32, n)


@instruction(**TIMES, asm="mul {d}, {a}, {b}")
def mul(a: i32, b: i32) -> i32:
    return a * b


@instruction(**TWO, asm="sgt {d}, {a}, {b}")
def sgt(a: i32, b: i32) -> boolx1:
    return a > b


@instruction(timing=(1, 1, 1, 1), unit="alu", asm="sel {d}, {p}, {a}, {b}")
def sel(p: boolx1, a: i32, b: i32) -> i32:
    return select(p, a, b)


@instruction(**TWO, asm="pair {d}, {a}, {b}")
def pair(a: i32, b: i32) -> i32x2:
    return concat(b, a)


@instruction(**TIMES, asm="mull {d}, {a}, {b}")
def mull(a: i32, b: i32) -> i64:
    return cast(i64, a) * cast(i64, b)


@instruction(**TWO, asm="addl {d}, {a}, {b}")
def addl(a: i64, b: i64) -> i64:
    return a + b


@instruction(**TWO, asm="sral {d}, {a}, {n}")
def sral(a: i64, n: imm_u6) -> i64:
    return a >> cast(i64, n)


@instruction(**ONE, asm="satl {d}, {a}")
def satl(a: i64) -> i32:
    return sat_cast(i32, a)


@family(of("mv:i32 mvp:i32x2 vmv:i32x4"), **ONE, asm="{name} {d}, {a}", tags="bits")
def move(a: T) -> T:
    return a


@family(of("vdup:i8x16 vduph:i16x8 vdupw:i32x4"), **ONE, asm="{name} {d}, {a}", tags="signless")
def vdup(a: i32) -> T:
    return splat(a, const(0, T))


@family(of("vmax:u8x16"), **TWO, asm="{name} {d}, {a}, {b}")
def vmax(a: T, b: T) -> T:
    return maximum(a, b)


@family(
    of("vaddb:i8x16 vaddh:i16x8 vadd:i32x4"), **TWO, asm="{name} {d}, {a}, {b}", tags="signless"
)
def vadd(a: T, b: T) -> T:
    return a + b


@family(of("vsub:i32x4"), **TWO, asm="{name} {d}, {a}, {b}", tags="signless")
def vsub(a: T, b: T) -> T:
    return a - b


@family(of("vsath:i16x8"), **TWO, asm="{name} {d}, {a}, {b}")
def vsath(a: T, b: T) -> T:
    return sat_add(a, b)


@family({name: dict(T="u8x16", U=kind, W="i32x4", name=name)
         for name, kind in {"vmuls": "i8x16", "vmulu": "u8x16"}.items()},
        **TIMES, asm="{name} {d}, {a}, {b}", tags="dot")  # fmt: skip
def vmul(a: T, b: U) -> W:
    return group_sum(cast(i32, a) * cast(i32, b), 4)


@family({name: dict(T="u8x16", U=kind, W="i32x4", name=name)
         for name, kind in {"vdot": "i8x16", "vdotu": "u8x16"}.items()},
        timing=(3, 1, 1, 1), unit="multiplier",
        asm="{name} {acc}, {a}, {b}", accumulate="acc", tags="dot")  # fmt: skip
def vdot(acc: W, a: T, b: U) -> W:
    return acc + group_sum(cast(i32, a) * cast(i32, b), 4)


@family({"vmulr": dict(T="i32x4")}, timing=(3, 1, 1, 1), unit="multiplier",
        asm="vmulr {d}, {a}, {b}, {n}")  # fmt: skip
def vmulr(a: T, b: T, n: i32) -> T:
    return rounding_mul_shr(a, b, splat(n, a))


@family({"vfirst": dict(U="u8x16", Q="boolx16", K=VECTOR - 1)}, **ONE, asm="vfirst {d}, {a}")
def vfirst(a: i32) -> Q:
    return iota(U) < splat(a & K, const(0, U))


@family({"vsel": dict(T="u8x16", Q="boolx16")}, timing=(1, 1, 1, 1), unit="alu",
        asm="vsel {d}, {q}, {a}, {b}", tags="signless")  # fmt: skip
def vsel(q: Q, a: T, b: T) -> T:
    return select(q, a, b)


@family({"vpackw": dict(T="i32x4", N="i16x8", E="i16", name="vpackw"),
         "vpackh": dict(T="i16x8", N="u8x16", E="u8", name="vpackh")},
        **TWO, asm="{name} {d}, {a}, {b}")  # fmt: skip
def vpack(a: T, b: T) -> N:
    return concat(sat_cast(E, b), sat_cast(E, a))


@family({"vdealw": dict(T="i32x4", N="i16x8", E="i16", name="vdealw"),
         "vdealh": dict(T="i16x8", N="u8x16", E="u8", name="vdealh")},
        **TWO, asm="{name} {d}, {a}, {b}")  # fmt: skip
def vdeal(a: T, b: T) -> N:
    return interleave(sat_cast(E, b), sat_cast(E, a))


@family({"vzip": dict(T="i8x16", W="i8x32", name="vzip"),
         "vziph": dict(T="i16x8", W="i16x16", name="vziph"),
         "vzipw": dict(T="i32x4", W="i32x8", name="vzipw")},
        **TWO, asm="{name} {d}, {a}, {b}", tags="signless")  # fmt: skip
def vzip(a: T, b: T) -> W:
    return interleave(b, a)


@family({"vunzip": dict(T="i32x4", W="i32x8")}, **TWO, asm="vunzip {d}, {a}, {b}", tags="signless")
def vunzip(a: T, b: T) -> W:
    return split(concat(b, a))


@family({"vpair": dict(T="i32x4", W="i32x8")}, **TWO, asm="vpair {d}, {a}, {b}", tags="bits")
def vpair(a: T, b: T) -> W:
    return concat(b, a)


LOOPS = Loops(short=1, written=1, few=1, long=1, turned=1 << 30, products=64, odd=1, begin=2)
ISSUE = Issue(
    slots=1, products=1 / 3, shuffles=1, loads=1 / 2, stores=1, accesses=1, depth=4, sums=7, near=0,
    operators={},
)  # fmt: skip
TABLE = collect([sys.modules[__name__]])


@dataclass(frozen=True)
class Listing:
    """The program's loops and instructions, line by line."""

    program: Program

    @property
    def text(self) -> str:
        return "".join(
            f"phase {number}:\n" + "".join(_lines(phase.body, 1))
            for number, phase in enumerate(self.program.phases)
        )


def _lines(items: Iterable[Item], depth: int) -> Iterator[str]:
    for item in items:
        match item:
            case Loop(variable, extent, body):
                yield f"{'  ' * depth}{variable} in {extent}:\n"
                yield from _lines(body, depth + 1)
            case MachineOp(row, result, operands, address):
                names = [p.name for p in row.parameters]
                words = dict(zip(names, map(str, operands), strict=True))
                yield "  " * depth + row.asm.format(d=result, addr=address, **words) + "\n"
            case _:
                yield f"{'  ' * depth}{item}\n"


@dataclass(frozen=True)
class Toy:
    """The machine with its code. There is no channel beside the thread: copies are waited for."""

    multiply: int = 3  # cycles of a product
    tcm: int = 1 << 20
    threads: int = 1
    vectors: int = 32
    vector_bytes: int = VECTOR
    clock: float = 1e8
    vector_result: int = 7
    load_latency: int = 2
    barrier: int = 0
    dma_rate: int = 16
    dma_start: int = 100
    ddr_latency: int = 2
    burst: int = 1
    loops: Loops = LOOPS
    simulated: bool = True

    @property
    def name(self) -> str:
        changed = [f"{f.name}={getattr(self, f.name)}" for f in fields(self)
                   if getattr(self, f.name) != f.default]  # fmt: skip
        return f"toy({', '.join(changed)})" if changed else "toy"

    @property
    def modes(self) -> tuple[str, ...]:
        return ("single",)

    @property
    def rows(self) -> Mapping[str, Instruction]:
        return TABLE

    @property
    def issue(self) -> Issue:
        return ISSUE

    def unit(self, row: Instruction) -> str:
        return row.unit_at(0)

    def build(self, func: PrimFunc, *, record: SelectionRecord | None = None,
              forbidden: frozenset[str] = frozenset()) -> Program:  # fmt: skip
        return pipeline.build(func, _selector(forbidden), _roles(), VECTOR, record)

    def code(self, program: Program) -> Code:
        cycles = sum(self._cycles(phase.body) * (phase.parallel or ("", 1))[1]
                     for phase in program.phases)  # fmt: skip
        near = sum(place.size for place in program.places if place.scope == "tcm")
        return Code(Listing(program), Cost(cycles, cycles, tcm=near))

    def _cycles(self, items: Iterable[Item]) -> int:
        return sum(map(self._each, items))

    def _each(self, item: Item) -> int:
        match item:
            case Loop(extent=extent, body=body):
                return extent * (2 + self._cycles(body))
            case MachineOp(instruction=row):
                return self.multiply if row.unit_at(0) == "multiplier" else max(row.timing[0], 1)
            case Dma(rows=rows, row_bytes=size):
                return self.dma_start + rows * -(-size // self.dma_rate)
        return 0

    def walk(self, phases: Sequence[ProgramPhase], free: frozenset[int]) -> Timeline:
        now, found = 0, [0] * (1 + max(phase.owner for phase in phases))
        spans: list[TimedSpan] = []
        for one in phases:
            phase = one.listing.program.phases[one.phase]
            taken = self._cycles(phase.body) * (phase.parallel or ("", 1))[1]
            spans.append(TimedSpan(one.owner, now, now + taken))
            found[one.owner], now = found[one.owner] + taken, now + taken
        spent = tuple((span.end - span.start,) for span in spans)
        shares = tuple(Share(cycles, cycles) for cycles in found)
        return Timeline(shares, tuple(spans), spent=spent)

    def bound(self, work: Work) -> int:
        """An instruction does as many products as a vector has bytes at most, and moves one."""
        return -(-max(work.products, work.loaded + work.stored) // self.vector_bytes)


@cache
def _selector(forbidden: frozenset[str]) -> Selector:
    refused = dict.fromkeys(forbidden, "forbidden: it must not be used here")
    return Selector(TABLE.values(), EXPANSIONS, refused)


@cache
def _roles() -> Roles:
    return Roles(TABLE, VECTOR, lambda row: 1.0)


def toy(**changed: Any) -> Toy:
    """The machine with some fields changed; MachineError for a product that takes no time."""
    for name in changed.keys() - {f.name for f in fields(Toy)}:
        raise MachineError(f"toy: there is no field {name}")
    if changed.get("multiply", 1) < 1:
        raise MachineError(f"toy: multiply must be positive, but got {changed['multiply']}")
    return Toy(**changed)


TOY = Family("toy", Toy, toy)
