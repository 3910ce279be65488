"""Permutations of bytes by shuffles: what the instructions' bodies do to numbered bytes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.target import shuffle
from dovetail.target.dsp.decorators import VECTOR
from dovetail.target.dsp.instructions import instructions
from dovetail.target.dsp.rows import roles
from dovetail.tir.expr import Expr, const, make
from dovetail.tir.ops import OPS
from dovetail.tir.stmt import Buffer
from dovetail.tir.types import i32, u8, vector

ROWS = instructions(66)
Array = NDArray[Any]


def is_shuffle(node: Expr) -> bool:
    return shuffle.is_shuffle(node, VECTOR)


def shuffled(node: Expr, registers: shuffle.Registers) -> list[Expr] | None:
    return shuffle.shuffled(node, registers, roles(66).shuffles)


def value(node: Expr, memory: Array) -> Array:
    """An expression of loads, lane operators and calls, evaluated by the rows' bodies."""
    if node.op == "load":
        start = node.args[0].attr
        return memory[start : start + node.type.lanes]
    args = [value(arg, memory) for arg in node.args]
    if node.op == "const":
        return np.asarray(node.attr, node.type.numpy)
    if node.op == "call":
        return body_value(str(node.attr), args)
    return np.asarray(OPS[node.op].value(node.type, node.attr, *args))


def body_value(name: str, args: list[Array]) -> Array:
    row = ROWS[name]
    given = {
        p.name: a.view(p.type.numpy) if p.type.lanes > 1 else a
        for p, a in zip(row.parameters, args, strict=True)
    }

    def run(node: Expr) -> Array:
        if node.op == "var":
            return given[str(node.attr)]
        if node.op == "const":
            return np.full(node.type.lanes, node.attr, node.type.numpy)
        return np.asarray(OPS[node.op].value(node.type, node.attr, *map(run, node.args)))

    assert row.body is not None
    return run(row.body).view(np.uint8)


def load(start: int, lanes: int) -> Expr:
    return Expr("load", vector(u8, lanes), (const(start, i32),), Buffer("m", u8, (4096,)))


def moved(shape: tuple[int, ...], order: tuple[int, ...]) -> Expr:
    """A load whose lanes are an array of ``shape``, its axes put in another order."""

    def build(node: Expr, axes: list[int]) -> list[Expr]:
        if not axes:
            return [node]
        lanes = node.type.lanes // shape[axes[0]]
        parts = [make("slice", node, attr=(k * lanes, lanes)) for k in range(shape[axes[0]])]
        return [leaf for part in parts for leaf in build(part, axes[1:])]

    leaves = build(load(0, int(np.prod(shape))), list(range(len(shape))))
    table = np.arange(len(leaves)).reshape(shape).transpose(order).reshape(-1)
    return make("concat", *(leaves[k] for k in table))


SHAPES = [((4, 32), (1, 0)), ((4, 32, 4), (2, 1, 0)), ((2, 64, 2), (2, 1, 0)), ((32, 4), (1, 0)),
          ((2, 2, 32, 2), (3, 2, 0, 1)), ((4, 4, 32), (1, 2, 0))]  # fmt: skip


