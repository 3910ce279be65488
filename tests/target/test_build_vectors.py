"""Vector idioms of pointwise operators, pooling and moves: the instructions that they become."""

from __future__ import annotations

import pytest

from dovetail.target.dsp.hoist import hoist
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.program import Item, Loop, MachineOp
from dovetail.tir.passes.vectorize import VectorizeError
from dovetail.tir.script import parse
from tests.target.test_build import HEAD, same


def test_widening_products_accumulate_in_pairs() -> None:
    """q_add: two products of halfwords a pair; narrowing takes the rounding shift."""
    names = same(HEAD + '''a: Buffer[u8, (128,), "tcm"], b: Buffer[u8, (128,), "tcm"],
      y: Buffer[u8, (128,), "tcm"]):
    for l in vectorized(128):
        y[l] = sat_cast(u8, sat_cast(i16, rounding_shr(
            widening_mul(cast(i16, a[l]), 23236) + widening_mul(cast(i16, b[l]), 23259) - 1229646,
            15)))
''')  # fmt: skip
    counts = {name: names.count(name) for name in names}
    assert counts["vzb"] == counts["vmpyhv"] == counts["vmpyhv_acc"] == 2
    assert counts["vasrwhrndsat"] == 2 and counts["vsathub"] == 1


def test_registers_one_after_another_narrow_with_their_shifts() -> None:
    """Bytes of four registers in turns are dealt twice: no shift stands alone."""
    names = same(HEAD + '''a: Buffer[i32, (256,), "tcm"], y: Buffer[u8, (256,), "tcm"]):
    for r in vectorized(8):
        for l in vectorized(32):
            y[r * 32 + l] = sat_cast(u8, rounding_shr(a[r * 32 + l], 9))
''')  # fmt: skip
    counts = {name: names.count(name) for name in names}
    assert counts["vasrwhrndsat"] == 4 and counts["vsathub"] == 2 and counts["vdealb"] == 4


def test_zero_extension_serves_both_signs() -> None:
    for kind in ("i16", "u16"):
        names = same(HEAD + f'''x: Buffer[u8, (128,), "tcm"], y: Buffer[{kind}, (128,), "tcm"]):
    for l in vectorized(128):
        y[l] = cast({kind}, x[l]) + 5
''')  # fmt: skip
        assert names.count("vzb") == 1


def test_a_sign_that_matters_is_not_overlooked() -> None:
    names = same(HEAD + '''x: Buffer[i8, (128,), "tcm"], y: Buffer[i16, (128,), "tcm"]):
    for l in vectorized(128):
        y[l] = cast(i16, x[l]) + 5
''')  # fmt: skip
    assert "vsb" in names and "vzb" not in names


def test_a_table_is_eight_look_ups() -> None:
    names = same(HEAD + '''x: Buffer[u8, (128,), "tcm"], t: Buffer[u8, (256,), "tcm"],
      y: Buffer[u8, (128,), "tcm"]):
    y[0:128] = lookup(t[0:256], x[0:128])
''')  # fmt: skip
    assert names.count("vlutvvbi") == 1 and names.count("vlutvvb_oracci") == 7


@pytest.mark.parametrize(("size", "row"), [(64, "vdealvdd_64"), (32, "vdealvdd_32"), (4, "vdeal")])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_every_second_pixel_is_dealt(size: int, row: str, start: int) -> None:
    names = same(HEAD + f'''x: Buffer[u8, (512,), "tcm"], y: Buffer[u8, (128,), "tcm"]):
    for p in vectorized({128 // size}):
        for c in vectorized({size}):
            y[p * {size} + c] = x[p * {2 * size} + c + {start * size}]
''')  # fmt: skip
    assert any(name.startswith(row) for name in names)


@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_a_byte_of_each_pixel_is_all_of_its_bytes(size: int) -> None:
    names = same(HEAD + f'''x: Buffer[u8, (256,), "tcm"], y: Buffer[u8, (256,), "tcm"]):
    for p in vectorized({256 // size}):
        for c in vectorized({size}):
            y[p * {size} + c] = x[p * {size} + 2]
''')  # fmt: skip
    assert len(names) < 64


@pytest.mark.parametrize("size", [64, 32])
def test_pixels_far_apart_are_put_in_their_places(size: int) -> None:
    names = same(HEAD + f'''x: Buffer[u8, (512,), "tcm"], y: Buffer[u8, (128,), "tcm"]):
    for p in vectorized({128 // size}):
        for c in vectorized({size}):
            y[p * {size} + c] = x[p * {3 * size} + c]
''')  # fmt: skip
    assert names.count("pred_scalar2") == names.count("vmux") == 128 // size - 1


