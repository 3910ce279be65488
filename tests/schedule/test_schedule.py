"""What primitives make: names, text, storage, packing; each case keeps values and replays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random

import numpy as np
import pytest

from dovetail.schedule.block_forms import injective
from dovetail.schedule.boxes import Span
from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.index import bounds, digits_of, simplify
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.storage import cover
from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, var
from dovetail.tir.linear import Linear
from dovetail.tir.script import parse, show, show_expr
from dovetail.tir.stmt import Alloc, Copy, LoopKind, PrimFunc, walk_stmt
from tests.schedule.kernels import CONV, kernel, same
from tests.schedule.odd import ODD


def names(sch: Schedule, block: str) -> list[str]:
    return [loop.name for loop in sch.loops(block)]


def shape_of(sch: Schedule, buffer: str) -> tuple[int, ...]:
    """The shape in which a local buffer is handed out."""
    return next(
        s.buffer.shape
        for s in walk_stmt(sch.func.body)
        if isinstance(s, Alloc) and s.buffer.name == buffer
    )


def test_loops_of_one_name_are_told_apart() -> None:
    sch = Schedule(kernel("matmul"))
    assert names(sch, "matmul") == ["m", "n", "k"]
    assert names(sch, "requant") == ["m_2", "n_2"]


def test_split_names_and_trace() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    outer, inner = sch.split("m", (None, 4))
    assert (outer.name, inner.name) == ("m_0", "m_1")
    assert [loop.name for loop in sch.split(inner, (2, 2), tail="guard")] == ["m_1_0", "m_1_1"]
    sch.reorder("n", "m_1_1")
    assert str(sch.trace) == (
        'sch.split("m", (None, 4))\n'
        'sch.split("m_1", (2, 2), tail="guard")\n'
        'sch.reorder("n", "m_1_1")\n'
    )
    same(sch, func)


def test_names_are_never_given_twice() -> None:
    sch = Schedule(kernel("matmul"))
    sch.compute_at("matmul", "m_2")
    sch.compute_at("matmul", "n_2")
    assert names(sch, "matmul") == ["m_2", "n_2", "matmul_vm_2", "matmul_vn_2", "matmul_vk_2"]


def test_guard_and_peel() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.split("m", (None, 5), tail="guard")
    main, lanes, rest = sch.split("n", (None, 32), tail="peel")
    assert (sch.get_loop(main).extent, sch.get_loop(rest).extent) == (1, 8)
    assert sch.get_loop(lanes).extent == 32
    assert [b.name for b in sch.blocks()] == ["matmul", "matmul_tail", "requant"]
    same(sch, func)


def test_a_peeled_reduction_has_one_init() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.split("k", (None, 3), tail="peel")
    assert sch.get_block("matmul").init is not None
    assert sch.get_block("matmul_tail").init is None
    same(sch, func)


def tiled_matmul(sch: Schedule) -> None:
    m, n = sch.loops("requant")
    (m_0, m_1), (n_0, n_1) = sch.split(m, (None, 4)), sch.split(n, (None, 8))
    sch.reorder(m_0, n_0, m_1, n_1)
    sch.compute_at("matmul", n_0)
    *_, m_1, n_1, k = sch.loops("matmul")
    sch.reorder(k, m_1, n_1)
    sch.vectorize(n_1)
    sch.unroll(m_1)


def test_local_buffers_shrink_to_the_tile() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    tiled_matmul(sch)
    sch.set_scope("acc", "reg")
    assert shape_of(sch, "acc") == (4, 8)
    assert sch.get_buffer("acc").shape == (12, 40)
    sch.parallel(names(sch, "matmul")[0])
    same(sch, func)


def test_a_buffer_shrinks_that_several_blocks_make() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.compute_at("matmul", "m_2")
    *_, n, _ = sch.loops("matmul")
    sch.split(n, (3, 8), tail="peel")
    assert [b.name for b in sch.blocks()] == ["matmul", "matmul_tail", "requant"]
    assert shape_of(sch, "acc") == (1, 40)
    sch.parallel("m_2")
    same(sch, func)


@pytest.mark.parametrize("seed", range(40))
def test_boxes_cover_another_one_where_they_do_so_element_by_element(seed: int) -> None:
    """Several that are written, of which those with gaps, or from a place that moves, do not count;
    and one that is read, perhaps beyond its buffer."""
    rng, size = Random(seed), (5, 6)

    def box(dense: float) -> tuple[Span, ...]:
        spans = ((rng.randrange(-1, n), rng.randrange(1, n + 1)) for n in size)
        return tuple(Span(Linear({}, at), n, rng.random() < dense) for at, n in spans)

    def elements(spans: tuple[Span, ...]) -> set[tuple[int, ...]]:
        ends = [(s.start.constant, s.start.constant + s.extent) for s in spans]
        pairs = zip(ends, size, strict=True)
        return set(product(*(range(max(a, 0), min(b, n)) for (a, b), n in pairs)))

    for _ in range(50):
        read, boxes = box(1), [box(0.9) for _ in range(rng.randrange(7))]
        if not elements(read):
            continue
        whole = [spans for spans in boxes if all(span.dense for span in spans)]
        covered = elements(read) <= set().union(*map(elements, whole))
        away = tuple(Span(Linear({var("i"): 1}, 0), n, True) for n in size)
        assert cover([*boxes, away, (None, None)], read, size) == covered


def test_loops_that_follow_each_other_become_one() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.merge("m", "m_2")
    assert shape_of(sch, "acc") == (1, 40)
    sch.merge("n", "n_2")
    assert shape_of(sch, "acc") == (1, 1)
    assert names(sch, "matmul")[:2] == names(sch, "requant") == ["m", "n"]
    assert str(sch.trace) == 'sch.merge("m", "m_2")\nsch.merge("n", "n_2")\n'
    same(sch, func)


def test_halo_of_a_window() -> None:
    func = kernel("conv")
    sch = Schedule(func)
    h_0, _ = sch.split("h_2", (None, 3))
    sch.compute_at("pad", h_0)
    assert shape_of(sch, "xp") == (1, 5, 10, 8)
    same(sch, func)


def test_constants_are_packed() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.transform_layout("w", lambda k, n: (n // 32, k // 4, n % 32, k % 4))
    packed, w = sch.func.constants["w"], func.constants["w"]
    assert packed.shape == (2, 4, 32, 4)
    for k, n in ((0, 0), (7, 31), (15, 39), (10, 33)):
        assert packed[n // 32, k // 4, n % 32, k % 4] == w[k, n]
    assert not packed[1, :, 8:].any()
    assert func.constants["w"].shape == (16, 40)
    same(sch, func)


@pytest.mark.parametrize(
    "index_map",
    [lambda i, j: (j, i), lambda i, j: (i * 64 + j,), lambda i, j: (j // 3, i % 2, j % 3, i // 2)],
)
def test_layouts_of_local_buffers(index_map: Callable[..., tuple[Expr, ...]]) -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.transform_layout("acc", index_map)
    tiled = sch.split("n_2", (None, 8))
    sch.compute_at("matmul", tiled[0])
    same(sch, func)


def test_unsigned_weights_need_sums_of_inputs_that_windows_share() -> None:
    func = kernel("conv")
    sch = Schedule(func)
    assert [b.name for b in sch.offset_operand("conv", "w")] == [
        "conv_csum",
        "conv_vsum",
        "conv_wsum",
    ]
    assert sch.get_buffer("conv_csum").shape == (1, 11, 10)
    assert sch.get_buffer("conv_vsum").shape == (1, 9, 10)
    assert sch.get_buffer("conv_wsum").shape == (1, 9, 8)
    assert str(sch.get_buffer("w").type) == "u8"
    data = func.constants["w"].astype(np.int16) + 128
    np.testing.assert_array_equal(sch.func.constants["w"], data)
    same(sch, func)


def test_unsigned_weights_of_a_matmul_need_no_window() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    assert [b.name for b in sch.offset_operand("matmul", "w")] == ["matmul_csum"]
    assert sch.get_buffer("matmul_csum").shape == (12,)
    same(sch, func)


def variant(*changes: tuple[str, str]) -> PrimFunc:
    """The convolution with changes of its text."""
    text = CONV
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    func = parse(text)
    rng = np.random.default_rng(1)
    for param in func.params:
        if param.name in ("w", "b"):
            func.constants[param.name] = rng.integers(-99, 99, param.shape, param.type.numpy)
    return func


def test_unsigned_weights_of_strided_and_grouped_convolutions() -> None:
    strided = variant(
        ("(1, 9, 8, 64)", "(1, 4, 4, 64)"),
        ("range(9)", "range(4)"),
        ("range(8):\n                for o", "range(4):\n                for o"),
        ("spatial(9", "spatial(4"), ("spatial(8, w_)", "spatial(4, w_)"),
        ("vh + vkh, vw + vkw", "vh * 2 + vkh, vw * 2 + vkw"),
    )  # fmt: skip
    sch = Schedule(strided)
    sch.offset_operand("conv", "w")
    assert sch.get_buffer("conv_vsum").shape == (1, 4, 9)
    assert sch.get_buffer("conv_wsum").shape == (1, 4, 7)
    same(sch, strided)
    grouped = variant(("vw + vkw, vc]", "vw + vkw, vo // 32 * 4 + vc]"), ("(3, 3, 8, 64)",
                      "(3, 3, 4, 64)"), ("for c in range(8):\n                                with",
                      "for c in range(4):\n                                with"),
                      ("reduce(8, c)", "reduce(4, c)"))  # fmt: skip
    sch = Schedule(grouped)
    sch.offset_operand("conv", "w")
    assert sch.get_buffer("conv_csum").shape == (1, 11, 10, 2)
    same(sch, grouped)


def test_a_copy_goes_its_own_way() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    sch.offset_operand("matmul", "w")
    twin, before = sch.copy(), sch.func
    twin.split("n", (None, 32), tail="guard")
    assert sch.func is before and len(twin.trace.steps) == len(sch.trace.steps) + 1
    sch.split("n", (None, 8))
    same(twin, func)
    same(sch, func)


def test_a_transfer_waits() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    copy = sch.cache_read("matmul", "w", "tcm")
    tiled_matmul(sch)
    sch.compute_at(copy, sch.loops("matmul")[1])
    sch.transfer(copy)
    assert shape_of(sch, "w_tcm") == (16, 8)
    assert [s.token for s in walk_stmt(sch.func.body) if isinstance(s, Copy)] == [""]
    same(sch, func)


PADDED = """
@prim_func
def padded(x: Buffer[u8, (1, 6, 16, 4)], w: Buffer[i8, (8, 8)], y: Buffer[u8, (1, 6, 32, 4)]):
    a = alloc(u8, (1, 8, 40, 4))
    for n in range(1):
        for h in range(8):
            for v in range(40):
                for c in range(4):
                    with block("fill"):
                        vn = spatial(1, n)
                        vh = spatial(8, h)
                        vv = spatial(40, v)
                        vc = spatial(4, c)
                        a[vn, vh, vv, vc] = u8(7)
    for n in range(1):
        for h in range(6):
            for v in range(16):
                for c in range(4):
                    with block("copy"):
                        vn = spatial(1, n)
                        vh = spatial(6, h)
                        vv = spatial(16, v)
                        vc = spatial(4, c)
                        a[vn, vh + 1, vv + 2, vc] = x[vn, vh, vv, vc]
    for n in range(1):
        for h in range(6):
            for v in range(32):
                for c in range(4):
                    with block("last"):
                        vn = spatial(1, n)
                        vh = spatial(6, h)
                        vv = spatial(32, v)
                        vc = spatial(4, c)
                        y[vn, vh, vv, vc] = max(a[vn, vh + 2, vv, vc], a[vn, vh, vv + 1, vc])
