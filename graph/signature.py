"""What a model takes and gives: its arguments by name, each a tree of tensors, and its outputs.

signature = signature_of(program)
signature.bind((x,), {"mask": m})        # the tensors in the graph's order
signature.given({"x": x, "mask": m})     # the same from one object, as example inputs and batches
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .pytree import (
    Branch,
    Constant,
    Misfit,
    Slot,
    Tree,
    constant,
    fill,
    match,
    place,
    read,
    slots,
    spell,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node as FxNode

    from .graph import Graph

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Signature:
    """Arguments in the order of the graph's inputs; the first ``positional`` go by place, too."""

    names: tuple[str, ...]
    arguments: tuple[Tree, ...]
    positional: int
    outputs: Tree

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[Any]:
        """The tensors of a call in the graph's order. Raises Misfit."""
        given = self._named(args, kwargs)
        found: dict[int, object] = {}
        for name, tree in zip(self.names, self.arguments, strict=True):
            if name in given:
                found |= match(tree, given[name], name)
            elif not constant(tree):
                raise Misfit(f"the model takes {self}, but {name} is missing")
        return [found[index] for index in range(len(found))]

    def given(self, value: object) -> list[Any]:
        """The tensors of one object: an argument, a tuple of them, a dict of keywords, or both.

        A pair of a tuple and a dict is ``(args, kwargs)`` where that fits, else two arguments.
        """
        return _first([partial(self.bind, *reading) for reading in readings(value)])

    def call(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[Any]:
        """As ``bind``; a call with one tuple, list or dict may also hold all arguments in it."""
        ways = [partial(self.bind, args, kwargs)]
        if len(args) == 1 and not kwargs and isinstance(args[0], (tuple, list, dict)):
            ways.append(partial(self.given, args[0]))
        return _first(ways)

    def arrange(self, tensors: Sequence[Any]) -> Call:
        """The call whose tensors these are: the way back of ``bind``."""
        values = [fill(tree, tensors) for tree in self.arguments]
        named = zip(self.names[self.positional :], values[self.positional :], strict=True)
        return tuple(values[: self.positional]), dict(named)

    def result(self, tensors: Sequence[Any]) -> Any:
        """What the model gives, with ``tensors`` as its outputs."""
        return fill(self.outputs, tensors)

    def __str__(self) -> str:
        return f"({', '.join(self.names)})"

    def _named(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        if len(args) > self.positional:
            by_name = f", {self.positional} of them by place" if self.positional < len(self) else ""
            raise Misfit(f"the model takes {self}{by_name}, but got {_counted(len(args))}")
        given = dict(zip(self.names, args, strict=False))
        for name, value in kwargs.items():
            if name not in self.names:
                raise Misfit(f"the model takes {self}, but got {name!r}")
            if name in given:
                raise Misfit(f"the model takes {self}, but {name} is given twice")
            given[name] = value
        return given

    def __len__(self) -> int:
        return len(self.names)

    @property
    def needed(self) -> int:
        """How many arguments a call by place must give."""
        trees = self.arguments[: self.positional]
        return max((i for i, tree in enumerate(trees, start=1) if not constant(tree)), default=0)

    def spell(self) -> dict[str, Any]:
        """Plain data, fit for JSON."""
        return {
            "names": self.names,
            "arguments": [spell(tree) for tree in self.arguments],
            "positional": self.positional,
            "outputs": spell(self.outputs),
        }

    def check(self, inputs: int, outputs: int) -> None:
        """Raises ValueError unless the places are those of a graph's inputs and outputs."""
        given = [index for tree in self.arguments for index in slots(tree)]
        made = set(slots(self.outputs))
        if sorted(given) != list(range(inputs)) or made != set(range(outputs)):
            raise ValueError("a place a tensor is needed")


def _counted(count: int) -> str:
    return f"{count} argument{'s' if count != 1 else ''}"


def _first(ways: Sequence[Callable[[], list[Any]]]) -> list[Any]:
    """The result of the first way that fits; else the Misfit of the first way."""
    said = []
    for way in ways:
        try:
            return way()
        except Misfit as misfit:
            said.append(misfit)
    raise said[0]


def readings(value: Any) -> list[Call]:
    """The calls that one object may stand for, as torch.export's users write them."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return [((), value)]
    if not isinstance(value, (tuple, list)) or hasattr(value, "_fields"):
        return [((value,), {})]
    both: list[Call] = [(tuple(value[0]), value[1])] if _is_both(value) else []
    return [*both, (tuple(value), {})]


def _is_both(value: Sequence[Any]) -> bool:
    """Whether the object can be a pair of arguments and keywords."""
    plain = len(value) == 2 and isinstance(value[0], (tuple, list)) and isinstance(value[1], dict)
    return plain and all(isinstance(key, str) for key in value[1])


def signature_of(program: ExportedProgram) -> Signature:
    """What an exported program takes and gives."""
    from torch.utils import _pytree

    values, kinds = _inputs(program)
    args, kwargs = _pytree.tree_unflatten(values, program.call_spec.in_spec)
    leaf = _each(kinds)
    trees = [place(value, leaf) for value in (*args, *kwargs.values())]
    names = (*_names(program, len(args)), *kwargs)
    values, kinds = _outputs(program)
    outputs = place(_pytree.tree_unflatten(values, program.call_spec.out_spec), _each(kinds))
    return Signature(names, tuple(trees), len(args), outputs)


def flat(graph: Graph) -> Signature:
    """A tensor an argument; one output as it is, several as a tuple."""
    trees = tuple(Slot(index) for index in range(len(graph.inputs)))
    parts = tuple(Slot(index) for index in range(len(graph.outputs)))
    outputs = Branch(tuple, "tuple", tuple(range(len(parts))), parts)
    return Signature(
        tuple(graph.inputs), trees, len(trees), parts[0] if len(parts) == 1 else outputs
    )


def read_signature(data: Mapping[str, Any]) -> Signature:
    """The signature that ``spell`` wrote."""
    arguments = tuple(map(read, data["arguments"]))
    names, positional = tuple(data["names"]), data["positional"]
    if len(names) != len(arguments) or not 0 <= positional <= len(names):
        raise ValueError("a name an argument is needed")
    return Signature(names, arguments, positional, read(data["outputs"]))


Leaf = Slot | Constant


def _each(kinds: Sequence[Leaf]) -> Callable[[object], Leaf]:
    """A function whose calls give the leaves one after another."""
    rest: Iterator[Leaf] = iter(kinds)
    return lambda _: next(rest)


def _inputs(program: ExportedProgram) -> tuple[list[object], list[Leaf]]:
    """Each input's example, and whether it is a tensor or became part of the program."""
    from torch.export.graph_signature import InputKind

    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    pairs = zip(nodes, program.graph_signature.input_specs, strict=True)
    return _leaves((node, s.arg) for node, s in pairs if s.kind is InputKind.USER_INPUT)


def _outputs(program: ExportedProgram) -> tuple[list[object], list[Leaf]]:
    from torch.export.graph_signature import OutputKind

    (output,) = (node for node in program.graph.nodes if node.op == "output")
    pairs = zip(output.args[0], program.graph_signature.output_specs, strict=True)
    return _leaves((node, s.arg) for node, s in pairs if s.kind is OutputKind.USER_OUTPUT)


def _leaves(pairs: Iterator[tuple[FxNode, Any]]) -> tuple[list[object], list[Leaf]]:
    from torch.export.graph_signature import ConstantArgument

    values: list[object] = []
    kinds: list[Leaf] = []
    count = 0
    for node, argument in pairs:
        if isinstance(argument, ConstantArgument):
            values.append(argument.value)
            kinds.append(Constant(argument.value))
        else:
            values.append(getattr(node, "meta", {}).get("val"))
            kinds.append(Slot(count))
            count += 1
    return values, kinds


def _names(program: ExportedProgram, count: int) -> list[str]:
    """The names of the arguments that go by place."""
    signature = program.module_call_graph[0].signature
    found = list((signature and signature.forward_arg_names) or [])[:count]
    return [*found, *(f"input_{index}" for index in range(len(found), count))]