def test_a_condition_on_lanes_is_a_predicate() -> None:
    names = same(HEAD + '''x: Buffer[u8, (128,), "tcm"], y: Buffer[u8, (128,), "tcm"]):
    for p in vectorized(4):
        for c in vectorized(32):
            y[p * 32 + c] = select(p < 3, x[p * 32 + c], 0)
''')  # fmt: skip
    assert names.count("pred_scalar2") == 1 and "vandvqv" in names


@pytest.mark.parametrize(
    ("condition", "rows"),
    [("3 < l", {"pred_scalar2": 1, "pred_not": 1}), ("l % 64 < 49", {"pred_scalar2": 3}),
     ("l % 4 < 3", {"vandvrt": 1}), ("l < 128", {"vmux": 0, "vandvqv": 0})],
)  # fmt: skip
def test_runs_of_lanes_are_a_predicate(condition: str, rows: dict[str, int]) -> None:
    names = same(HEAD + f'''x: Buffer[u8, (128,), "tcm"], y: Buffer[u8, (128,), "tcm"]):
    for l in vectorized(128):
        y[l] = select({condition}, x[l], 0)
''')  # fmt: skip
    assert {name: names.count(name) for name in rows} == rows


def test_several_scalars_share_a_register() -> None:
    names = same(HEAD + '''x: Buffer[u8, (128,), "tcm"], m: Buffer[i32, (4,), "tcm"],
    y: Buffer[u8, (128,), "tcm"]):
    for r in vectorized(4):
        for c in vectorized(32):
            y[r * 32 + c] = cast(u8, m[r]) - x[r * 32 + c]
''')  # fmt: skip
    assert names.count("vmux") == 3 and "lvsplatb" in names


@pytest.mark.parametrize("op", ["max", "min"])
def test_lanes_are_joined_in_pairs(op: str) -> None:
    names = same(HEAD + f'''x: Buffer[u8, (1024,), "tcm"], y: Buffer[i32, (32,), "tcm"]):
    for r in vectorized(32):
        for c in vectorized(32):
            y[r] = {op}(y[r], cast(i32, x[r * 32 + c]))
''')  # fmt: skip
    assert names.count("vdealvdd_b") == 7 and names.count(f"v{op}ub") == 7


def test_sums_of_bytes_of_two_planes_are_dot_products() -> None:
    names = same(HEAD + '''a: Buffer[u8, (128,), "tcm"], b: Buffer[u8, (128,), "tcm"],
    y: Buffer[i32, (32,), "tcm"]):
    for r in vectorized(32):
        for c in vectorized(4):
            y[r] = y[r] + (cast(i32, a[r * 4 + c]) + (cast(i32, b[r * 4 + c]) << 8))
''')  # fmt: skip
    assert sum(name.startswith("vrmpyub") for name in names) == 2


def test_bytes_of_two_planes_are_interleaved() -> None:
    names = same(HEAD + '''a: Buffer[u8, (128,), "tcm"], b: Buffer[u8, (128,), "tcm"],
    y: Buffer[u8, (128,), "tcm"]):
    for l in vectorized(128):
        y[l] = cast(u8, cast(u16, a[l]) + (cast(u16, b[l]) << 8) >> 3)
''')  # fmt: skip
    assert "vshufoeb" in names


def test_eight_bytes_move_by_a_pair_of_scalars() -> None:
    names = same(HEAD + '''x: Buffer[u8, (64,), "tcm"], y: Buffer[u8, (64,), "tcm"]):
    for i in serial(4):
        for l in vectorized(8):
            y[i * 16 + l] = x[i * 8 + l]
''')  # fmt: skip
    assert names == ["loadrd", "storerd"]


def test_rows_found_in_a_table_are_aligned_where_their_pitch_is() -> None:
    for pitch, load in ((128, "vmem"), (96, "vmemu")):
        names = same(HEAD + f'''x: Buffer[u8, (1024,), "tcm"], y: Buffer[u8, (256,), "tcm"]):
    r = alloc(i32, (2,), "tcm")
    r[0] = 3
    r[1] = 5
    for i in serial(2):
        for l in vectorized(128):
            y[i * 128 + l] = x[r[i] * {pitch} + l]
''')  # fmt: skip
        assert load in names


def _loop(items: list[Item]) -> Loop:
    return next(item for item in items if isinstance(item, Loop))


def test_invariants_leave_an_innermost_loop() -> None:
    func = parse(HEAD + '''x: Buffer[i32, (256,), "tcm"], k: Buffer[i32, (32,), "tcm"],
      y: Buffer[i32, (256,), "tcm"]):
    for i in serial(8):
        for l in vectorized(32):
            y[i * 32 + l] = x[i * 32 + l] + (k[l] + 7)
''')  # fmt: skip
    (phase,) = dsp().build(func).phases
    loop = _loop(phase.body)
    before, rest = hoist(loop.variable, loop.body)
    names = [[item.instruction.name for item in part if isinstance(item, MachineOp)]
             for part in (before, rest)]  # fmt: skip
    assert names == [["vmem", "vaddw"], ["vmem", "vaddw", "vmem_store"]]


