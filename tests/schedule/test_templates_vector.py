"""Templates of pooling, pointwise operators, tables, means and moves: bytes and packets."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from random import Random

import pytest
import torch
from torch.nn import functional as F

from dovetail.target.dsp.target import dsp
from dovetail.tuner.task import OK
from tests.schedule.operators import Case

Note = Callable[[str, object], None]


def pooled(kind: str, shape: tuple[int, ...], *window: int) -> Case:
    """Maximum or average pooling by kernel, stride, padding and dilation."""
    kernel, stride, padding, dilation = (*window, *(1, 1, 0, 1)[len(window) :])
    if kind == "avg":
        return Case("reduction", lambda x: F.avg_pool2d(x, kernel, stride, padding), (shape,))
    return Case("reduction", lambda x: F.max_pool2d(x, kernel, stride, padding, dilation), (shape,))


def mean(shape: tuple[int, ...], *axes: int) -> Case:
    return Case("reduction", lambda x: x.mean(axes), (shape,))


def averaged(shape: tuple[int, ...], rows: int | None, columns: int | None) -> Case:
    return Case("reduction", lambda x: F.adaptive_avg_pool2d(x, (rows, columns)), (shape,))


def joined(axis: int, *shapes: tuple[int, ...]) -> Case:
    return Case("lanes", lambda *x: torch.cat(x, axis), shapes, "cat")


def moved(function: Callable[..., torch.Tensor], *shape: int) -> Case:
    return Case("lanes", function, (shape,))


def added(*shapes: tuple[int, ...], template: str = "lanes") -> Case:
    return Case(template, lambda a, b: a + b, shapes, "q_add")


def multiplied(*shapes: tuple[int, ...], template: str = "lanes") -> Case:
    return Case(template, lambda a, b: a * b, shapes, "q_mul")


CASES = {
    "max_padded": pooled("max", (1, 64, 14, 14), 3, 2, 1),
    "max_halving": pooled("max", (1, 64, 12, 12), 2, 2),
    "max_wide": pooled("max", (1, 256, 9, 7), 3, 2, 1),
    "max_same": pooled("max", (2, 29, 13, 13), 3, 1, 1),
    "max_stride_three": pooled("max", (3, 13, 16, 23), 3, 3),
    "max_four_channels": pooled("max", (1, 3, 16, 18), 2, 2),
    "max_dilated": pooled("max", (1, 64, 13, 11), 3, 2, 1, 2),
    "max_one_pixel": pooled("max", (1, 64, 2, 2), 2, 2),
    "avg_halving": pooled("avg", (1, 64, 12, 12), 2, 2),
    "avg_padded": pooled("avg", (1, 32, 13, 13), 3, 2, 1),
    "avg_sliding": pooled("avg", (2, 128, 7, 7), 3, 1),
    "avg_images": pooled("avg", (3, 64, 9, 8), 3, 1, 1),
    "avg_of_three": pooled("avg", (1, 3, 54, 40), 5, 1, 2),  # rows of pads are no whole registers
    "avg_whole": pooled("avg", (1, 64, 8, 8), 8, 8),
    "mean_wide": mean((1, 512, 7, 7), 2, 3),
    "mean_odd": mean((3, 29, 13, 9), 2, 3),
    "mean_few": mean((1, 3, 17, 23), 2, 3),
    "mean_long": mean((2, 200, 18, 75), 2, 3),
    "mean_of_columns": averaged((1, 32, 12, 32), None, 1),
    "mean_of_few_columns": averaged((2, 13, 9, 24), None, 1),
    "mean_of_rows": averaged((1, 29, 12, 9), 1, None),
    "mean_of_tokens": mean((3, 19, 40), 1),
    "mean_of_many_tokens": mean((2, 320, 96), 1),
    "mean_of_prime_tokens": mean((1, 331, 128), 1),
    "mean_of_all": Case("folds", lambda x: x.mean((1, 2, 3)), ((1, 320, 9, 5),)),
    "add": added((1, 29, 7, 11), (1, 29, 7, 11)),
    "add_vector": added((13,), (13,)),
    "add_clamped": Case("lanes", lambda a, b: F.relu6(a + b), ((2, 64, 5, 5),) * 2, "q_add"),
    "subtract": Case("lanes", lambda a, b: a - b, ((2, 5, 200),) * 2, "q_add"),
    "multiply": multiplied((1, 128, 6, 5), (1, 128, 6, 5)),
    "add_channels": added((2, 13, 5, 7), (2, 13, 1, 1), template="lanes"),
    "add_row": added((2, 5, 140), (140,), template="lanes"),
    "add_number": added((1, 64, 9, 9), (1,), template="lanes"),
    "multiply_channels": multiplied((1, 64, 8, 9), (1, 64, 1, 1), template="lanes"),
    "multiply_pixels": multiplied((1, 128, 9, 9), (1, 1, 9, 9), template="lanes"),
    "multiply_outer": multiplied((1, 32, 7, 1), (1, 32, 1, 9), template="lanes"),
    "sigmoid": Case("lanes", torch.sigmoid, ((1, 29, 7, 11),)),
    "gelu": Case("lanes", F.gelu, ((2, 5, 200),)),
    "cat_channels": joined(1, (1, 13, 5, 7), (1, 29, 5, 7)),
    "cat_wide": joined(1, (1, 128, 5, 7), (1, 64, 5, 7)),
    "cat_rows": joined(2, (1, 64, 5, 7), (1, 64, 3, 7)),
    "cat_columns": joined(3, (2, 64, 5, 7), (2, 64, 5, 4)),
    "pad": moved(lambda x: F.pad(x, (1, 2, 1, 0)), 1, 29, 7, 9),
    "pad_wide": moved(lambda x: F.pad(x, (1, 1, 1, 1), value=0.5), 2, 128, 5, 6),
    "slice_channels": moved(lambda x: x[:, 4:40], 1, 64, 5, 6),
    "slice_rows": moved(lambda x: x[:, :, 2:5], 1, 64, 7, 6),
    "slice_strided": moved(lambda x: x[:, :, ::2, 1::3], 1, 64, 7, 9),
    "transpose": moved(lambda x: x.permute(0, 1, 3, 2).contiguous(), 1, 64, 5, 6),
    "tokens": moved(lambda x: x.permute(0, 2, 1).contiguous(), 2, 7, 40),
    "heads": moved(lambda x: x.permute(0, 2, 1, 3).contiguous(), 1, 16, 18, 20),
    "heads_padded": moved(lambda x: x.permute(0, 2, 1, 3).contiguous(), 1, 12, 14, 30),
    "columns_first": moved(lambda x: x.permute(0, 3, 1, 2).contiguous(), 1, 20, 14, 14),
    "flatten": moved(lambda x: x.flatten(1), 1, 64, 3, 3),
    "close_rows": moved(lambda x: x.reshape(1, 328, 1, 30), 1, 8, 41, 30),
    "close_rows_of_images": moved(lambda x: x.reshape(2, 24 * 33, 1, 7), 2, 24, 33, 7),
    "reshape": moved(lambda x: x.reshape(1, 8, 10, 9), 1, 16, 9, 5),
}


def softmax(axis: int, *shape: int, sharpness: float = 4) -> Case:
    return Case("folds", lambda x: torch.softmax(sharpness * x, axis), (shape,), "q_softmax")


CASES |= {
    "softmax_classes": softmax(1, 2, 300),
    "softmax_diffuse": softmax(2, 1, 3, 600, sharpness=0.3),
    "softmax_tokens": softmax(2, 2, 3, 128),
    "softmax_odd_tokens": softmax(2, 3, 49, 49),
    "softmax_long_tokens": softmax(2, 2, 197, 197),
    "softmax_few_classes": softmax(1, 49, 10),
    "softmax_one_row": softmax(0, 37),
    "softmax_heads": softmax(3, 1, 5, 6, 11),
    "softmax_many_heads": softmax(3, 1, 130, 3, 5),
    "softmax_few_heads": softmax(3, 1, 4, 17, 49),
    "softmax_rows": softmax(2, 1, 29, 7, 8),
    "softmax_columns": softmax(0, 30, 140),
    "softmax_channels": softmax(1, 1, 21, 9, 8),
    "softmax_three_channels": softmax(1, 2, 3, 5, 7),
}


@pytest.mark.exact
@pytest.mark.parametrize("name", CASES)
def test_points_give_the_operators_bytes(name: str, exact: bool, record_property: Note) -> None:
    points = CASES[name].checked(50 if exact else 2, len(name))
    record_property("slice", f"{name}: {len(points)} points, seed {len(name)}")


@pytest.mark.parametrize(
    "name", ["max_padded", "avg_halving", "mean_odd", "add", "cat_wide", "cat_rows"]
)
def test_operands_in_ddr(name: str) -> None:
    CASES[name].checked(2, 1, dsp(tcm=24 << 10), "ddr")


def test_images_of_the_input_come_one_by_one() -> None:
    """Rows of the padded copy are read by numbers that count through all images."""
    CASES["avg_images"].checked(12, 1, scope="ddr")


@pytest.mark.exact
def test_softmax_of_any_shape_along_any_axis(exact: bool) -> None:
    """No shape is left to scalar code, and none is wrong."""
    rng = Random(7)
    for _ in range(200 if exact else 3):
        rank = rng.randint(1, 4)
        shape = [rng.choice((1, 2, 3, 5, 10, 17, 31, 49, 64, 130)) for _ in range(rank)]
        axis = rng.randrange(rank)
        shape[axis] = rng.choice((1, 2, 7, 10, 49, 128, 197, 300))
        if prod(shape) <= 60_000:
            softmax(axis, *shape).checked(1, rng.randrange(99), dsp(threads=rng.randint(1, 4)))


@pytest.mark.parametrize("seed", range(3))
def test_permutes_of_any_shape_along_all_axes(seed: int, exact: bool) -> None:
    """Long axes or short ones, with rows that fill vectors or lie close: the default has code, and
    no point that has is wrong."""
    rng = Random(seed)
    for _ in range(40 if exact else 2):
        shape = [1, *(rng.choice((5, 8, 12, 14, 16, 17, 20, 33, 49, 64)) for _ in range(3))]
        axes = [1, 2, 3]
        while axes == sorted(axes):
            rng.shuffle(axes)
        case = moved(lambda x, axes=(0, *axes): x.permute(axes).contiguous(), *shape)
        task = case.task(dsp(), rng.choice(("tcm", "ddr")))
        assert task.measure(task.default).status == OK
        for point in (task.default, *(task.space.sample(rng) for _ in range(3))):
            if task.measure(point).status == OK:
                assert task.check(point) == (True, ""), (shape, axes, point)


def test_axes_that_change_places_around_another_are_turned_in_registers() -> None:
    """Rows of 50 bytes, each read from 50 places: byte by byte it takes 9,098 cycles."""
    case = moved(lambda x: x.permute(0, 2, 1, 3).contiguous(), 1, 16, 50, 32)
    task = case.task(dsp(), "ddr")
    assert task.compiled(task.default).cost.cycles < 4_000


def test_softmax_is_as_fast_in_three_dimensions_as_in_four() -> None:
    three, four = (
        case.task(dsp(), "ddr") for case in (softmax(2, 4, 64, 64), softmax(3, 1, 4, 64, 64))
    )
    cycles = [task.measure(task.default).cycles for task in (three, four)]
    assert cycles[0] is not None and cycles[0] <= 3_000
    assert cycles[1] is not None and cycles[1] <= 1.5 * cycles[0]


BOUNDS = {
    # 22 pipe slots a vector of 128 sums: 5.5 packets; HVX.md section 9 has 7,075 for Halide
    "add": (added((1, 128, 28, 28), (1, 128, 28, 28)), 784 * 5.6),
    # 8 look-ups a vector
    "table": (Case("lanes", torch.sigmoid, ((1, 128, 28, 28),)), 784 * 8.3),
    # 4,216 for Halide
    "max_pool": (pooled("max", (1, 64, 56, 56), 3, 2, 1), 2_250),
    # 343 for Halide
    "mean": (mean((1, 512, 7, 7), 2, 3), 343),
    # 32 rows of 8 registers, whose bytes are added in halfwords
    "mean_of_columns": (averaged((1, 32, 32, 32), None, 1), 1_100),
    # 16 look-ups a row, 8,049 for Halide
    "softmax": (softmax(1, 128, 128), 4_000),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_packets_of_one_thread(name: str) -> None:
    case, bound = BOUNDS[name]
    task = case.task(dsp(threads=1))
    assert task.compiled(task.default).cost.packets < bound


@pytest.mark.parametrize(
    "name", ["max_padded", "max_wide", "avg_sliding", "mean_odd", "add", "sigmoid", "cat_columns"]
)
def test_the_default_is_near_the_best(name: str) -> None:
    task = CASES[name].task()
    cycles = [task.measure(point).cycles for point in task.space]
    default = task.measure(task.default).cycles
    assert default is not None
    assert default <= 1.2 * min(c for c in cycles if c is not None)
