"""Nodes that become one kernel: which, with what meaning, and that all code gives its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from dovetail.driver.prepare import ready
from dovetail.driver.spelled import read, spelled
from dovetail.graph.attributes import integer, requant_of
from dovetail.graph.evaluate import evaluate, evaluate_node
from dovetail.graph.fuse import apart, fuse
from dovetail.graph.graph import Array, Graph, Node, Requant
from dovetail.graph.operators.group import grouped, nodes_of
from dovetail.graph.requantize import WIDE
from dovetail.graph.settle import settle
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize
from dovetail.target.dsp.target import dsp
from tests.schedule.operators import conv2d, hold

Note = Callable[[str, object], None]


class Residual(nn.Module):
    """What a layer makes of ``first(x)``, plus ``first(x)``, and what else is made of it."""

    def __init__(self, layer: nn.Module, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.layer, self.behind = nn.ReLU(), layer, behind or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        made: torch.Tensor = self.behind(x + self.layer(x)) * 0.5 - x
        return made


class Chain(nn.Module):
    """Sums and products of three tensors."""

    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return ((x + y) * z) + x


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quantized(module: nn.Module, *shapes: tuple[int, ...]) -> tuple[Graph, list[Array]]:
    """The settled integer graph of a module, and bytes for its inputs."""
    inputs = tuple(torch.randn(*shape, generator=seeded(n)) for n, shape in enumerate(shapes))
    graph = settle(quantize(import_model(module.eval(), inputs), [[x.numpy() for x in inputs]]))
    rng = np.random.default_rng(0)
    return graph, [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]


def conv(inputs: int, outputs: int, *window: int) -> nn.Module:
    torch.manual_seed(0)
    return conv2d(inputs, outputs, *window)


LAYERS = {
    "dense": (conv(32, 32, 3, 1, 1), (1, 32, 9, 11)),
    "points": (conv(40, 40, 1), (2, 40, 7, 8)),
    "some": (conv(24, 24, 5, 1, 2), (1, 24, 12, 12)),
    "wide": (conv(160, 160, 3, 1, 1), (1, 160, 5, 6)),
    "depthwise": (conv(96, 96, 3, 1, 1, 1, 96), (1, 96, 8, 10)),
    "grouped": (conv(64, 64, 3, 1, 1, 1, 4), (1, 64, 6, 7)),
    "linear": (nn.Linear(72, 72), (1, 19, 72)),
    "row": (nn.Linear(128, 128), (3, 128)),
}


def groups_of(graph: Graph) -> list[list[str]]:
    return [[part.op for part in nodes_of(node)] for node in graph.nodes]


def exact(graph: Graph, sums: Node, added: Node, tensors: Mapping[str, Array]) -> Array:
    """What a sum of products and what is added to it are, in steps of the result, unrounded."""
    plain = Requant((1 << 30,), 30, 0, mode=WIDE)  # the sums as they are
    total = evaluate_node(graph, replace(sums, attrs={**sums.attrs, "requant": plain}), tensors)
    requant, own = requant_of(sums), "a" if added.inputs[0] == sums.output else "b"
    other = "b" if own == "a" else "a"
    names = {f"{side}_{what}": integer(added, f"{side}_{what}")
             for side in "ab" for what in ("zero", "mult")}  # fmt: skip
    by = np.array(requant.multiplier, float) * names[f"{own}_mult"] * 2.0**-requant.shift
    axis = 1 if total.ndim == 4 else total.ndim - 1
    scaled = total * by.reshape([-1 if k == axis else 1 for k in range(total.ndim)])
    reads = tensors[added.inputs["ab".index(other)]].astype(float)
    scaled += (reads - names[f"{other}_zero"]) * names[f"{other}_mult"]
    return np.asarray(scaled * 2.0 ** -integer(added, "shift") + integer(added, "zero_point"))


@pytest.mark.parametrize("name", LAYERS)
def test_a_residual_is_rounded_once_with_its_sums(name: str) -> None:
    """Its bytes are the exact numbers, rounded: but for what lies near the middle of two."""
    layer, shape = LAYERS[name]
    graph, given = quantized(Residual(layer, nn.ReLU()), shape)
    group = next(n for n in fuse(graph, once=True).nodes if len(nodes_of(n)) > 1)
    parts = nodes_of(group)
    assert parts[1].op == "q_add_wide"
    made = {node.output: node for node in graph.nodes}
    tensors: dict[str, Array] = {}
    evaluate(graph, given, lambda name, array: tensors.update({name: array}))
    real = exact(graph, made[parts[0].output], made[parts[1].output], tensors)
    low, high = (integer(parts[1], end) for end in ("low", "high"))
    got = evaluate_node(graph, grouped(parts[:2]), tensors).astype(int)
    assert (np.abs(got - np.clip(real, low, high)) <= 0.54).all()


@pytest.mark.parametrize("name", LAYERS)
def test_rounded_twice_a_residual_stays_by_itself(name: str) -> None:
    layer, shape = LAYERS[name]
    graph, given = quantized(Residual(layer), shape)
    made = fuse(graph, once=False)
    want, got = evaluate(graph, given), evaluate(made, given)
    assert all(map(np.array_equal, want, got))
    assert any("as the recipe says" in why for why in apart(made, once=False).values())


def test_a_chain_is_one_kernel_of_the_same_bytes() -> None:
    graph, given = quantized(Chain(), *[(1, 24, 5, 7)] * 3)
    made = fuse(graph, once=True)
    assert groups_of(made) == [["q_add", "q_mul", "q_add"]]
    assert np.array_equal(evaluate(graph, given)[0], evaluate(made, given)[0])


@pytest.mark.exact
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", [*LAYERS, "chain"])
def test_groups_give_their_bytes_at_any_point(
    name: str, threads: int, exact: bool, record_property: Note
) -> None:
    if name == "chain":
        graph, _ = quantized(Chain(), *[(1, 24, 5, 7)] * 3)
    else:
        layer, shape = LAYERS[name]
        graph, _ = quantized(Residual(layer, nn.ReLU()), shape)
    found = ready(fuse(graph, once=True), dsp(threads=threads))
    tasks = [task for task in found.kernels if len(nodes_of(task.node)) > 1]
    assert tasks
    rng = Random(len(name))
    for task in tasks:
        hold(task, [task.default, *(task.space.sample(rng) for _ in range(20 if exact else 2))])
    record_property("slice", f"groups {name}, {threads} threads: seed {len(name)}")


def reasons(module: nn.Module, *shapes: tuple[int, ...]) -> list[str]:
    graph, _ = quantized(module, *shapes)
    return [*apart(fuse(graph, once=True), once=True).values()]


def test_what_others_read_is_no_part_of_a_group() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv(16, 16, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.layer(x)
            return x + y, torch.nn.functional.max_pool2d(y, 2)

    (why,) = reasons(Twice(), (1, 16, 6, 6))
    assert "more than one reader" in why and "no result of a kernel" in why


def test_what_is_clamped_is_rounded_before() -> None:
    class Clamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv(32, 32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = x + torch.nn.functional.relu6(self.layer(x))
            return made

    (why,) = reasons(Clamped(), (1, 32, 6, 6))
    assert "clamped before the sum" in why


def test_operands_that_repeat_are_no_part_of_a_group() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv(16, 16, 1)

        def forward(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.layer(x) + g
            return made

    (why,) = reasons(Gate(), (1, 16, 6, 6), (1, 16, 1, 1))
    assert "do not lie alike" in why


def test_few_channels_are_no_lanes() -> None:
    (why,) = reasons(Residual(conv(3, 3, 3, 1, 1)), (1, 3, 8, 8))
    assert "few channels" in why


def test_a_group_is_saved_and_read() -> None:
    layer, shape = LAYERS["dense"]
    graph, given = quantized(Residual(layer), shape)
    made = fuse(graph, once=True)
    again = read(spelled(made), made.constants)
    assert again.nodes == made.nodes
    assert np.array_equal(evaluate(made, given)[0], evaluate(again, given)[0])
