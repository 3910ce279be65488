"""Every integer operator against loops over Python integers that spell its formula out."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Array, Graph, Node, Requant, TensorType
from dovetail.graph.integer import infer_shape, macs, verify
from dovetail.graph.requantize import requantize

SHORT = {"uint8": "u8", "int8": "i8", "int32": "i32"}
RANDOM = st.integers(0, 2**32 - 1).map(np.random.default_rng)
EXTREMES = np.array([0, 1, 127, 128, 254, 255], np.uint8)


def bytes_of(rng: np.random.Generator, *shape: int) -> Array:
    """u8 values, half of them extremes."""
    uniform = rng.integers(0, 256, shape).astype(np.uint8)
    return np.where(rng.random(shape) < 0.5, rng.choice(EXTREMES, shape), uniform)


def graph_of(op: str, inputs: list[Array], constants: int, **attrs: Any) -> Graph:
    """One node; its last ``constants`` inputs are constants."""
    names = [f"t{i}" for i in range(len(inputs))]
    types = {
        n: TensorType(a.shape, SHORT[a.dtype.name]) for n, a in zip(names, inputs, strict=True)
    }
    free = len(inputs) - constants
    node = Node(op, tuple(names), "y", attrs)
    known = dict(zip(names[free:], inputs[free:], strict=True))
    graph = Graph("test", names[:free], ["y"], [node], types, known)
    types["y"] = TensorType(infer_shape(graph, node), "u8")
    verify(graph)
    return graph


def run(op: str, inputs: list[Array], constants: int = 0, **attrs: Any) -> Array:
    graph = graph_of(op, inputs, constants, **attrs)
    (result,) = evaluate(graph, inputs[: len(inputs) - constants])
    assert result.dtype == np.uint8 and result.shape == graph.types["y"].shape
    return result


def some_requant(rng: np.random.Generator, channels: int, reach: float) -> Requant:
    """Multipliers that bring accumulators of ``reach`` to a few hundred steps."""
    shift = 31 + max(int(math.log2(max(reach, 1))) - 8, 0)
    multipliers = tuple(int(m) for m in rng.integers(1 << 29, 1 << 31, channels))
    low, high = sorted(rng.choice([0, 3, 100, 200, 255], 2).tolist())
    return Requant(multipliers, shift, int(rng.integers(0, 256)), low, high)


def slow_conv2d(x: Array, w: Array, b: Array, attrs: dict[str, Any], zero: int) -> Array:
    """Accumulators of a convolution, one product at a time."""
    (sh, sw), (dh, dw) = attrs["stride"], attrs["dilation"]
    ((top, bottom), (left, right)), groups = attrs["padding"], attrs["groups"]
    n, _, h, wide = x.shape
    o, per, kh, kw = w.shape
    oh = (h + top + bottom - (kh - 1) * dh - 1) // sh + 1
    ow = (wide + left + right - (kw - 1) * dw - 1) // sw + 1
    acc = np.zeros((n, o, oh, ow), np.int64)
    for at in np.ndindex(*acc.shape):
        image, channel, i, j = at
        first = channel // (o // groups) * per
        total = int(b[channel])
        for k, p, q in itertools.product(range(per), range(kh), range(kw)):
            row, column = i * sh - top + p * dh, j * sw - left + q * dw
            if 0 <= row < h and 0 <= column < wide:
                total += (int(x[image, first + k, row, column]) - zero) * int(w[channel, k, p, q])
        acc[at] = total
    return acc


@settings(max_examples=60, deadline=None)
@given(st.data(), RANDOM)
def test_conv2d(data: st.DataObject, rng: np.random.Generator) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    per, out = data.draw(st.integers(1, 3)), groups * data.draw(st.integers(1, 2))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    step = st.tuples(st.integers(1, 3), st.integers(1, 3))
    edge = st.tuples(st.integers(0, 2), st.integers(0, 2))
    attrs = {
        "stride": data.draw(step),
        "dilation": data.draw(step),
        "padding": data.draw(st.tuples(edge, edge)),
        "groups": groups,
    }
    batch, size = data.draw(st.integers(1, 2)), data.draw(st.tuples(*[st.integers(7, 9)] * 2))
    zero = data.draw(st.sampled_from([0, 3, 128, 255]))
    x = bytes_of(rng, batch, per * groups, *size)
    w = rng.integers(-127, 128, (out, per, *kernel)).astype(np.int8)
    b = rng.integers(-5000, 5000, out).astype(np.int32)
    requant = some_requant(rng, out, per * kernel[0] * kernel[1] * 127 * 100)
    came = run("q_conv2d", [x, w, b], 2, **attrs, x_zero=zero, requant=requant)
    assert (came == requantize(slow_conv2d(x, w, b, attrs, zero), requant, axis=1)).all()


@pytest.mark.parametrize(("channels", "value"), [(4, 127), (600, 127), (600, -127)])
def test_conv2d_is_exact_at_its_extremes(channels: int, value: int) -> None:
    """Sums below and above 2**24, where float32 would no longer hold every integer."""
    x = np.full((1, channels, 3, 3), 255, np.uint8)
    w = np.full((2, channels, 3, 3), value, np.int8)
    w[1, 0, 0, 0] -= np.sign(value)
    exact = channels * 9 * 255 * value
    b = np.array([1 - exact, 1 - exact], np.int32)
    attrs: dict[str, Any] = {
        "stride": (1, 1), "dilation": (1, 1), "padding": ((0, 0), (0, 0)), "groups": 1
    }  # fmt: skip
    requant = Requant(((1 << 31) - 1,), 31, 128)
    came = run("q_conv2d", [x, w, b], 2, **attrs, x_zero=0, requant=requant)
    assert came.ravel().tolist() == [129, 0 if value > 0 else 255]


@settings(max_examples=30, deadline=None)
@given(RANDOM, st.sampled_from([(), (2,), (2, 3)]), st.integers(1, 5), st.integers(1, 4))
def test_linear(rng: np.random.Generator, lead: tuple[int, ...], k: int, out: int) -> None:
    x, w = bytes_of(rng, *lead, k), rng.integers(-127, 128, (out, k)).astype(np.int8)
    b = rng.integers(-5000, 5000, out).astype(np.int32)
    requant = some_requant(rng, out, k * 127 * 100)
    came = run("q_linear", [x, w, b], 2, x_zero=9, requant=requant)
    acc = np.zeros((*lead, out), np.int64)
    for *at, o in np.ndindex(*acc.shape):
        row = x[tuple(at)].tolist()
        products = ((p - 9) * q for p, q in zip(row, w[o].tolist(), strict=True))
        acc[(*at, o)] = sum(products) + int(b[o])
    assert (came == requantize(acc, requant, axis=len(lead))).all()


@pytest.mark.parametrize(
    ("left", "right"), [((2, 3), (3, 4)), ((2, 2, 3), (3, 4)), ((2, 1, 2, 3), (3, 3, 1))]
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a, b = bytes_of(rng, *left), bytes_of(rng, *right)
    requant = some_requant(rng, 1, 3 * 100 * 100)
    exact = (a.astype(object) - 5) @ (b.astype(object) - 250)
    came = run("q_matmul", [a, b], a_zero=5, b_zero=250, requant=requant)
    assert (came == requantize(exact.astype(np.int64), requant)).all()


@settings(deadline=None)
@given(RANDOM, st.integers(-32767, 32767), st.integers(-32767, 32767), st.integers(1, 30))
def test_add(rng: np.random.Generator, ma: int, mb: int, shift: int) -> None:
    a, b = bytes_of(rng, 2, 1, 4), bytes_of(rng, 3, 1)
    attrs = {"a_zero": 4, "b_zero": 200, "a_mult": ma, "b_mult": mb, "shift": shift}
    came = run("q_add", [a, b], **attrs, zero_point=77, low=10, high=240)
    for i, j, k in np.ndindex(2, 3, 4):
        total = (int(a[i, 0, k]) - 4) * ma + (int(b[j, 0]) - 200) * mb + (1 << (shift - 1))
        assert -(1 << 31) <= total < 1 << 31
        assert came[i, j, k] == min(max((total >> shift) + 77, 10), 240)


def test_mul() -> None:
    rng = np.random.default_rng(1)
    a, b = bytes_of(rng, 2, 3, 4), bytes_of(rng, 1, 3, 1)
    requant = some_requant(rng, 1, 255 * 100)
    exact = (a.astype(np.int64) - 11) * (b.astype(np.int64) - 130)
    came = run("q_mul", [a, b], a_zero=11, b_zero=130, requant=requant)
    assert (came == requantize(exact, requant)).all()


def slow_windows(x: Array, attrs: dict[str, Any], dilation: tuple[int, int]) -> Array:
    """The list of the real (unpadded) values of each window, as an object array."""
    (kh, kw), (sh, sw), (dh, dw) = attrs["kernel"], attrs["stride"], dilation
    (top, bottom), (left, right) = attrs["padding"]
    n, c, h, w = x.shape
    oh = (h + top + bottom - (kh - 1) * dh - 1) // sh + 1
    ow = (w + left + right - (kw - 1) * dw - 1) // sw + 1
    found = np.empty((n, c, oh, ow), object)
    for image, channel, i, j in np.ndindex(*found.shape):
        rows = [i * sh - top + p * dh for p in range(kh)]
        columns = [j * sw - left + q * dw for q in range(kw)]
        found[image, channel, i, j] = [
            int(x[image, channel, r, s]) for r in rows for s in columns if 0 <= r < h and 0 <= s < w
        ]
    return found


POOLS = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(2, 3), st.integers(2, 3)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.tuples(*[st.tuples(st.integers(0, 1), st.integers(0, 1))] * 2),
    }
)


@settings(max_examples=30, deadline=None)
@given(POOLS, RANDOM)
def test_avg_pool2d(attrs: dict[str, Any], rng: np.random.Generator) -> None:
    x, requant = bytes_of(rng, 2, 2, 6, 7), some_requant(rng, 1, 9 * 100)
    came = run("q_avg_pool2d", [x], **attrs, x_zero=50, requant=requant)
    sums = np.vectorize(lambda values: sum(v - 50 for v in values), otypes=[np.int64])
    assert (came == requantize(sums(slow_windows(x, attrs, (1, 1))), requant)).all()


@settings(max_examples=30, deadline=None)
@given(POOLS, st.tuples(st.integers(1, 2), st.integers(1, 2)), RANDOM)
def test_max_pool2d(
    attrs: dict[str, Any], dilation: tuple[int, int], rng: np.random.Generator
) -> None:
    x = bytes_of(rng, 2, 2, 6, 7)
    came = run("max_pool2d", [x], **attrs, dilation=dilation)
    largest = np.vectorize(lambda values: max(values, default=0), otypes=[np.int64])
    assert (came == largest(slow_windows(x, attrs, dilation))).all()


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("axes", [(2, 3), (1,), (0, 2)])
def test_mean(axes: tuple[int, ...], keepdim: bool) -> None:
    rng = np.random.default_rng(2)
    x, requant = bytes_of(rng, 2, 3, 4, 5), some_requant(rng, 1, 20 * 100)
    exact = (x.astype(object) - 60).sum(axis=axes, keepdims=keepdim).astype(np.int64)
    came = run("q_mean", [x], axes=axes, keepdim=keepdim, x_zero=60, requant=requant)
    assert (came == requantize(exact, requant)).all()


def test_lookup() -> None:
    rng = np.random.default_rng(3)
    x, table = bytes_of(rng, 3, 5), rng.permutation(256).astype(np.uint8)
    came = run("lookup", [x, table], 1)
    assert came.tolist() == [[int(table[v]) for v in row] for row in x.tolist()]


def restoring_division(total: int) -> int:
    """floor(2**30 / total), bit by bit, as the operator's table states it."""
    remainder, quotient = 1 << 30, 0
    for k in range(15, -1, -1):
        if remainder >> k >= total:
            remainder -= total << k
            quotient += 1 << k
    return quotient


