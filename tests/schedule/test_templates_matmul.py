"""Products of two activations by vector: bytes of random points, packets of the written shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.kernel_task import KernelTask
from dovetail.graph.graph import Graph
from dovetail.graph.kernels import place
from dovetail.graph.lower import lower
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize
from dovetail.schedule.templates.folds import products
from dovetail.target.dsp.target import Dsp, dsp
from tests.schedule.operators import checked

Note = Callable[[str, object], None]
Shape = tuple[int, ...]


class Product(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.matmul(a, b)


def task_of(a: Shape, b: Shape, machine: Dsp | None = None, scope: str = "tcm") -> KernelTask:
    """The kernel of a product, the activations placed in ``scope``."""
    made = torch.Generator().manual_seed(0)
    inputs = torch.randn(a, generator=made), torch.rand(b, generator=made) - 0.2
    graph = quantize(import_model(Product().eval(), inputs), [[x.numpy() for x in inputs]])
    node = next(n for n in graph.nodes if n.op == "q_matmul")
    kernel = lower(graph, node)
    kernel = replace(kernel, func=place(kernel.func, {"a": scope, "b": scope, "y": scope}))
    types = {name: graph.types[name] for name in [*node.inputs, node.output]}
    single = Graph(node.op, list(node.inputs), [node.output], [node], types, {})
    return KernelTask(kernel, single, machine or dsp())


CASES: dict[str, tuple[Shape, Shape]] = {
    "plain": ((64, 128), (128, 64)),
    "odd": ((3, 17, 29), (3, 29, 13)),
    "one_row": ((5, 40), (40, 50)),
    "four_heads": ((2, 4, 64, 32), (2, 4, 32, 64)),
    "three_heads": ((1, 3, 10, 20), (1, 3, 20, 9)),
    "eight_heads": ((1, 8, 10, 20), (1, 8, 20, 50)),
    "twelve_heads": ((1, 12, 21, 40), (1, 12, 40, 33)),
    "wide": ((2, 3, 130), (2, 130, 200)),
    "shared_right": ((3, 9, 24), (1, 24, 40)),
    "short": ((4, 49, 3), (4, 3, 49)),
    "two_words": ((4, 37, 5), (4, 5, 37)),
    "two_words_of_heads": ((1, 4, 20, 7), (1, 4, 7, 20)),
    "one_head": ((2, 1, 40, 32), (2, 1, 32, 64)),
    "long_head": ((2, 1, 40, 64), (2, 1, 64, 64)),
    "shared_head": ((1, 4, 20, 12), (1, 1, 12, 64)),
    "left_head": ((1, 1, 20, 72), (1, 4, 72, 64)),
    "many_and_one": ((1, 12, 20, 12), (1, 1, 12, 50)),
    "one_and_many": ((1, 1, 20, 72), (1, 12, 72, 50)),
    "sixteen_heads": ((1, 16, 9, 24), (1, 16, 24, 70)),
    "single": ((2, 40, 1), (2, 1, 64)),
    "masked": ((1, 8, 10, 21), (1, 8, 21, 50)),
    "rest": ((1, 4, 9, 100), (1, 4, 100, 33)),
    "tall": ((2, 2, 3, 7, 33), (2, 2, 3, 33, 65)),
}


@pytest.mark.exact
@pytest.mark.parametrize("name", CASES)
def test_points_give_the_operators_bytes(name: str, exact: bool, record_property: Note) -> None:
    count = 50 if exact else 3
    checked("folds", task_of(*CASES[name]), count, len(name))
    record_property("slice", f"matmul {name}: {count} points, seed {len(name)}")


@pytest.mark.parametrize("name", ["odd", "four_heads"])
def test_operands_in_ddr(name: str) -> None:
    checked("folds", task_of(*CASES[name], dsp(tcm=64 << 10), scope="ddr"), 2, 1)


@pytest.mark.parametrize("right", [(1, 2, 2, 1, 17), (3, 1, 1, 1, 17)])
def test_an_image_and_a_tensor_of_another_rank_are_left_to_other_templates(right: Shape) -> None:
    """They are stored in different orders, though they have as many rows and columns."""
    task = task_of((2, 2, 32, 1), right, dsp(threads=1))
    assert products(task.func, dsp(threads=1)) is None
    point = next(p for p in task.space if task.measure(p).status == "ok")
    assert task.check(point) == (True, "")


def test_many_heads_are_left_to_other_ways() -> None:
    assert products(task_of((1, 40, 4, 8), (1, 40, 8, 4)).func, dsp()) is None


def test_the_default_is_near_the_bound() -> None:
    """128 x 512 by 512 x 256: two products a packet, little beside them."""
    task = task_of((128, 512), (512, 256))
    cost = task.compiled(task.default).cost
    assert cost.cycles < 1.2 * task.bound
    assert cost.dots_per_packet > 1.8


@pytest.mark.parametrize("name", ["plain", "four_heads", "wide"])
def test_the_default_is_near_the_best(name: str) -> None:
    task, rng = task_of(*CASES[name]), Random(3)
    cycles = [task.measure(task.space.sample(rng)).cycles for _ in range(12)]
    default = task.measure(task.default).cycles
    assert default is not None
    assert default <= 1.3 * min(c for c in cycles if c is not None)
