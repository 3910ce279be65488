"""Values of many lanes have code only where every lane is the interpreter's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.schedule.schedule import Schedule
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import jit
from dovetail.target.pipeline import lower
from dovetail.tir.interpret import interpret
from dovetail.tir.places import ALIGN
from dovetail.tir.script import parse, show
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.verify import verify
from tests.target.lanes import function
from tests.tir.helpers import random_array

SEEDS = 240
SHARE = 0.25  # of random values have code; the others are refused

HEAD = "@prim_func\ndef f("


def arrays(func: PrimFunc, seed: int = 0) -> list[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return [random_array(p.type, p.shape, rng) for p in func.params]


def holds(func: PrimFunc, want: PrimFunc | None = None) -> list[str]:
    """The code of ``func`` gives what ``want`` is interpreted to; its instructions."""
    wanted, got = arrays(func), arrays(func)
    interpret(want or func, *wanted)
    program = dsp().build(func)
    jit(program)(*got)
    for param, a, b in zip(func.params, got, wanted, strict=True):
        np.testing.assert_array_equal(a, b, f"{param.name}\n{show(func)}")
    return [op.instruction.name for op in program.ops()]


@pytest.mark.parametrize("part", range(4))
def test_random_values(part: int) -> None:
    right = 0
    for seed in range(part, SEEDS, 4):
        func = function(seed)
        try:
            holds(func)
        except SelectError as refusal:
            assert ": " in str(refusal)
            continue
        right += 1
    assert right >= SHARE * SEEDS / 4


@pytest.mark.parametrize(("kind", "few", "times"), [("u16", 4, 32), ("u16", 8, 16), ("i32", 4, 16)])
def test_few_values_many_times_beside_registers(kind: str, few: int, times: int) -> None:
    """Values that share a register stay with their neighbours where registers are taken apart."""
    lanes = few * times
    holds(
        parse(f"""
@prim_func
def repeated(x: Buffer[{kind}, ({few},)], z: Buffer[{kind}, ({lanes},)],
             y: Buffer[{kind}, ({lanes},), "tcm"]):
    y[0:{lanes}] = z[0:{lanes}] - repeat(x[0:{few}], {times})
""")
    )


@pytest.mark.parametrize(("params", "value"), [
    ("x: Buffer[u8, (4,)]", "slice(repeat(cast(i32, x[0:4]), 48), 96, 96)"),
    ("x: Buffer[i16, (16,)]", "cast(i32, tile(x[0:16], 2))"),
    ("x: Buffer[u8, (256,)], t: Buffer[u8, (256,)]",
     "lookup(t[0:256], tile(deinterleave(x[0:4], 0, 4), 128))"),
])  # fmt: skip
def test_values_of_parts_of_registers_are_right_or_refused(params: str, value: str) -> None:
    kind, lanes = ("u8", 128) if "lookup" in value else ("i32", 96 if "96" in value else 32)
    func = parse(f"""
@prim_func
def parts({params}, y: Buffer[{kind}, ({lanes},), "tcm"]):
    y[0:{lanes}] = {value}
""")
    with pytest.raises(SelectError, match=": "):
        holds(func)


def test_the_registers_around_a_load_hold_the_loads_within_it() -> None:
    holds(
        parse("""
@prim_func
def within(x: Buffer[i8, (1024,)], z: Buffer[i8, (256,)], y: Buffer[i8, (1024,), "tcm"]):
    y[0:1024] = interleave(slice(x[0:1024], 768, 256), tile(x[0:8], 32), min(z[0:256], 6),
                           interleave(z[0:128], z[128:256]))
""")
    )


def test_lanes_around_a_run_lie_within_the_buffer() -> None:
    """Runs are not loaded where they begin before it, as in the last row that is read backwards."""
    func = parse("""