@settings(max_examples=30, deadline=None)
@given(RANDOM, st.floats(1e-4, 2.0), st.sampled_from([0, 1, 2]), st.integers(15, 22))
def test_softmax(rng: np.random.Generator, scale: float, axis: int, shift: int) -> None:
    x = bytes_of(rng, 3, 4, 5)
    table = np.array([round(math.exp(-d * scale) * 2**15) for d in range(256)], np.int32)
    came = run("q_softmax", [x, table], 1, axis=axis, shift=shift)
    rows, results = (np.moveaxis(t, axis, -1).reshape(-1, x.shape[axis]) for t in (x, came))
    for row, result in zip(rows.tolist(), results.tolist(), strict=True):
        e = [int(table[max(row) - v]) for v in row]
        reciprocal = restoring_division(sum(e))
        assert result == [min((v * reciprocal + 2 ** (shift - 1)) >> shift, 255) for v in e]
        exact = np.exp(-scale * (max(row) - np.array(row)))
        steps = np.minimum(2 ** (30 - shift) * exact / exact.sum(), 255)
        assert np.abs(np.array(result) - steps).max() <= 1 + 2 ** (15 - shift)


@given(st.integers(1 << 15, (1 << 31) - 1))
def test_softmax_reciprocal_bit_by_bit_is_the_floor(total: int) -> None:
    assert restoring_division(total) == (1 << 30) // total <= 1 << 15