@pytest.mark.parametrize(("shape", "order"), SHAPES)
def test_digits_change_places(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    node = moved(shape, order)
    assert is_shuffle(node)
    found = shuffled(node, lambda whole: [load(whole.args[0].attr + k, 128)
                                          for k in range(0, whole.type.lanes, 128)])  # fmt: skip
    assert found is not None
    memory = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
    got = np.concatenate([value(part, memory) for part in found])
    wanted = memory[: node.type.lanes].reshape(shape).transpose(order).reshape(-1)
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize(("size", "times", "apart"), [(4, 4, 16), (4, 2, 8), (16, 8, 16)])
def test_words_repeat(size: int, times: int, apart: int) -> None:
    """Every so many bytes a piece, each of them several times."""
    pieces = [make("slice", load(0, 128), attr=(k * apart, size)) for k in range(128 // apart)]
    node = make("concat", *(make("tile", piece, attr=times) for piece in pieces))
    assert is_shuffle(node)
    found = shuffled(node, lambda whole: [load(whole.args[0].attr, 128)])
    assert found is not None
    memory = np.random.default_rng(2).integers(0, 256, 4096, np.uint8)
    got = np.concatenate([value(part, memory) for part in found])
    wanted = memory[:128].reshape(-1, apart)[:, None, :size].repeat(times, 1).reshape(-1)
    assert np.array_equal(got, wanted)


def calls(parts: list[Expr]) -> list[str]:
    seen: dict[Expr, None] = {}

    def walk(node: Expr) -> None:
        if node.op == "call":
            seen[node] = None
        for arg in node.args:
            walk(arg)

    for part in parts:
        walk(part)
    return sorted(str(node.attr) for node in seen)


def test_four_registers_of_words_take_four_instructions() -> None:
    found = shuffled(moved((4, 32, 4), (2, 1, 0)), lambda whole: [load(k, 128)
                     for k in range(0, whole.type.lanes, 128)])  # fmt: skip
    assert found is not None
    assert calls(found) == ["vshufoeb"] * 2 + ["vshufoeh"] * 2


@pytest.mark.parametrize("places", ["nxxx", "xnnn", "nnnx", "nnxx"])
def test_numbers_are_registers_among_others(places: str) -> None:
    """Words of four registers, one a place: some are loaded, the others hold a number."""
    kept = iter(range(4))
    loaded = [load(next(kept) * 128, 128) if place == "x" else make("tile", const(7, u8), attr=128)
              for place in places]  # fmt: skip
    node = make("transpose", make("concat", *loaded), attr=((4, 32, 4), (2, 1, 0)))
    found = shuffled(node, lambda whole: [load(whole.args[0].attr + k, 128)
                                          for k in range(0, whole.type.lanes, 128)]
                     if whole.op == "load" else [whole])  # fmt: skip
    assert found is not None and len(calls(found)) <= 4
    memory = np.random.default_rng(3).integers(8, 256, 4096, np.uint8)
    got = np.concatenate([value(part, memory) for part in found])
    rows = np.concatenate([value(part, memory) for part in loaded])
    assert np.array_equal(got, rows.reshape(4, 32, 4).transpose(2, 1, 0).reshape(-1))


def test_every_order_of_four_axes_has_a_path() -> None:
    memory = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)
    for order in permutations(range(4)):
        node = moved((2, 4, 8, 4), order)
        found = shuffled(node, lambda whole: [load(k, 128)
                         for k in range(0, whole.type.lanes, 128)])  # fmt: skip
        if found is None:
            continue
        got = np.concatenate([value(part, memory) for part in found])
        wanted = memory[:256].reshape(2, 4, 8, 4).transpose(order).reshape(-1)
        assert np.array_equal(got, wanted), order


@pytest.mark.parametrize("op", ["interleave", "concat"])
@pytest.mark.parametrize("rows", [(0, 1, 2, 3, 3, 3, 3, 3), (5, 0, 5, 7), (1, 9, 4, 4)])
def test_rows_may_come_several_times(op: str, rows: tuple[int, ...]) -> None:
    """Loads of 32 bytes, 40 apart."""
    memory = np.random.default_rng(2).integers(0, 256, 4096, np.uint8)
    node = make(op, *(load(40 * row, 32) for row in rows))
    found = shuffled(node, lambda whole: [load(whole.args[0].attr + n, 128)
                     for n in range(0, whole.type.lanes, 128)])  # fmt: skip
    assert found is not None
    got = np.concatenate([value(register, memory) for register in found])
    assert np.array_equal(got, value(node, memory))


def test_pieces_that_lie_anywhere_are_left_alone() -> None:
    pieces = [load(200 * k, 32) for k in range(4)]
    assert shuffled(make("concat", *pieces), lambda whole: None) is None


def pixel(k: int) -> Expr:
    """Four bytes of each of eight registers, of four of the 32 words that these hold."""
    pieces = [make("slice", load(128 * group, 128), attr=(16 * k, 16)) for group in range(8)]
    words = [make("slice", p, attr=(4 * w, 4)) for w in range(4) for p in pieces]
    return make("concat", *words)


def test_a_part_of_a_permutation_is_a_part_of_its_registers() -> None:
    """One register out of eight: all parts share the network."""
    memory = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)
    wanted = memory[:1024].reshape(8, 32, 4).transpose(1, 0, 2).reshape(8, 128)
    parts = []
    for k in range(8):
        found = shuffled(pixel(k), lambda whole: [load(n, 128)
                         for n in range(0, whole.type.lanes, 128)])  # fmt: skip
        assert found is not None
        (part,) = found
        assert np.array_equal(value(part, memory), wanted[k])
        parts.append(part)
    assert len(calls(parts)) == 12


def test_whole_registers_are_no_shuffle() -> None:
    assert not is_shuffle(make("concat", load(0, 128), load(256, 128)))
