"""The builder that an importer writes a float graph through: fresh names, inferred shapes, origins.

A value is the name of a graph tensor, a torch tensor whose content is known (it becomes a constant
only where an operator reads it), a tuple of values, or None where nothing usable came out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from .errors import Unsupported, UnsupportedModel
from .float_graph import infer
from .graph import Graph, Node, TensorType

if TYPE_CHECKING:
    from torch import Tensor

Value: TypeAlias = Union[str, "Tensor", tuple["Value", ...], None]
Shape = tuple[int, ...]


class GraphBuilder:
    """Appends operators to ``graph``; ``base``, ``origin``, ``result`` are the current call's."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        self.base = ""
        self.origin = ""
        self.result: Shape = ()
        self.made: dict[str, Node] = {}  # by the tensor that each defines
        self.truths: set[str] = set()  # graph tensors of truth values
        # By id; each tensor is held, so that no other tensor gets its id.
        self._labels: dict[int, tuple[Tensor, str]] = {}
        self._entered: dict[int, tuple[Tensor, str]] = {}

    def label(self, tensor: Tensor, name: str) -> Tensor:
        """Give a known tensor the name that its constant shall have."""
        self._labels.setdefault(id(tensor), (tensor, name))
        return tensor

    def label_of(self, tensor: Tensor) -> str:
        """The name that the constant of a known tensor has or would have."""
        return self._labels.get(id(tensor), (tensor, f"{self.base}.constant"))[1]

    def shape(self, value: Value) -> Shape:
        """The shape of a graph tensor or of a known tensor."""
        if isinstance(value, str):
            return self.graph.types[value].shape
        if value is None or isinstance(value, tuple):
            raise Unsupported("a tensor is missing")
        return tuple(value.shape)

    def tensor(self, value: Value) -> str:
        """The name of ``value`` in the graph; a known tensor is entered as a constant."""
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, tuple):
            raise Unsupported("a tensor is missing")
        if id(value) not in self._entered:
            name = self.fresh(self.label_of(value))
            self.enter(name, value)
            self._entered[id(value)] = (value, name)
        return self._entered[id(value)][1]

    def known(self, name: str) -> Tensor | None:
        """The content of a constant of the graph; None of what is computed."""
        import torch

        found = self.graph.constants.get(name)
        return None if found is None else torch.from_numpy(found)

    def enter(self, name: str, value: Tensor) -> None:
        """Add the constant ``name``, as contiguous float32."""
        array = np.ascontiguousarray(value.detach().to("cpu").float().numpy())
        array = array.reshape(tuple(value.shape))
        if not np.isfinite(array).all():
            raise UnsupportedModel(not_finite(name, array))
        self.graph.constants[name] = array
        self.graph.types[name] = TensorType(array.shape)

    def fresh(self, base: str) -> str:
        """A name that no tensor has yet."""
        name, count = base, 0
        while name in self.graph.types:
            count += 1
            name = f"{base}.{count}"
        return name

    def emit(self, op: str, *inputs: Value, **attrs: object) -> str:
        """Append ``op`` and return the tensor it defines."""
        names = tuple(self.tensor(value) for value in inputs)
        shape = infer(op, [self.graph.types[name].shape for name in names], attrs)
        output = self.fresh(self.base)
        self.graph.types[output] = TensorType(shape)
        self.made[output] = Node(op, names, output, attrs, self.origin)
        self.graph.nodes.append(self.made[output])
        return output

    def scalar(self, value: float) -> Tensor:
        """A constant of shape ()."""
        import torch

        return torch.tensor(float(value), dtype=torch.float32)

    def reshape(self, x: Value, shape: Shape) -> Value:
        """``x`` under another shape; ``x`` itself where it has that shape."""
        return x if self.shape(x) == tuple(shape) else self.emit("reshape", x, shape=tuple(shape))


def not_finite(name: str, array: np.ndarray) -> str:
    """The sentence about a weight that has a NaN or an infinity."""
    bad = array.size - int(np.isfinite(array).sum())
    kind = "NaN" if np.isnan(array).any() else "infinite"
    return (
        f"import_model: weights must be finite, but {name} {tuple(array.shape)} has {bad} "
        f"{kind} value{'s' if bad > 1 else ''}"
    )