"""


@pytest.mark.parametrize("late", [False, True])
def test_a_fill_is_cut_down_to_the_border(late: bool) -> None:
    func = parse(PADDED)
    sch = Schedule(func)
    sch.trim("a")
    assert sch.get_buffer("a").shape == (1, 8, 33, 4)
    names = [ref.name for ref in sch.border("fill", late)]
    assert names == ["fill_low", "fill_low_2", "fill_high", "fill_high_2"]
    first = names[:2] if late else names
    assert [ref.name for ref in sch.blocks()] == [*first, "copy", *names[len(first) :], "last"]
    same(sch, func)


@pytest.mark.parametrize(("first", "left"), [(0, ["fill_low"]), (2, []), (4, ["fill_high"])])
def test_a_border_that_is_not_read_is_not_filled(first: int, left: list[str]) -> None:
    """Of a, rows 2 to 5 are copied; four are read, from the first one on."""
    func = parse(ODD["filled"].format(first))
    sch = Schedule(func)
    assert [ref.name for ref in sch.border("fill")] == left
    assert len(sch.blocks()) == 2 + len(left)
    same(sch, func)


def test_what_means_nothing_is_not_made() -> None:
    """Of 32 stored columns of y 20 mean something: the others may hold anything."""
    func = parse(PADDED)
    func.attrs["meant"] = {"y": (1, 6, 20, 4)}
    sch = Schedule(func)
    made = sch.cache_write("last", "y", "tcm")
    _, _, v, _ = sch.loops("last")
    assert sch.get_loop(sch.resize(v, 20)).extent == 20
    assert sch.get_loop(sch.loops(made)[2]).extent == 32
    with pytest.raises(ScheduleError, match="must lie in pads of a result"):
        sch.resize(sch.loops("last")[2], 19)


def test_a_loop_becomes_tiles_that_run_on() -> None:
    func = parse(PADDED)
    sch = Schedule(func)
    made = sch.cache_write("last", "y", "tcm")
    sch.transform_layout(made.name, lambda n, h, v, c: (n, h, v // 16, v % 16, c))
    _, inner = sch.divide(sch.loops("last")[2], 16)
    sch.resize(inner, 24)
    assert sch.get_buffer(made.name).shape == (1, 6, 2, 24, 4)
    assert sch.get_buffer("a").shape == (1, 8, 41, 4)
    same(sch, func)


def test_rfactor_twice_and_decompose() -> None:
    func = kernel("matmul")
    sch = Schedule(func)
    k_0, k_1 = sch.split("k", (4, None))
    assert sch.rfactor("matmul", k_1).name == "matmul_rf"
    assert sch.rfactor("matmul_rf", k_0).name == "matmul_rf_rf"
    assert sch.decompose_reduction("matmul", sch.loops("matmul")[2]).name == "matmul_init"
    same(sch, func)


@pytest.mark.parametrize(("name", "order"), [("up", (0, 1, 2)), ("down", (2, 1, 0))])
def test_the_order_of_what_is_left_hangs_on_no_earlier_work(
    name: str, order: tuple[int, ...]
) -> None:
    for number in order:
        var(f"{name}_{number}")  # as an earlier kernel of the process may have made them
    text = show(kernel("matmul")).replace(" k ", f" {name} ").replace(", k)", f", {name})")
    sch = Schedule(parse(text))
    _, middle, _ = sch.split(name, (4, None, 2))
    block = sch.get_block(sch.rfactor("matmul", middle))
    assert [it.extent for it in block.iters if it.reduce] == [4, 2]


def test_inlining_leaves_one_block() -> None:
    func = kernel("chain")
    sch = Schedule(func)
    sch.compute_inline("scale")
    sch.compute_inline("add")
    assert [b.name for b in sch.blocks()] == ["clip"]
    assert "alloc" not in show(sch.func)
    same(sch, func)


def test_index_algebra() -> None:
    i, j, k = var("at_i"), var("at_j"), var("at_k")  # of no other test: terms are in their order
    extents = {i: 4, j: 32, k: 6}
    for given, want in {
        (i * 32 + j) // 32: "at_i",
        (i * 32 + j) % 32: "at_j",
        (i * 32 + j) // 8: "at_i * 4 + at_j // 8",
        (k // 3) * 3 + k % 3: "at_k",
        (j // 4) // 2: "at_j // 8",
        (i * 6 + k) % 12: "at_k + at_i % 2 * 6",
    }.items():
        assert show_expr(simplify(given, extents)) == want
    assert bounds((i * 32 + j) // 3, extents) == (0, 42)
    assert digits_of(i * 8 + (j // 4) % 2, extents) is not None


def test_injective_maps_keep_elements_apart() -> None:
    """Rows of 272 bytes cut into registers of 128, and digits drawn at random."""
    i, j = var("at_i"), var("at_j")
    whole = i * 128 + j
    assert injective((whole // 272, whole % 272 // 4, j % 4), {i: 4, j: 128})
    rng, apart = Random(5), 0
    for _ in range(400):
        few, step = rng.randint(2, 6), rng.choice((2, 4, 6, 8))
        extents, whole = {i: few, j: step}, i * step + j
        row, part = rng.randint(2, 2 * step), rng.choice((2, 3, 4))
        index = (whole // row, whole % row // part, rng.choice((j, whole)) % part)
        if injective(index, extents):
            at = np.divmod(np.arange(few * step, dtype=np.int32), step)
            places = [evaluate_expr(e, dict(zip(("at_i", "at_j"), at, strict=True))) for e in index]
            assert np.unique(places, axis=1).shape[1] == few * step, index
            apart += 1
    assert apart > 20


def test_lanes_of_an_access_count_as_elements() -> None:
    """A local copy of a table holds all entries, not the first one that is named."""
    func = parse("""
