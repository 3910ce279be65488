"""PyTorch's own samples of its operators as models: each is right, or refused in a sentence.

for sample in samples(supported()[0], 24):
    sample.name, sample.module, sample.inputs      # nn.functional.relu[0], a module, its tensors
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from dovetail.driver.errors import user_errors
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Affine, Array, Graph
from dovetail.graph.operators import ATEN
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import affine_of, dequantize_array, dequantize_outputs, quantize_inputs
from dovetail.quant.quantize import quantize

LEAST = 10**2.5  # signal over noise: 25 dB


class Part(nn.Module):
    """An operator called with a sample's arguments, some of which are inputs."""

    def __init__(self, operator: Any, sample: Any, places: Sequence[int]) -> None:
        super().__init__()
        self.operator, self.places = operator, places
        self.leaves, self.form = _pytree.tree_flatten((sample.input, sample.args, sample.kwargs))

    def forward(self, *inputs: Tensor) -> Any:
        leaves = list(self.leaves)
        for place, value in zip(self.places, inputs, strict=True):
            leaves[place] = value
        first, rest, named = _pytree.tree_unflatten(leaves, self.form)
        return self.operator(first, *rest, **named)


@dataclass(frozen=True, slots=True)
class Sample:
    """An operator's call; the tensors of the first argument are inputs, or all tensors are."""

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]


@cache
def operators() -> tuple[list[Any], list[Any]]:
    """OpInfo's operators on float32: those with a lowering of their name, and all others."""
    from torch.testing._internal.common_methods_invocations import op_db

    lowered = {name.split(".")[0].lstrip("_") for name in ATEN}
    every = [op for op in op_db if torch.float32 in op.dtypes]
    ours = [op for op in every if lowered & _names(op)]
    return ours, [op for op in every if not lowered & _names(op)]


def _names(op: Any) -> set[str]:
    other = [alias.name for alias in op.aliases]
    return {name.split(".")[-1].lstrip("_") for name in (op.name, op.aten_name or "", *other)}


def samples(op: Any, most: int) -> Iterator[Sample]:
    """At most so many of an operator's samples, the same each time."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # the samples come from all three
    found = list(op.sample_inputs("cpu", torch.float32))
    label = f"{op.name}.{op.variant_test_name}".removesuffix(".")
    for index in range(0, len(found), max(1, -(-len(found) // most))):
        for kind, places in _places(found[index]).items():
            part = Part(op.op, found[index], places)
            inputs = tuple(part.leaves[place].detach().clone() for place in places)
            yield Sample(f"{label}[{index}]{kind}", part.eval(), inputs)


def _places(sample: Any) -> dict[str, tuple[int, ...]]:
    """Which tensors are inputs: those of the first argument, or all of them."""
    leaves = _pytree.tree_leaves((sample.input, sample.args, sample.kwargs))
    floats = [place for place, leaf in enumerate(leaves) if _is_float(leaf)]
    count = len(_pytree.tree_leaves(sample.input))
    first = tuple(place for place in floats if place < count)
    ways = {"": first} | ({" of all": tuple(floats)} if len(floats) > len(first) else {})
    return {kind: places for kind, places in ways.items() if places}


def _is_float(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.dtype == torch.float32 and leaf.layout == torch.strided


def held(sample: Sample) -> Graph | str | None:
    """The integer graph of a sample, its exact evaluation near PyTorch's values for its inputs, or,
    where an operator is steep, for these as they are rounded to u8; or a refusal.

    None where PyTorch itself cannot run the sample on this machine.
    """
    try:
        wanted = _values(sample, sample.inputs)
    except Exception:
        return None
    arrays = [x.numpy() for x in sample.inputs]
    try:
        graph = quantize(import_model(sample.module, sample.inputs), [arrays])
    except user_errors() as error:
        assert "\n" not in str(error), sample.name
        return str(error)
    except Exception as error:
        raise AssertionError(f"{sample.name}: {type(error).__name__}: {error}") from error
    given = quantize_inputs(graph, arrays)
    found = dequantize_outputs(graph, evaluate(graph, given))
    if not _all_near(found, wanted, graph):
        rounded = [dequantize_array(x, affine_of(graph, name))
                   for name, x in zip(graph.inputs, given, strict=True)]  # fmt: skip
        values = _values(sample, tuple(map(torch.from_numpy, rounded)))
        wanted = [
            torch.from_numpy(_held(x.numpy(), got, affine_of(graph, name)))
            for name, got, x in zip(graph.outputs, found, values, strict=True)
        ]
        assert _all_near(found, wanted, graph), sample.name
    return graph


def _held(values: Array, got: Array, of: Affine) -> Array:
    """Reals within what a map can say: rounded inputs may lie beyond all that was seen, and where
    an operator has no value any will do."""
    ends = dequantize_array(np.array([0, 255], np.uint8), of)
    return np.where(np.isnan(values), got, np.clip(values, *ends))


def _values(sample: Sample, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The tensors that PyTorch gives."""
    with torch.no_grad():
        found = _pytree.tree_leaves(sample.module(*(x.clone() for x in inputs)))
    return [x for x in found if isinstance(x, Tensor)]


def _all_near(found: Sequence[Array], wanted: Sequence[Tensor], graph: Graph) -> bool:
    pairs = zip(graph.outputs, found, wanted, strict=True)
    return all(
        got.shape == tuple(want.shape) and _near(got, want.numpy(), graph, name)
        for name, got, want in pairs
    )


def _near(got: Array, want: Array, graph: Graph, name: str) -> bool:
    """Within two steps of the output, or with little noise for its power."""
    affine = graph.types[name].affine
    assert affine is not None
    error = got.astype(np.float64) - want
    few = np.abs(error).max(initial=0.0) <= 2 * affine.scale
    return bool(few or (want.astype(np.float64) ** 2).sum() >= LEAST * (error**2).sum())
