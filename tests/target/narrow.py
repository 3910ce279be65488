"""A machine of a few rows with vectors of 16 bytes, or as many as one says: nothing of it is the
dsp's but the words in which rows are declared."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace
from typing import Any

from dovetail.target.declare import RowTable, collect
from dovetail.target.expansions import EXPANSIONS
from dovetail.target.instruction import Instruction, Kind
from dovetail.target.pipeline import build
from dovetail.target.program import Program
from dovetail.target.roles import Roles
from dovetail.target.select import Selector
from dovetail.target.vocabulary import (
    E,
    K,
    N,
    Q,
    T,
    U,
    W,
    cast,
    concat,
    const,
    group_sum,
    i32,
    imm_s32,
    imm_u5,
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
    widening_mul,
)
from dovetail.tir.stmt import PrimFunc

_ONE: dict[str, Any] = dict(timing=(1, 0), unit="U", asm="")
_TWO: dict[str, Any] = dict(timing=(1, 0, 0), unit="U", asm="")
_THREE: dict[str, Any] = dict(timing=(1, 0, 0, 0), unit="U", asm="")


def table(size: int) -> dict[str, Instruction]:
    """The rows of a machine whose vectors have ``size`` bytes."""
    rows = RowTable(size)
    instruction, family = rows.instruction, rows.family
    single = {f"{k}{8 * b}": f"{k}{8 * b}x{size // b}" for k in "iu" for b in (1, 2, 4)}
    double = {f"{k}{8 * b}": f"{k}{8 * b}x{2 * size // b}" for k in "iu" for b in (1, 2, 4)}
    wider = {"i8": "i16", "u8": "u16", "i16": "i32", "u16": "u32"}
    words, bytes_, masks = single["i32"], single["u8"], f"boolx{size}"

    def of(name: str, *kinds: str, **same: Any) -> dict[str, dict[str, Any]]:
        return {f"{name}_{k}": dict(T=single[k], **same) for k in kinds}

    def accesses(name: str, kind: Kind, timing: tuple[int, ...]) -> list[Any]:
        """Rows of loads or stores: of scalars, and of vectors at any address or at multiples."""
        common: dict[str, Any] = dict(timing=timing, unit="U", asm="", kind=kind)
        scalars = {"u8": 1, "i8": 1, "u16": 2, "i16": 2, "i32": 4, "i32x2": 8}
        found = [family({f"{name}_{word}": dict(T=word)}, bytes=n, align=n, **common)
                 for word, n in scalars.items()]  # fmt: skip
        for align in (1, size):
            row = {f"{name}_{align}": dict(T=words)}
            found.append(family(row, bytes=size, align=align, **common))
        return found

    def loaded() -> T:
        return memory()

    def stored(a: T) -> None: ...

    @family(of("add", "i8", "i16", "i32"), tags="signless", **_TWO)
    def add(a: T, b: T) -> T:
        return a + b

    @family(of("sub", "i8", "i16", "i32"), tags="signless", **_TWO)
    def sub(a: T, b: T) -> T:
        return a - b

    @family(of("sat_add", "i16"), **_TWO)
    def saturated(a: T, b: T) -> T:
        return sat_add(a, b)

    @family(of("scaled", "i32"), **_THREE)
    def scaled(a: T, b: T, r: i32) -> T:
        return rounding_mul_shr(a, b, splat(r, a))

    @family(of("mul", "i16", "i32"), tags="signless", **_TWO)
    def mul(a: T, b: T) -> T:
        return a * b

    @family(of("max", *single), **_TWO)
    def most(a: T, b: T) -> T:
        return maximum(a, b)

    @family(of("min", *single), **_TWO)
    def least(a: T, b: T) -> T:
        return minimum(a, b)

    @family(of("shr", "i16", "i32"), **_TWO)
    def shr(a: T, r: i32) -> T:
        return a >> splat(r, a)

    @family({f"extend_{a}": dict(T=single[a], W=double[b], E=b) for a, b in wider.items()}, **_ONE)
    def extend(a: T) -> W:
        return split(cast(E, a))

    @family({f"product_{a}": dict(T=single[a], W=double[b]) for a, b in wider.items()}, **_TWO)
    def product(a: T, b: T) -> W:
        return split(widening_mul(a, b))

    @family({"narrow_i16": dict(T=single["i16"], N=single["i8"], E="i8"),
             "narrow_u16": dict(T=single["i16"], N=single["u8"], E="u8"),
             "narrow_i32": dict(T=single["i32"], N=single["i16"], E="i16")}, **_TWO)  # fmt: skip
    def narrow(a: T, b: T) -> N:
        return interleave(sat_cast(E, b), sat_cast(E, a))

    @family({"pack_i16": dict(T=single["i16"], N=single["i8"], E="i8"),
             "pack_u16": dict(T=single["i16"], N=single["u8"], E="u8"),
             "pack_i32": dict(T=single["i32"], N=single["i16"], E="i16")}, **_TWO)  # fmt: skip
    def pack(a: T, b: T) -> N:
        return concat(sat_cast(E, b), sat_cast(E, a))

    @family({"low_i16": dict(T=single["i16"], N=single["i8"], E="i8"),
             "low_i32": dict(T=single["i32"], N=single["i16"], E="i16")},
            tags="signless", **_TWO)  # fmt: skip
    def low_halves(a: T, b: T) -> N:
        return interleave(cast(E, b), cast(E, a))

    @family(
        {f"dot_{u}": dict(T=bytes_, U=single[u], W=words) for u in ("i8", "u8")}, tags="dot", **_TWO
    )
    def dot(a: T, b: U) -> W:
        return group_sum(cast(i32, a) * cast(i32, b), 4)

    @family({f"dot_acc_{u}": dict(T=bytes_, U=single[u], W=words) for u in ("i8", "u8")},
            accumulate="x", tags="dot", **_THREE)  # fmt: skip
    def dot_acc(x: W, a: T, b: U) -> W:
        return x + group_sum(cast(i32, a) * cast(i32, b), 4)

    @family({f"zip_{k}": dict(T=single[k], W=double[k]) for k in ("i8", "i16", "i32")},
            tags="signless", **_TWO)  # fmt: skip
    def zipped(a: T, b: T) -> W:
        return interleave(b, a)

    @family({f"unzip_{k}": dict(T=single[k], W=double[k]) for k in ("i8", "i16", "i32")},
            tags="signless", **_TWO)  # fmt: skip
    def unzipped(a: T, b: T) -> W:
        return split(concat(b, a))

    @family({"both": dict(T=words, W=double["i32"])}, tags="bits", **_TWO)
    def both(a: T, b: T) -> W:
        return concat(b, a)

    @family({f"splat_{k}": dict(T=single[k]) for k in ("i8", "i16", "i32")},
            tags="signless", **_ONE)  # fmt: skip
    def splatted(r: i32) -> T:
        return splat(r, const(0, T))

    @family({"copy": dict(T=words), "copy_pair": dict(T=double["i32"])}, tags="bits", **_ONE)
    def copied(a: T) -> T:
        return a

    @family({f"choose_{k}": dict(T=single[k], Q=f"boolx{size * 8 // int(k[1:])}")
             for k in ("i8", "i16", "i32")}, tags="signless", **_THREE)  # fmt: skip
    def chosen(q: Q, a: T, b: T) -> T:
        return select(q, a, b)

    @family({f"greater_{k}": dict(T=single[k], Q=f"boolx{size * 8 // int(k[1:])}")
             for k in single}, **_TWO)  # fmt: skip
    def greater(a: T, b: T) -> Q:
        return a > b

    @family({"first": dict(U=bytes_, Q=masks, K=size - 1)}, **_ONE)
    def first(r: i32) -> Q:
        return iota(U) < splat(r & K, const(0, U))

    @instruction(**_ONE)
    def move(a: i32) -> i32:
        return a

    @instruction(**_ONE)
    def number(n: imm_s32) -> i32:
        return n

    @instruction(**_TWO)
    def plus(a: i32, n: imm_s32) -> i32:
        return a + n

    @instruction(**_TWO)
    def sum_(a: i32, b: i32) -> i32:
        return a + b

    @instruction(**_TWO)
    def minus(a: i32, b: i32) -> i32:
        return a - b

    @instruction(**_TWO)
    def larger(a: i32, b: i32) -> i32:
        return maximum(a, b)

    @instruction(**_TWO)
    def smaller(a: i32, b: i32) -> i32:
        return minimum(a, b)

    @instruction(**_TWO)
    def mask(a: i32, b: i32) -> i32:
        return a & b

    @instruction(**_TWO)
    def times(a: i32, b: i32) -> i32:
        return a * b

    @instruction(**_TWO)
    def left(a: i32, n: imm_u5) -> i32:
        return a << n

    loads = [declare(loaded) for declare in accesses("load", Kind.LOAD, (1,))]
    stores = [declare(stored) for declare in accesses("store", Kind.STORE, (0, 0))]
    own = {
        name: value for name, value in locals().items() if isinstance(value, Instruction | tuple)
    }
    return collect([SimpleNamespace(**own, memory=tuple(chain(*loads, *stores)))])


def machine(size: int) -> tuple[Selector, Roles]:
    """What builds code for vectors of ``size`` bytes: any row may shuffle, at one price."""
    rows = table(size)
    return Selector(rows.values(), EXPANSIONS), Roles(rows, size, lambda row: 1.0)


def built(func: PrimFunc, size: int) -> Program:
    return build(func, *machine(size), size)
