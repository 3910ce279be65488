"""Parts of kernels: each computes its box of the result from boxes of the operands."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from dovetail.schedule.placing.part import Box, part_of, stretch
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import Buffer, PrimFunc
from dovetail.tir.types import u8
from tests.schedule import draw
from tests.schedule.kernels import kernel
from tests.tir.helpers import random_array

SEEDS = 120


def computes(func: PrimFunc, box: Box) -> bool:
    """Whether there is a part of this box; if so, it must have the bytes of the whole."""
    part = part_of(func, box)
    if part is None:
        return False
    rng = np.random.default_rng(1)
    drawn = {p.name: random_array(p.type, p.shape, rng) for p in func.params}
    arrays = {**drawn, **func.constants}
    cut = {name: _cut(array, part.boxes.get(name, {})) for name, array in arrays.items()}
    interpret(func, *arrays.values())
    wanted = _cut(arrays[func.params[-1].name], box)
    assert [p.shape for p in part.func.params] == [array.shape for array in cut.values()]
    interpret(part.func, *cut.values())
    np.testing.assert_array_equal(cut[func.params[-1].name], wanted)
    return True


def _cut(array: np.ndarray, box: Box) -> np.ndarray:
    spans = [box.get(d, range(n)) for d, n in enumerate(array.shape)]
    return array[tuple(slice(span.start, span.stop) for span in spans)].copy()


def boxes(shape: tuple[int, ...], rng: Random) -> Box:
    """Spans of one or two dimensions."""
    found = {}
    for d in rng.sample(range(len(shape)), min(len(shape), rng.choice((1, 1, 2)))):
        first = rng.randrange(shape[d])
        found[d] = range(first, rng.randint(first, shape[d] - 1) + 1)
    return found


@pytest.mark.parametrize("name", ["matmul", "conv", "chain", "rows"])
def test_parts_of_chains_have_the_bytes_of_the_whole(name: str) -> None:
    func, rng = kernel(name), Random(name)
    rows = 1 if name == "conv" else 0
    assert all(computes(func, {rows: range(k, k + 3)}) for k in range(0, 6, 3))
    assert sum(computes(func, boxes(func.params[-1].shape, rng)) for _ in range(6)) > 2


def test_parts_of_random_kernels_have_the_bytes_of_the_whole(
    record_property: Callable[[str, object], None],
) -> None:
    found = 0
    for seed in range(SEEDS):
        func = draw.kernel(seed)
        found += computes(func, boxes(func.params[-1].shape, Random(seed)))
    record_property("slice", f"{found} of {SEEDS} kernels have a part")
    assert found > SEEDS // 2


TWICE = """
@prim_func
def twice(x: Buffer[u8, (8,)], y: Buffer[u8, (16,)]):
    for i in range(8):
        with block("twice"):
            vi = spatial(8, i)
            y[vi * 2] = x[vi]
"""


def test_a_result_with_gaps_a_second_one_or_one_that_is_kept_has_no_parts() -> None:
    assert part_of(parse(TWICE), {0: range(4)}) is None
    assert part_of(kernel("pool"), {0: range(2)}) is None
    func = kernel("chain")
    assert part_of(func, {0: range(2)}) is not None
    func.attrs["kept"] = ("y",)
    assert part_of(func, {0: range(2)}) is None


def test_a_box_is_in_one_piece_where_outer_steps_are_single_or_whole() -> None:
    image = Buffer("x", u8, (2, 6, 4))
    assert stretch(image, {0: range(1, 2), 1: range(2, 5)}) == (24 + 8, 12)
    assert stretch(image, {1: range(2, 5)}) is None
    assert stretch(image, {2: range(4)}) == (0, 48)
