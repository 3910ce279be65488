"""Grouped convolutions by vector: bytes of random points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.graph.graph import Graph
from dovetail.graph.kernels import place
from dovetail.graph.lower import lower
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize
from dovetail.schedule.templates.tight import Tight
from dovetail.target.dsp.target import Dsp, dsp
from tests.schedule.operators import hold, on_all

Note = Callable[[str, object], None]
Size = tuple[int, int, int, int, int]  # inputs, outputs, groups, rows, columns
Window = tuple[int, int, int, int]  # kernel, stride, padding, dilation

LANES, SCALARS, BOTH = {"groups"}, {"outputs"}, {"groups", "outputs", "parts"}
DENSE = {"outputs", "parts"}
CASES: dict[str, tuple[Size, Window, int]] = {
    "many": ((128, 128, 32, 14, 14), (3, 1, 1, 1), 1),
    "two": ((64, 64, 2, 9, 7), (3, 1, 1, 1), 1),
    "strided": ((128, 256, 2, 7, 9), (3, 2, 1, 1), 1),
    "three": ((96, 96, 3, 6, 13), (3, 1, 1, 1), 1),
    "small": ((256, 256, 32, 7, 7), (3, 1, 1, 1), 1),
    "batch": ((24, 96, 3, 10, 11), (3, 1, 1, 1), 2),
    "one_tap": ((64, 128, 4, 8, 8), (1, 1, 0, 1), 1),
    "deep": ((512, 512, 4, 5, 5), (3, 1, 1, 1), 1),
    "dilated": ((128, 384, 2, 6, 6), (3, 1, 2, 2), 1),
    "thrice": ((64, 64, 2, 37, 53), (3, 3, 1, 1), 1),
    "wide": ((64, 512, 2, 6, 6), (3, 2, 1, 1), 1),
    "narrow": ((128, 32, 8, 7, 9), (3, 1, 1, 1), 1),
    "words": ((64, 64, 4, 9, 8), (3, 1, 1, 1), 1),
    "twice": ((32, 64, 32, 11, 10), (3, 1, 1, 1), 2),
    "fourfold": ((24, 96, 24, 9, 9), (3, 2, 1, 1), 1),
    "deeper": ((1024, 512, 2, 3, 5), (3, 1, 1, 1), 1),
    "triple": ((384, 384, 3, 5, 5), (1, 1, 0, 1), 1),
    "odd": ((36, 36, 3, 8, 8), (3, 1, 1, 1), 1),
}
WAYS = {
    "many": LANES, "two": BOTH, "strided": SCALARS, "three": BOTH, "small": LANES, "batch": BOTH,
    "one_tap": BOTH, "deep": SCALARS, "dilated": DENSE, "thrice": BOTH, "wide": SCALARS,
    "narrow": LANES, "words": LANES, "twice": LANES, "fourfold": LANES, "odd": DENSE,
    "deeper": SCALARS, "triple": SCALARS,
}  # fmt: skip


def task_of(name: str, machine: Dsp | None = None, scope: str = "tcm") -> KernelTask:
    """The kernel of a layer, the activations placed in ``scope``."""
    (inputs, outputs, groups, rows, columns), (kernel, stride, padding, dilation), images = CASES[
        name
    ]
    torch.manual_seed(outputs)
    layer = torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups)
    x = torch.randn(images, inputs, rows, columns)
    graph = quantize(import_model(layer.eval(), (x,)), [[x.numpy()]])
    node = next(n for n in graph.nodes if n.op == "q_conv2d")
    lowered = lower(graph, node)
    lowered = replace(lowered, func=place(lowered.func, {"x": scope, "y": scope}))
    data = [n for n in node.inputs if n not in graph.constants]
    types = {n: graph.types[n] for n in [*node.inputs, node.output]}
    constants = {n: graph.constants[n] for n in node.inputs if n in graph.constants}
    single = Graph(node.op, data, [node.output], [node], types, constants)
    return KernelTask(lowered, single, machine or dsp())


@pytest.mark.exact
@pytest.mark.parametrize("name", CASES)
def test_points_give_the_operators_bytes(name: str, exact: bool, record_property: Note) -> None:
    count, task, rng = 50 if exact else 3, task_of(name), Random(len(name))
    tight = isinstance(on_all(task), Tight)
    ways = set(task.space.knobs[1].values if tight else [task.template.name])
    assert ways == WAYS[name]
    hold(task, [task.space.sample(rng) for _ in range(count)])
    record_property("slice", f"grouped {name}: {count} points, seed {len(name)}")


def test_operands_in_ddr() -> None:
    task, rng = task_of("three", dsp(tcm=64 << 10), scope="ddr"), Random(1)
    hold(task, [task.space.sample(rng) for _ in range(2)])


@pytest.mark.parametrize("name", ["many", "strided"])
def test_the_default_is_near_the_best(name: str) -> None:
    task, rng = task_of(name), Random(3)
    cycles = [task.measure(task.space.sample(rng)).cycles for _ in range(12)]
    default = task.measure(task.default).cycles
    assert default is not None
    assert default <= 1.3 * min(c for c in cycles if c is not None)