@prim_func
def backwards(x: Buffer[i16, (64, 2)], y: Buffer[i16, (64, 4), "tcm"]):
    for i in serial(64):
        for j in vectorized(4):
            y[i, j] = x[63 - i, j // 2]
""")
    verify(lower(func, 128), ALIGN)


@pytest.mark.parametrize("layout", ["t, c", "c, t"])
@pytest.mark.parametrize("kinds", [("u8", "i8"), ("u8", "u8"), ("i8", "i8"), ("i16", "i16")])
@pytest.mark.parametrize("scope", ["reg", "tcm"])
def test_products_of_transposed_operands(layout: str, kinds: tuple[str, str], scope: str) -> None:
    """Lanes c, t of x[t, c] alternate between registers; those of w[c, t] do not."""
    shape = "4, 128" if layout == "t, c" else "128, 4"
    func = parse(f'''
@prim_func
def dot(x: Buffer[{kinds[0]}, ({shape}), "tcm"], w: Buffer[{kinds[1]}, (128, 4), "tcm"],
        y: Buffer[i32, (128,), "tcm"]):
    for c in range(128):
        for t in range(4):
            with block("dot"):
                vc = spatial(128, c)
                vt = reduce(4, t)
                with init():
                    y[vc] = 0
                y[vc] = y[vc] + cast(i32, x[{layout.replace("c", "vc").replace("t", "vt")}]) * cast(
                    i32, w[vc, vt])
''')  # fmt: skip
    sch = Schedule(func)
    (copied,) = sch.loops(sch.cache_write("dot", "y", scope))
    sch.vectorize(copied)
    sch.vectorize("c", "t")
    names, bits = holds(sch.func, func), int(kinds[0][1:])
    assert sum(name.startswith(("vrmpy", "vmpyhv")) for name in names) == (4 if bits == 8 else 8)


def vector(params: str, store: str) -> PrimFunc:
    return parse(f"{HEAD}{params}):\n    {store}\n")


@pytest.mark.parametrize(
    ("params", "store"),
    [
        ("x: Buffer[i32, (64,)], y: Buffer[i32, (32,)]",
         "y[0:32] = group_sum(interleave(x[0:32], x[32:64]), 2)"),
        ("x: Buffer[i32, (128,)], y: Buffer[i32, (64,)]",
         "y[0:64] = group_sum(interleave(x[0:32], x[32:64], x[64:96], x[96:128]), 2)"),
        ("x: Buffer[u8, (256,)], w: Buffer[i8, (4,)], y: Buffer[i32, (64,)]",
         "y[0:64] = group_sum(cast(i32, interleave(x[0:128], x[128:256])) * "
         "cast(i32, tile(w[0:4], 64)), 4)"),
        ("x: Buffer[u8, (256,)], w: Buffer[i16, (256,)], y: Buffer[i32, (128,)]",
         "y[0:128] = group_sum(cast(i32, x[0:256]) * cast(i32, w[0:256]), 2)"),
        ("x: Buffer[i16, (128,)], y: Buffer[i32, (64,)]",
         "y[0:64] = group_sum(cast(i32, x[0:128]), 2)"),
        ("x: Buffer[u8, (256,)], w: Buffer[i8, (256,)], y: Buffer[i32, (128,)]",
         "y[0:128] = group_sum(cast(i32, x[0:256]) * cast(i32, w[0:256]), 2)"),
        ("x: Buffer[u8, (512,)], y: Buffer[u8, (128,)]",
         "y[0:128] = deinterleave(x[0:512], 1, 4)"),
        ("x: Buffer[u8, (256,)], y: Buffer[u8, (128,)]",
         "y[0:128] = slice(interleave(x[0:128], x[128:256]), 128, 128)"),
        ("x: Buffer[u8, (512,)], z: Buffer[u8, (512,)], y: Buffer[u8, (512,)]",
         "y[0:512] = concat(interleave(x[0:128], x[128:256]), x[256:512]) + "
         "interleave(concat(z[0:128], z[128:256]), z[256:512])"),
        ("t: Buffer[i8, (256,)], x: Buffer[u8, (128,)], y: Buffer[i16, (128,)]",
         "y[0:128] = cast(i16, lookup(t[0:256], x[0:128]))"),
        ("t: Buffer[u8, (256,)], x: Buffer[i8, (1,)], y: Buffer[u8, (1,)]",
         "y[0] = lookup(t[0:256], x[0])"),
        ("t: Buffer[u8, (256,)], x: Buffer[u8, (1,)], y: Buffer[u8, (128,)]",
         "y[0:128] = lookup(t[0:256], tile(x[0], 128))"),
        ("x: Buffer[u8, (1,)], y: Buffer[u8, (8,)]", "y[0:8] = u8x8(5)"),
    ],
)  # fmt: skip
def test_lanes_keep_their_order(params: str, store: str) -> None:
    holds(vector(params, store))


@pytest.mark.parametrize("kind", ["u8", "i16", "i32"])
def test_first_lanes_of_any_width_are_a_predicate(kind: str) -> None:
    names = holds(parse(f'''{HEAD}x: Buffer[{kind}, (128,), "tcm"], y: Buffer[{kind}, (128,)]):
    for i in serial({128 // (1024 // int(kind[1:]))}):
        for l in vectorized({1024 // int(kind[1:])}):
            y[i * {1024 // int(kind[1:])} + l] = select(
                l < 20, x[i * {1024 // int(kind[1:])} + l], {kind}(3))
'''))  # fmt: skip
    assert "pred_scalar2" in names


def test_lanes_are_chosen_by_data() -> None:
    names = holds(parse(f'''{HEAD}x: Buffer[u8, (128,)], z: Buffer[u8, (128,)],
      y: Buffer[u8, (128,)]):
    for l in vectorized(128):
        y[l] = select(x[l] < z[l], z[l] - x[l], 7)
'''))  # fmt: skip
    assert "vgtub" in names and "vmux" in names


@pytest.mark.parametrize(("params", "store", "message"), [
    ("x: Buffer[u8, (384,)], y: Buffer[u8, (384,)]",
     "y[0:384] = interleave(x[0:128], x[128:256], x[256:384])",
     "lanes: registers alternate in pairs, but got 3 of them"),
    ("x: Buffer[u8, (384,)], y: Buffer[u8, (128,)]", "y[0:128] = deinterleave(x[0:384], 0, 3)",
     "lanes: lanes in 3 turns must fill pairs of registers, but got 384"),
    ("x: Buffer[u8, (128,)], y: Buffer[u8, (64,)]", "y[0:64] = deinterleave(x[0:128], 0, 2)",
     "lanes: lanes in 2 turns must fill pairs of registers, but got 128"),
    ("x: Buffer[i16, (32,)], y: Buffer[i16, (32,)]", "y[0:32] = concat(x[0:4], x[4:8], x[8:12], "
     "x[12:16], x[16:20], x[20:24], x[24:28], x[28:32]) + 1",
     "lanes: an operand must fill a vector register, but got i16x4"),
    ("x: Buffer[u8, (4,)], y: Buffer[i16, (4,)]", "y[0:4] = cast(i16, x[0:4])",
     "lanes: widening to i16x4 must take whole registers"),
    ("x: Buffer[u8, (1,)], y: Buffer[i16, (16,)]", "y[0:16] = i16x16(5)",
     "lanes: a store to y must fill vector registers, but got i16x16"),
    ("t: Buffer[i16, (256,)], x: Buffer[u8, (128,)], y: Buffer[i16, (128,)]",
     "y[0:128] = lookup(t[0:256], x[0:128])",
     "lookup: a table in memory holds 256 bytes and is indexed by bytes, "
     "but got i16x256 by u8x128"),
    ("t: Buffer[u8, (256,)], x: Buffer[u8, (1,)], y: Buffer[u8, (1,)]",
     "y[0] = lookup(t[0:256] + 1, x[0])", "lookup: a table must be in memory, but got add"),
    ("x: Buffer[u8, (256,)], y: Buffer[u8, (1,)]", "y[0] = slice(x[0:256], 3, 1)",
     "lanes: a scalar must be made of scalars, but got slice of u8x256"),
    ("x: Buffer[i32, (8,)], y: Buffer[i32, (16,)]", "y[0:16] = repeat(x[0:8], 2)",
     "lanes: repeated lanes must fill registers, but got i32x16"),
    ("x: Buffer[u8, (1,)], y: Buffer[u8, (4,)]", "y[0:4] = tile(x[0], 4)",
     "select: no instruction computes tile of type u8x4 from i32"),
])  # fmt: skip
def test_what_has_no_code_is_refused(params: str, store: str, message: str) -> None:
    with pytest.raises(SelectError) as refusal:
        dsp().build(vector(params, store))
    assert str(refusal.value) == message