@prim_func
def look(x: Buffer[u8, (6, 8)], t: Buffer[u8, (256,)], y: Buffer[u8, (6, 8)]):
    for i in range(6):
        for j in range(8):
            with block("look"):
                vi = spatial(6, i)
                vj = spatial(8, j)
                y[vi, vj] = lookup(t[0:256], x[vi, vj])
""")
    sch = Schedule(func)
    copy = sch.cache_read("look", "t", "tcm")
    sch.compute_at(copy, "i")
    assert shape_of(sch, "t_tcm") == (256,)
    same(sch, func)


def test_lanes_of_several_loops_are_apart_together() -> None:
    """Lanes that lie in one another's gaps update different elements of a row's sums."""
    func = parse("""
@prim_func
def total(x: Buffer[u8, (6, 32)], y: Buffer[i32, (6, 32)]):
    s = alloc(i32, (32,))
    for i in range(6):
        for w in range(8):
            for b in range(4):
                with block("sum"):
                    vi = spatial(6, i)
                    vw = spatial(8, w)
                    vb = spatial(4, b)
                    with init():
                        s[vb * 8 + vw] = 0
                    s[vb * 8 + vw] = s[vb * 8 + vw] + cast(i32, x[vi, vw * 4 + vb])
        for j in range(32):
            with block("out"):
                vi = spatial(6, i)
                vj = spatial(32, j)
                y[vi, vj] = s[vj]
""")
    sch = Schedule(func)
    sch.vectorize("w", "b")
    assert [loop.kind for loop in map(sch.get_loop, sch.loops("sum"))][1:] == [
        LoopKind.VECTORIZED,
        LoopKind.VECTORIZED,
    ]
    same(sch, func)
