"""What a node must read, against its evaluator: elements whose change shows in the output."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from dovetail.graph.attributes import GraphError, pads, pair
from dovetail.graph.graph import Node
from dovetail.graph.operators import INTEGERS


def reads(node: Node, shapes: Sequence[tuple[int, ...]], position: int) -> int:
    return INTEGERS[node.op].reads(node, shapes, position)


def shown(node: Node, shape: tuple[int, ...]) -> int:
    """Elements that change the output when they alone are not 0."""
    ones = np.eye(int(np.prod(shape)), dtype=np.uint8)
    return sum(bool(INTEGERS[node.op].evaluate(node, [x.reshape(shape)]).any()) for x in ones)


def test_windows_read_what_they_touch() -> None:
    rng, tried = Random(0), 0
    while tried < 60:
        size, kernel, stride, dilation = (
            tuple(rng.randint(1, most) for _ in range(2)) for most in (9, 3, 4, 3)
        )
        padding = tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(2))
        node = Node("max_pool2d", ("x",), "y", {
            "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding,
        })  # fmt: skip
        shape = (1, 2, *size)
        try:
            INTEGERS[node.op].shape(node, [shape])
        except GraphError:
            continue
        tried += 1
        assert reads(node, [shape], 0) == shown(node, shape), node


def inside(
    node: Node, shapes: list[tuple[int, ...]], output: tuple[int, ...]
) -> set[tuple[int, ...]]:
    """(oh, ow, kh, kw) of the products of one channel that touch data, one by one."""
    (sh, sw), (dh, dw) = pair(node, "stride"), pair(node, "dilation")
    (top, _), (left, _) = pads(node)
    return {
        at
        for at in np.ndindex(*output[2:], *shapes[1][2:])
        if 0 <= at[0] * sh - top + at[2] * dh < shapes[0][2]
        and 0 <= at[1] * sw - left + at[3] * dw < shapes[0][3]
    }


def test_products_that_touch_data() -> None:
    """And the weights that any of them needs."""
    rng, tried = Random(1), 0
    while tried < 60:
        size, kernel, stride, dilation = (
            tuple(rng.randint(1, most) for _ in range(2)) for most in (9, 5, 4, 3)
        )
        padding = tuple((rng.randint(0, 4), rng.randint(0, 4)) for _ in range(2))
        attrs = {"stride": stride, "dilation": dilation, "padding": padding, "groups": 2}
        node = Node("q_conv2d", ("x", "w", "b"), "y", attrs)
        shapes: list[tuple[int, ...]] = [(3, 4, *size), (6, 2, *kernel), (6,)]
        try:
            output = INTEGERS[node.op].shape(node, shapes)
        except GraphError:
            continue
        tried += 1
        found = inside(node, shapes, output)
        assert INTEGERS[node.op].products(node, shapes, output) == 3 * 6 * 2 * len(found), node
        assert reads(node, shapes, 1) == 6 * 2 * len({at[2:] for at in found}), node


def test_padding_is_no_product() -> None:
    attrs = {"stride": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1)), "groups": 1}
    node = Node("q_conv2d", ("x", "w", "b"), "y", attrs)
    for size, products in ((1, 1), (7, 19 * 19), (56, 166 * 166)):
        shapes = [(1, 1, size, size), (1, 1, 3, 3), (1,)]
        assert INTEGERS[node.op].products(node, shapes, (1, 1, size, size)) == products


def test_a_table_has_no_more_entries_to_read_than_elements_look_up() -> None:
    node = Node("lookup", ("x", "t"), "y")
    assert reads(node, [(3, 5), (256,)], 1) == 15
    assert reads(node, [(30, 50), (256,)], 1) == 256


def test_a_convolution_takes_its_window_from_the_weights() -> None:
    attrs = {"stride": (2, 5), "dilation": (1, 1), "padding": ((0, 0), (1, 0))}
    node = Node("q_conv2d", ("x", "w", "b"), "y", attrs)
    shapes = [(2, 3, 9, 11), (4, 3, 1, 3), (4,)]
    # Rows 0, 2, 4, 6, 8; columns 0, 1 (the first window is cut) and 4, 5, 6, 9 ... below 11.
    assert reads(node, shapes, 0) == 2 * 3 * 5 * 5
    assert reads(node, shapes, 1) == 4 * 3 * 3


def test_slices_leave_elements_out() -> None:
    node = Node("slice", ("x",), "y", {"axis": 1, "start": 1, "stop": 8, "step": 3})
    assert reads(node, [(2, 9, 5)], 0) == shown(node, (2, 9, 5)) == 2 * 3 * 5


def test_all_else_reads_all() -> None:
    node = Node("cat", ("x", "y"), "z", {"axis": 0})
    assert [reads(node, [(2, 3), (1, 3)], at) for at in (0, 1)] == [6, 3]
