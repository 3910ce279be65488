"""Sums, sums of products, maxima and minima as people write them: vector code, exact bytes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from dovetail.driver.own import OwnTask
from dovetail.schedule.knobs import Point
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.templates.scalar import scalar
from dovetail.schedule.templates.tight import Tight
from dovetail.target.dsp.hexagon.run_listing import run_program
from dovetail.target.dsp.listing import PackedListing
from dovetail.target.dsp.target import dsp
from dovetail.tir.passes.lift import lift
from dovetail.tir.script import parse, show
from dovetail.tir.stmt import PrimFunc
from tests.schedule.kernels import kernel, same
from tests.schedule.test_products import PLAIN, scores

EXTENTS = (1, 2, 3, 4, 7, 8, 16, 17, 24, 31, 32, 33, 45, 48, 64, 100, 128, 130)
STARTS = {"max": {"u8": 0, "i8": -128, "i16": -32768, "i32": -(1 << 31)},
          "min": {"u8": 255, "i8": 127, "i16": 32767, "i32": (1 << 31) - 1}}  # fmt: skip
Axes = dict[str, int]


def tuple_of(axes: Axes, names: Sequence[str]) -> str:
    return "(" + "".join(f"{axes[name]}, " for name in names) + ")"


def loaded(buffer: str, names: Sequence[str]) -> str:
    return f"{buffer}[{', '.join('v' + name for name in names)}]"


def fold(axes: Axes, summed: str, params: Sequence[str], out: Sequence[str], kind: str, value: str,
         op: str = "add", scope: str = "") -> PrimFunc:  # fmt: skip
    """``y[out] = y[out] op value`` over all axes."""
    result, shape = loaded("y", out) if out else "y[0]", tuple_of(axes, out) if out else "(1,)"
    lines = [f"def k({', '.join(params)}, y: Buffer[{kind}, {shape}{scope}]):"]
    pad = "    "
    for name, extent in axes.items():
        lines.append(f"{pad}for {name} in range({extent}):")
        pad += "    "
    lines.append(f'{pad}with block("b"):')
    for name, extent in axes.items():
        word = "reduce" if name in summed else "spatial"
        lines.append(f"{pad}    v{name} = {word}({extent}, {name})")
    start = STARTS[op][kind] if op in STARTS else 0
    folded = f"{result} + {value}" if op == "add" else f"{op}({result}, {value})"
    lines += [f"{pad}    with init():", f"{pad}        {result} = {start}"]
    return parse("\n".join([*lines, f"{pad}    {result} = {folded}"]))


def product(axes: Axes, types: Sequence[str], left: str, right: str, out: str, place: str = "tcm",
            stored: Axes | None = None) -> PrimFunc:  # fmt: skip
    """``y[out] += a[left] * w[right]``, summed over the axes that the result lacks, of operands
    that may be longer than that."""
    scope, sizes = f', "{place}"', stored or axes
    params = [f"a: Buffer[{types[0]}, {tuple_of(sizes, left)}{scope}]",
              f"w: Buffer[{types[1]}, {tuple_of(sizes, right)}{scope}]"]  # fmt: skip
    value = f"cast(i32, {loaded('a', left)}) * cast(i32, {loaded('w', right)})"
    summed = "".join(name for name in axes if name not in out)
    return fold(axes, summed, params, out, "i32", value, scope=scope)


def convolution(rng: Random, types: Sequence[str]) -> PrimFunc:
    """An image by weights in one of three orders, with a stride of 1 or 2."""
    axes = {"h": rng.choice((4, 7)), "p": rng.choice((5, 8, 14)), "o": rng.choice((3, 16, 32)),
            "r": 2, "s": 2, "c": rng.choice((1, 3, 8, 32))}  # fmt: skip
    stride, order = rng.choice((1, 2)), rng.choice(("rsco", "orsc", "ocrs"))
    high, wide = (stride * (axes[name] - 1) + 2 for name in "hp")
    params = [f"a: Buffer[{types[0]}, ({high}, {wide}, {axes['c']})]",
              f"w: Buffer[{types[1]}, {tuple_of(axes, order)}]"]  # fmt: skip
    value = (f"cast(i32, a[vh * {stride} + vr, vp * {stride} + vs, vc])"
             f" * cast(i32, {loaded('w', order)})")  # fmt: skip
    return fold(axes, "rsc", params, "hpo", "i32", value)


def reduced(rng: Random) -> PrimFunc:
    """A sum, a maximum or a minimum over one axis of two or three, or over two of them."""
    axes = {name: rng.choice(EXTENTS) for name in "ijk"[: rng.choice((2, 3))]}
    summed = rng.sample(list(axes), rng.choice((1, len(axes) - 1)))
    out = [name for name in axes if name not in summed]
    op, kind = rng.choice(("add", "max", "min")), rng.choice(("u8", "i8", "i16", "i32"))
    to = "i32" if op == "add" else kind
    params = [f"a: Buffer[{kind}, {tuple_of(axes, list(axes))}]"]
    value = f"cast({to}, {loaded('a', list(axes))})"
    return fold(axes, "".join(summed), params, out, to, value, op)


def drawn(seed: int) -> PrimFunc:
    rng = Random(seed)
    types = rng.choices(("u8", "i8", "i16"), (3, 3, 1), k=2)
    if seed % 3 == 1:
        return reduced(rng)
    if seed % 9 == 2:
        return convolution(rng, types)
    axes = {name: rng.choice(EXTENTS) for name in "mnk"}
    left, right, out = rng.choice(("mk", "km")), rng.choice(("kn", "nk")), rng.choice(("mn", "nm"))
    if rng.random() < 0.3:
        axes["b"], left, out = rng.choice((2, 3)), "b" + left, "b" + out
        right = rng.choice(("b" + right, right))
    place, stored = rng.choice(("tcm", "ddr")), {name: n + n % 3 for name, n in axes.items()}
    return product(axes, types, left, right, out, place, stored if seed % 2 else None)


def points(task: OwnTask, seed: int, count: int) -> list[Point]:
    """Distinct points, the best guesses first."""
    found = {str(p): p for p in (task.space.sample(Random(f"{seed} {n}")) for n in range(16))}
    return sorted(found.values(), key=lambda p: task.template.estimate(p).cycles)[:count]


@pytest.mark.parametrize("part", range(4))
def test_points_give_the_interpreters_bytes(part: int) -> None:
    """Some points may have no code, and say why; half of all at least have some."""
    tried = right = 0
    for seed in range(part, 60, 4):
        func = drawn(seed)
        task = OwnTask(func, dsp(threads=1 + 3 * (seed % 2)))
        for point in points(task, seed, 2):
            measured, tried = task.measure(point), tried + 1
            if measured.status != "ok":
                assert ": " in measured.message
                continue
            assert task.check(point) == (True, ""), (seed, point)
            right += 1
    assert right > tried / 2


def numbered(func: PrimFunc) -> PrimFunc:
    """Zero points on both operands."""
    left, right = "cast(i32, a[vm, vk])", "cast(i32, w[vk, vn])"
    return parse(show(func).replace(f"{left} * {right}", f"({left} + -3) * ({right} + -200)"))


PRODUCTS = {
    "rows": product({"m": 64, "n": 128, "k": 96}, ("u8", "i8"), "mk", "kn", "mn"),
    "signed": product({"m": 64, "n": 128, "k": 96}, ("i8", "i8"), "mk", "kn", "mn"),
    "columns": product({"m": 64, "n": 128, "k": 96}, ("u8", "u8"), "mk", "nk", "mn"),
    "turned": product({"m": 64, "n": 128, "k": 96}, ("u8", "i8"), "km", "nk", "mn"),
    "odd": product({"m": 37, "n": 50, "k": 45}, ("u8", "i8"), "mk", "kn", "mn"),
    "single": product({"m": 1, "n": 512, "k": 64}, ("u8", "u8"), "mk", "kn", "mn"),
    "few": product({"m": 2, "n": 12, "k": 256}, ("u8", "i8"), "mk", "nk", "mn"),
    "halfwords": product({"m": 32, "n": 64, "k": 64}, ("i16", "i16"), "mk", "kn", "mn"),
    "numbers": numbered(product({"m": 64, "n": 128, "k": 96}, ("u8", "u8"), "mk", "kn", "mn")),
    "batch": product({"b": 3, "m": 24, "n": 64, "k": 32}, ("u8", "i8"), "bmk", "bkn", "bmn"),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_take_a_small_part_of_scalar_code(name: str) -> None:
    task = OwnTask(PRODUCTS[name], dsp(threads=1))
    assert task.template.name == "folds"
    best = min(found for p in points(task, 0, 4) if (found := task.measure(p).cycles) is not None)
    plain = scalar(lift(task.func), task.machine)
    steps = plain.estimate(next(iter(plain.space))).cycles
    assert best * (100 if name == "numbers" else 10) < steps


@pytest.mark.parametrize("stored", [{}, {"k": 48}, {"m": 40, "n": 64, "k": 64}])
def test_words_that_end_within_an_operand_have_code(stored: Axes) -> None:
    axes = {"m": 37, "n": 50, "k": 45}
    func = product(axes, ("u8", "i8"), "mk", "kn", "mn", stored={**axes, **stored})
    task = OwnTask(func, dsp(threads=1))
    words = [p for p in points(task, 1, 16) if p["bytes"] in ("signed", "unsigned")]
    assert len(words) > 4
    for point in words[:4]:
        assert task.check(point) == (True, ""), point


@pytest.mark.parametrize("summed", ["i", "j", "ij"])
@pytest.mark.parametrize("op", ["add", "max"])
def test_folds_of_bytes_take_a_small_part_of_scalar_code(summed: str, op: str) -> None:
    axes = {"i": 64, "j": 256}
    out = [name for name in axes if name not in summed]
    kind = "i32" if op == "add" else "u8"
    value = f"cast({kind}, a[vi, vj])"
    func = fold(axes, summed, ['a: Buffer[u8, (64, 256), "tcm"]'], out, kind, value, op,
                ', "tcm"')  # fmt: skip
    task = OwnTask(func, dsp(threads=1))
    best = min(found for p in points(task, 0, 4) if (found := task.measure(p).cycles) is not None)
    assert best * 8 < 64 * 256


def chain(shape: Sequence[int], along: int) -> PrimFunc:
    """What is left of the largest element of a row, and of the sum of that."""
    names = "ijk"[: len(shape)]
    axes = dict(zip(names, shape, strict=True))
    kept, lines = [name for name in names if name != names[along]], list[str]()
    whole, rows = (", ".join("v" + name for name in some) for some in (names, kept))
    for number, (store, start) in enumerate((
        (f"m[{rows}] = max(m[{rows}], x[{whole}])", f"m[{rows}] = 0"),
        (f"e[{whole}] = m[{rows}] - x[{whole}]", ""),
        (f"s[{rows}] = s[{rows}] + cast(i32, e[{whole}])", f"s[{rows}] = 0"),
        (f"y[{whole}] = cast(u8, min(s[{rows}] >> 2, 255)) - e[{whole}]", ""),
    )):  # fmt: skip
        pad = "    "
        for name, extent in axes.items():
            lines.append(f"{pad}for {name}{number} in range({extent}):")
            pad += "    "
        lines.append(f'{pad}with block("b{number}"):')
        for name, extent in axes.items():
            kind = "reduce" if start and name not in kept else "spatial"
            lines.append(f"{pad}    v{name} = {kind}({extent}, {name}{number})")
        lines += [f"{pad}    with init():", f"{pad}        {start}"] if start else []
        lines.append(f"{pad}    {store}")
    size, few = tuple_of(axes, names), tuple_of(axes, kept)
    local = [f'    {name} = alloc({kind}, {dims}, "tcm")' for name, kind, dims
             in (("m", "u8", few), ("e", "u8", size), ("s", "i32", few))]  # fmt: skip
    head = f'def k(x: Buffer[u8, {size}, "tcm"], y: Buffer[u8, {size}, "tcm"]):'
    return parse("\n".join([head, *local, *lines]))


def test_chains_of_folds_and_maps_give_the_interpreters_bytes() -> None:
    """Along any axis, whether what lies around it fills registers or not."""
    tried = right = 0
    for seed in range(12):
        rng = Random(seed)
        shape = [*rng.choices(EXTENTS, k=2), rng.choice((5, 8, 32, 40, 64, 130))]
        task = OwnTask(chain(shape, seed % 3), dsp(threads=1 + 3 * (seed % 2)))
        for point in points(task, seed, 2):
            tried += 1
            if task.measure(point).status == "ok":
                assert task.check(point) == (True, ""), (shape, point)
                right += 1
    assert right > tried / 2


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
@pytest.mark.parametrize("name", ["signed", "turned", "odd", "halfwords"])
def test_listings_give_the_interpreters_bytes(name: str) -> None:
    task = OwnTask(PRODUCTS[name], dsp(threads=2))
    point = next(p for p in points(task, 0, 8) if task.measure(p).status == "ok")
    made, (before, after) = task.compiled(point), task.values.trial
    assert isinstance(made.listing, PackedListing)
    done = run_program(made.program, made.listing, [array.copy() for array in before])
    assert done.packets == made.cost.executed
    (found,) = done.outputs.values()
    assert found.tobytes() == np.ascontiguousarray(after[-1]).tobytes()


@pytest.mark.parametrize("order", ["wa", "aw"])
def test_signed_bytes_of_copies_are_stored_unsigned(order: str) -> None:
    """What is then too much is taken off by sums of the other operand."""
    func = product({"m": 5, "n": 6, "k": 7}, ("i8", "i8"), "mk", "kn", "mn")
    sch = Schedule(func)
    for name in order:
        copy = sch.cache_read("b", name, "tcm")
        assert len(sch.offset_operand("b", f"{name}_tcm")) == 1
        assert str(sch.get_buffer(f"{name}_tcm").type) == "u8", copy
    same(sch, func)


def test_strips_of_products_are_right_or_refused() -> None:
    """Copies that are transfers do not follow rows of an image that lie elsewhere."""
    func = product({"m": 192, "n": 192, "k": 33}, ("u8", "i8"), "mk", "nk", "mn", "ddr")
    task = OwnTask(func, dsp(threads=1))
    drawn_points = (task.space.sample(Random(n)) for n in range(40))
    strips = [point for point in drawn_points if point["strip"]][:6]
    assert strips
    for point in strips:
        measured = task.measure(point)
        if measured.status == "ok":
            assert task.check(point) == (True, ""), point
        else:
            assert ": " in measured.message


ODD = {
    "bytes": fold({"i": 32, "j": 130}, "i", ["a: Buffer[i8, (32, 130)]"], "j", "i32",
                  "cast(i32, a[vi, vj])"),
    "halfwords": fold({"i": 128, "j": 31, "k": 4}, "j", ["a: Buffer[i16, (128, 31, 4)]"], "ik",
                      "i32", "cast(i32, a[vi, vj, vk])"),
}  # fmt: skip


@pytest.mark.parametrize("func", ODD.values(), ids=ODD)
def test_kernels_whose_template_has_no_code_have_others(func: PrimFunc) -> None:
    task = OwnTask(func, dsp(threads=1))
    assert isinstance(task.template, Tight)
    others = [p for p in points(task, 0, 16) if p["way"] != "reduction"]
    assert any(task.measure(p).status == "ok" and task.check(p)[0] for p in others)


def test_a_kernel_of_a_special_template_may_join_general_ones() -> None:
    """Knobs of one name are of one type in all templates that take a kernel."""
    task = OwnTask(scores(*PLAIN), dsp(threads=1))
    assert isinstance(task.template, Tight)
    assert [name for _, name in task.template.ways] == ["folds", "scalar"]


@pytest.mark.parametrize("name", ["matmul", "conv"])
def test_blocks_of_no_known_form_do_not_hinder_others(name: str) -> None:
    """A copy with edges that are chosen by conditions is plain, the products are of words."""
    task = OwnTask(kernel(name), dsp(threads=1))
    found = [p for p in points(task, 0, 8) if task.measure(p).status == "ok"]
    assert found
    for point in found[:2]:
        assert task.check(point) == (True, ""), point