def test_softmax_of_the_longest_axis_does_not_overflow() -> None:
    table = np.full(256, 1 << 15, np.int32)
    for shift in (15, 22):
        came = run("q_softmax", [np.zeros((1, 65535), np.uint8), table], 1, axis=1, shift=shift)
        assert came.max() == 0


def test_data_movement() -> None:
    x, y = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.zeros((2, 1, 4), np.uint8)
    assert (run("cat", [x, y, x], axis=1) == np.concatenate([x, y, x], 1)).all()
    padded = run("pad", [x], padding=((0, 0), (1, 2), (0, 3)), value=9)
    assert padded.shape == (2, 6, 7) and padded[0, 0, 0] == 9 and (padded[:, 1:4, :4] == x).all()
    assert (run("slice", [x], axis=2, start=1, stop=4, step=2) == x[:, :, 1:4:2]).all()
    assert (run("reshape", [x], shape=(6, 4)) == x.reshape(6, 4)).all()
    assert (run("permute", [x], axes=(2, 0, 1)) == x.transpose(2, 0, 1)).all()
    assert (run("expand", [y], shape=(5, 2, 3, 4)) == np.broadcast_to(y, (5, 2, 3, 4))).all()
    came = run("move", [x], shape=(4, 1, 6), extents=(4, 3, 2), strides=(0, 4, 2), offset=13)
    assert (came == np.broadcast_to(x.reshape(-1)[13:][[0, 2, 4, 6, 8, 10]], (4, 1, 6))).all()


def test_macs() -> None:
    attrs: dict[str, Any] = {
        "stride": (2, 2), "dilation": (1, 1), "padding": ((1, 1), (1, 1)), "groups": 2
    }  # fmt: skip
    w, b = np.zeros((6, 2, 3, 3), np.int8), np.zeros(6, np.int32)
    x = np.zeros((1, 4, 8, 8), np.uint8)
    requant = Requant((1 << 30,), 40, 0)
    conv = graph_of("q_conv2d", [x, w, b], 2, **attrs, x_zero=0, requant=requant)
    assert macs(conv, conv.nodes[0]) == 6 * 2 * (2 + 3 + 3 + 3) ** 2  # rows and columns in data
    table = graph_of("lookup", [x, np.zeros(256, np.uint8)], 1)
    assert macs(table, table.nodes[0]) == 0
