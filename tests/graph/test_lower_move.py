"""Kernels that move data against the evaluator, and which of them move nothing at all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.graph.physical import pack
from dovetail.schedule.tree import blocks_below
from dovetail.tir.interpret import interpret

RNG = np.random.default_rng(6)


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [([(1, 13, 4, 5), (1, 29, 4, 5)], 1), ([(1, 64, 4, 5), (1, 64, 4, 5), (1, 3, 4, 5)], 1),
     ([(2, 3, 4, 5), (2, 3, 1, 5)], 2), ([(1, 64, 2, 3), (1, 64, 2, 4)], 3),
     ([(1, 3, 2, 2), (2, 3, 2, 2)], 0), ([(3, 5), (3, 29)], 1), ([(3, 5), (1, 5)], 0),
     ([(2, 3, 4, 5, 6), (2, 1, 4, 5, 6)], 1), ([(3,), (4,)], 0)],
)  # fmt: skip
def test_cat(kit: Any, shapes: list[tuple[int, ...]], axis: int) -> None:
    kernel = kit.holds("cat", [kit.bytes_of(RNG, *shape) for shape in shapes], axis=axis)
    assert kernel.kind == "move" and not kernel.func.attrs["alias"]


@pytest.mark.parametrize(
    ("shape", "padding"),
    [((1, 13, 4, 5), ((0, 0), (0, 0), (1, 2), (0, 3))), ((2, 3, 2, 2), ((1, 0),) * 4),
     ((3, 29), ((0, 0), (2, 1))), ((2, 3, 2, 2, 3), ((0, 1), (0, 0), (1, 0), (0, 0), (2, 0)))],
)  # fmt: skip
def test_pad(kit: Any, shape: tuple[int, ...], padding: tuple[tuple[int, int], ...]) -> None:
    kit.holds("pad", [kit.bytes_of(RNG, *shape)], padding=padding, value=77)


@pytest.mark.parametrize(
    ("shape", "axis", "bounds"),
    [((1, 130, 4, 5), 1, (1, 129, 1)), ((1, 130, 4, 5), 1, (0, 64, 1)),
     ((2, 13, 9, 8), 2, (1, 9, 3)),
     ((2, 13, 9, 8), 3, (0, 8, 2)), ((3, 29), 1, (28, 29, 1)), ((3, 2, 5), 0, (1, 3, 1)),
     ((2, 3, 2, 2, 3), 1, (0, 3, 2)), ((9,), 0, (2, 9, 3))],
)  # fmt: skip
def test_slice(kit: Any, shape: tuple[int, ...], axis: int, bounds: tuple[int, int, int]) -> None:
    start, stop, step = bounds
    x = kit.bytes_of(RNG, *shape)
    kit.holds("slice", [x], axis=axis, start=start, stop=stop, step=step)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((2, 13, 4, 5), (0, 2, 3, 1)), ((2, 13, 4, 5), (0, 1, 3, 2)), ((2, 3, 29), (0, 2, 1)),
     ((3, 29), (1, 0)), ((2, 3, 2, 4, 5), (4, 0, 3, 1, 2)), ((1, 64, 1, 1), (1, 0, 2, 3))],
)  # fmt: skip
def test_permute(kit: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    kit.holds("permute", [kit.bytes_of(RNG, *shape)], axes=axes)


@pytest.mark.parametrize(
    ("shape", "to"),
    [((1, 13, 1, 1), (2, 13, 3, 5)), ((13, 1), (4, 13, 5)), ((1,), (2, 3, 4, 29)),
     ((2, 1, 3), (2, 5, 3))],
)  # fmt: skip
def test_expand(kit: Any, shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    kit.holds("expand", [kit.bytes_of(RNG, *shape)], shape=to)


RESHAPES = [
    ((1, 13, 4, 5), (1, 260), False),
    ((3, 13, 4, 5), (3, 13, 20), False),
    ((1, 128, 1, 1), (1, 128), True),
    ((2, 64, 1, 1), (2, 64), False),
    ((4, 128, 1, 1), (4, 128), True),
    ((1, 64, 1, 1), (1, 64), True),
    ((1, 10), (1, 1, 10), True),
    ((10,), (1, 10), True),
    ((2, 4, 128), (8, 128), True),
    ((4, 6), (6, 4), False),
    ((2, 15, 7), (3, 2, 5, 7), False),
    ((1, 1, 1, 1), (), True),
    ((2, 12, 3, 3), (2, 3, 4, 3, 3), False),
    ((1, 8, 6, 6), (1, 8, 6, 6), True),
]


@pytest.mark.parametrize(("shape", "to", "alias"), RESHAPES)
def test_reshape(kit: Any, shape: tuple[int, ...], to: tuple[int, ...], alias: bool) -> None:
    kernel = kit.holds("reshape", [kit.bytes_of(RNG, *shape)], shape=to)
    assert kernel.func.attrs["alias"] == alias


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_reshape(kit: Any, data: st.DataObject) -> None:
    factors = data.draw(st.lists(st.sampled_from([1, 2, 3, 5]), min_size=1, max_size=5))

    def grouped(parts: list[int]) -> tuple[int, ...]:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(parts)))))
        ends = [0, *cuts, len(parts)]
        return tuple(int(np.prod(parts[a:b])) for a, b in pairwise(ends))

    shape, to = grouped(factors), grouped(data.draw(st.permutations(factors)))
    kit.holds("reshape", [kit.bytes_of(RNG, *shape)], shape=to)


def test_an_alias_keeps_every_byte(kit: Any) -> None:
    x = kit.bytes_of(RNG, 4, 128, 1, 1)
    kernel = kit.holds("permute", [x], axes=(2, 1, 3, 0))
    assert kernel.func.attrs["alias"]
    stored = pack(x, x.shape)
    output = np.zeros(kernel.func.params[-1].shape, np.uint8)
    interpret(kernel.func, stored, output)
    assert output.tobytes() == stored.tobytes()


def test_a_single_channel_fills_its_pads(kit: Any) -> None:
    digits = {"extents": (6, 2, 8, 2), "strides": (8, 96, 1, 48), "offset": 0}
    x = kit.bytes_of(RNG, 1, 4, 6, 8)
    kernel = kit.holds("move", [x], **digits, shape=(1, 1, 12, 16))
    (block,) = blocks_below(kernel.func.body)
    assert sorted(it.extent for it in block.iters) == [2, 2, 4, 6, 8]