def test_of_many_invariants_loads_for_few_stay() -> None:
    """Two tables, of which two maxima read one: it is the one that leaves the loop."""
    func = parse(HEAD + '''x: Buffer[i32, (512,), "tcm"], k: Buffer[i32, (32,), "tcm"],
      m: Buffer[i32, (32,), "tcm"], y: Buffer[i32, (512,), "tcm"]):
    for i in serial(8):
        for l in vectorized(32):
            y[i * 64 + l] = max(x[i * 64 + l], k[l])
        for l in vectorized(32):
            y[i * 64 + 32 + l] = max(min(x[i * 64 + 32 + l], m[l]), k[l])
''')  # fmt: skip
    (phase,) = dsp().build(func).phases
    loop = _loop(phase.body)
    moved = [[op.address.buffer for op in hoist(loop.variable, loop.body, most)[0] if op.address]
             for most in (0, 1, 2)]  # fmt: skip
    assert moved[:2] == [[], ["k"]] and set(moved[2]) == {"k", "m"}


def test_what_a_loop_stores_stays_in_it() -> None:
    func = parse(HEAD + '''x: Buffer[i32, (32,), "tcm"], y: Buffer[i32, (256,), "tcm"]):
    for i in serial(8):
        for l in vectorized(32):
            x[l] = x[l] + 1
        for l in vectorized(32):
            y[i * 32 + l] = x[l]
''')  # fmt: skip
    (phase,) = dsp().build(func).phases
    loop = _loop(phase.body)
    before, _ = hoist(loop.variable, loop.body)
    assert not any(isinstance(item, MachineOp) and item.address for item in before)


@pytest.mark.parametrize("kind", ["i16", "i32"])
def test_pieces_of_wider_elements_are_put_in_their_places(kind: str) -> None:
    lanes = 1024 // int(kind[1:])
    names = same(HEAD + f'''x: Buffer[{kind}, (256,), "tcm"], y: Buffer[{kind}, (128,), "tcm"]):
    for p in vectorized(4):
        for c in vectorized({lanes // 4}):
            y[p * {lanes // 4} + c] = x[p * {3 * lanes // 4} + c]
''')  # fmt: skip
    chosen = [name for name in names if name.startswith("vmux")]
    assert names.count("pred_scalar2") == len(chosen) == 3


def test_a_transfer_needs_memory_on_both_sides() -> None:
    func = parse(HEAD + '''x: Buffer[u8, (128,)], y: Buffer[u8, (128,)]):
    a = alloc(u8, (128,), "reg")
    a[0:128] = x[0:128]
    copy(y[0:128], a[0:128])
''')  # fmt: skip
    with pytest.raises(SelectError) as refusal:
        dsp().build(func)
    assert str(refusal.value) == (
        "copy: a transfer must be between memories, but got a in registers"
    )


def test_an_index_that_is_not_linear_in_lanes_is_told() -> None:
    func = parse(HEAD + '''x: Buffer[i32, (32,), "tcm"], y: Buffer[i32, (8,), "tcm"]):
    for l in vectorized(32):
        y[l // 4] = y[l // 4] + x[l]
''')  # fmt: skip
    with pytest.raises(VectorizeError) as refusal:
        dsp().build(func)
    assert str(refusal.value) == ("vectorize: an index must be linear in the axis, but got l // 4")


@pytest.mark.parametrize(("store", "message"), [
    ("y[l] = group_sum(x[l * 4:l * 4 + 4], 4)",
     "accesses must be of single elements, but got i32x4 of x"),
    ("y[l * 4:l * 4 + 4] = i32x4(0)", "accesses must be of single elements, but got i32x4 of y"),
    ("y[l] = lookup(x[l * 2:l * 2 + 2], x[l])",
     "a table must be the same for all lanes, but got x[l * 2:l * 2 + 2]"),
])  # fmt: skip
def test_what_takes_lanes_by_itself_is_not_vectorized(store: str, message: str) -> None:
    func = parse(f"""{HEAD}x: Buffer[i32, (128,), "tcm"], y: Buffer[i32, (128,), "tcm"]):
    for l in vectorized(32):
        {store}
""")
    with pytest.raises(VectorizeError) as refusal:
        dsp().build(func)
    assert str(refusal.value) == f"vectorize: {message}"


def test_lanes_of_a_window_come_from_its_longer_axis() -> None:
    """Both axes move by one element: either order of them is the memory's."""
    for outer, inner in ((2, 64), (64, 2)):
        names = same(HEAD + f'''x: Buffer[i16, (128,), "tcm"], y: Buffer[i16, (128,), "tcm"]):
    for k in vectorized({outer}):
        for l in vectorized({inner}):
            y[k * {inner} + l] = x[k + l]
''')  # fmt: skip
        assert sum(name.startswith("vmemu") for name in names) == 1
