"""Kernels of convolution, linear and matrix product against the evaluator, on odd shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.graph import Array, Requant
from dovetail.graph.kernels import Kernel
from dovetail.graph.lower import lower
from dovetail.tir.script.show import show

PLAIN: dict[str, Any] = {
    "stride": (1, 1),
    "padding": ((0, 0), (0, 0)),
    "dilation": (1, 1),
    "groups": 1,
}


def conv(
    kit: Any, rng: np.random.Generator, x: tuple[int, ...], w: tuple[int, ...], **more: Any
) -> Kernel:
    weight = kit.weights_of(rng, *w)
    bias = rng.integers(-(1 << 16), 1 << 16, w[0]).astype(np.int32)
    zero = int(rng.choice([0, 3, 128, 255]))
    requant = kit.requant_of(rng, int(rng.choice([1, w[0]])), 64 * np.sqrt(np.prod(w[1:])) * 128)
    inputs: list[Array] = [kit.bytes_of(rng, *x), weight, bias]
    attrs = {**PLAIN, **more}
    kernel: Kernel = kit.holds("q_conv2d", inputs, 2, x_zero=zero, requant=requant, **attrs)
    return kernel


def same(pad: int) -> dict[str, Any]:
    return {"padding": ((pad, pad), (pad, pad))}


CONVOLUTIONS = {
    "one by one, stored as read": ((1, 32, 5, 8), (64, 32, 1, 1), {}),
    "one by one, odd": ((1, 13, 5, 7), (29, 13, 1, 1), {}),
    "three by three": ((1, 13, 9, 11), (29, 13, 3, 3), same(1)),
    "stem": ((1, 3, 37, 53), (13, 3, 7, 7), {**same(3), "stride": (2, 2)}),
    "stride 3": ((1, 5, 17, 13), (8, 5, 3, 3), {**same(1), "stride": (3, 3)}),
    "stride 2, one by one": ((1, 64, 7, 9), (128, 64, 1, 1), {"stride": (2, 2)}),
    "dilation": ((1, 8, 15, 13), (8, 8, 3, 3), {**same(2), "dilation": (2, 2)}),
    "uneven padding": ((1, 4, 6, 6), (4, 4, 3, 2), {"padding": ((0, 2), (1, 0))}),
    "padding never reached": ((1, 4, 6, 6), (4, 4, 2, 2), {**same(1), "stride": (3, 3)}),
    "only padding in some windows": ((1, 4, 2, 2), (4, 4, 1, 1), {**same(3), "stride": (2, 2)}),
    "batch 3": ((3, 13, 5, 5), (13, 13, 3, 3), same(1)),
    "one pixel": ((1, 29, 1, 1), (13, 29, 1, 1), {}),
    "more than 128 channels": ((1, 130, 2, 3), (131, 130, 1, 1), {}),
    "one channel": ((1, 1, 9, 9), (1, 1, 3, 3), same(1)),
    "grouped, small": ((1, 6, 5, 5), (9, 2, 3, 3), {**same(1), "groups": 3}),
    "grouped, whole vectors": ((1, 64, 5, 4), (64, 32, 3, 3), {**same(1), "groups": 2}),
    "grouped, some merged": ((1, 64, 3, 3), (64, 8, 3, 3), {**same(1), "groups": 8}),
    "grouped, pads tiled": ((1, 12, 3, 3), (96, 4, 1, 1), {"groups": 3}),
    "channel multiplier": ((1, 5, 6, 6), (10, 1, 3, 3), {**same(1), "groups": 5}),
    "depthwise": ((1, 29, 7, 9), (29, 1, 3, 3), {**same(1), "groups": 29}),
    "depthwise, stride 2": ((2, 40, 9, 8), (40, 1, 3, 3), {**same(1), "groups": 40,
                                                           "stride": (2, 2)}),
    "depthwise, no padding": ((1, 32, 8, 8), (32, 1, 1, 1), {"groups": 32}),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d(kit: Any, name: str) -> None:
    x, w, more = CONVOLUTIONS[name]
    kernel = conv(kit, np.random.default_rng(7), x, w, **more)
    kind = "depthwise" if name.startswith("depthwise") else "conv2d"
    assert kernel.kind == kernel.func.attrs["kind"] == kind


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1).map(np.random.default_rng))
def test_any_conv2d(kit: Any, data: st.DataObject, rng: np.random.Generator) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    per, out = data.draw(st.integers(1, 9)), groups * data.draw(st.integers(1, 9))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    step = st.tuples(st.integers(1, 3), st.integers(1, 3))
    edge = st.tuples(st.integers(0, 2), st.integers(0, 2))
    more = {
        "stride": data.draw(step),
        "dilation": data.draw(step),
        "padding": data.draw(st.tuples(edge, edge)),
        "groups": groups,
    }
    size = data.draw(st.tuples(st.integers(7, 9), st.integers(7, 9)))
    conv(kit, rng, (data.draw(st.integers(1, 2)), groups * per, *size), (out, per, *kernel), **more)


@pytest.mark.parametrize(
    ("x", "out"),
    [((1, 64), 10), ((3, 13), 29), ((1, 256), 128), ((2, 5, 29), 13), ((2, 3, 4, 7), 6), ((9,), 5),
     ((2, 2, 2, 3, 4), 5)],
)  # fmt: skip
def test_linear(kit: Any, x: tuple[int, ...], out: int) -> None:
    rng = np.random.default_rng(3)
    bias = rng.integers(-(1 << 14), 1 << 14, out).astype(np.int32)
    inputs = [kit.bytes_of(rng, *x), kit.weights_of(rng, out, x[-1]), bias]
    requant = kit.requant_of(rng, out, 1 << 17)
    kernel = kit.holds("q_linear", inputs, 2, x_zero=3, requant=requant)
    assert kernel.kind == "matmul"
    assert kernel.weight_bytes == out * x[-1] + 4 * out


@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 29), (29, 13)), ((2, 3, 5, 7), (2, 3, 7, 4)), ((3, 4, 8), (8, 6)), ((4, 8), (3, 8, 6)),
     ((1, 128), (128, 128)), ((2, 1, 2, 3, 4), (2, 1, 4, 5))],
)  # fmt: skip
def test_matmul(kit: Any, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    requant = kit.requant_of(rng, 1, 1 << 17)
    inputs = [kit.bytes_of(rng, *a), kit.bytes_of(rng, *b)]
    kernel = kit.holds("q_matmul", inputs, a_zero=3, b_zero=128, requant=requant)
    assert kernel.kind == "matmul" and kernel.inputs == ("t0", "t1")


def test_scaled_values_at_the_ends_of_i32_saturate_right(kit: Any) -> None:
    x = np.array([[0, 255]], np.uint8)
    inputs = [x, np.array([[-127, 127], [127, -127]], np.int8), np.zeros(2, np.int32)]
    requant = Requant(((1 << 31) - 1,), 14, 200, 3, 250)
    kit.holds("q_linear", inputs, 2, x_zero=0, requant=requant)


def test_a_left_shift_comes_before_the_product(kit: Any) -> None:
    rng = np.random.default_rng(5)
    inputs = [kit.bytes_of(rng, 3, 4), kit.weights_of(rng, 5, 4), np.zeros(5, np.int32)]
    requant = Requant((3, 1 << 30, 77, 1, 0), 40, 9, left=3)
    kit.holds("q_linear", inputs, 2, x_zero=7, requant=requant)


def test_other_modes_are_refused(kit: Any) -> None:
    inputs: list[Array] = [np.zeros((1, 4), np.uint8), np.zeros((2, 4), np.int8)]
    requant = Requant((), 0, 0, mode="float", scale=(0.5,))
    graph = kit.graph_of("q_linear", [*inputs, np.zeros(2, np.int32)], 2, x_zero=0, requant=requant)
    with pytest.raises(UnsupportedModel) as caught:
        lower(graph, graph.nodes[0])
    assert str(caught.value) == (
        "q_linear y: compiled kernels requantize in integers by mode 'single', "
        "but got mode 'float'; quantize with mode='single'"
    )


@pytest.mark.parametrize("left", [1, 5, 30])
def test_sums_that_do_not_shift_are_cut(kit: Any, left: int) -> None:
    x = np.array([[0, 0], [7, 0], [0, 255], [255, 255], [255, 0]], np.uint8)
    limit = (1 << 31) - 1
    bias = np.array([limit - 255 * 254, -limit + 255 * 254, 3, -3], np.int32)
    weight = np.array([[127, 127], [-127, -127], [1, 0], [-1, 1]], np.int8)
    requant = Requant((1 << 30, limit, 1 << 14, 1 << 20), 31, 9, left=left)
    kernel = kit.holds("q_linear", [x, weight, bias], 2, x_zero=0, requant=requant)
    assert f"{limit >> left}" in show(kernel.func)


def test_sums_that_may_leave_i32_are_refused(kit: Any) -> None:
    inputs: list[Array] = [np.zeros((1, 4), np.uint8), np.ones((1, 4), np.int8)]
    bias = np.array([(1 << 31) - 1], np.int32)
    graph = kit.graph_of(
        "q_linear", [*inputs, bias], 2, x_zero=0, requant=Requant((1 << 30,), 40, 0)
    )
    with pytest.raises(UnsupportedModel, match="accumulators must fit i32, but they can reach"):
        lower(graph, graph.nodes[0])


def test_computed_weights_are_refused(kit: Any) -> None:
    inputs: list[Array] = [np.zeros((1, 4), np.uint8), np.zeros((2, 4), np.int8)]
    requant = Requant((1,), 31, 0)
    graph = kit.graph_of("q_linear", [*inputs, np.zeros(2, np.int32)], 0, x_zero=0, requant=requant)
    with pytest.raises(UnsupportedModel, match="must be constants, but t1 is computed"):
        lower(graph, graph.nodes[0])
