"""PyTorch to operator graph: export, decompose what has no row of its own, lower, fold, check.

    graph = import_model(model.eval(), (torch.randn(1, 3, 224, 224),))

Everything that cannot be imported is gathered and told in one ``UnsupportedModel``.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Unsupported, UnsupportedModel
from .float_graph import verify
from .fold import fold
from .graph import Graph, TensorType
from .graph_builder import GraphBuilder, Value, not_finite
from .operators import ATEN, aten_call
from .origin import origin_of, source_of
from .torch_export import decompose, export
from .torch_inputs import STATES, check_values, wrong_type

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.fx import Node as FxNode

# What torch.export writes to check its own assumptions; it computes nothing.
CHECKS = ("aten._assert", "aten.sym_constrain_range")

OUTPUTS = (
    "import_model: every output must be a float32 tensor that is computed, but {reason}; "
    "compile the part of the model before it"
)
NO_OUTPUT = "import_model: a model must give at least one tensor, but it gives none"

# These stand for the operator where an input or output is not supported, or state is changed.
INPUT, OUTPUT, STATE = "input", "output", "state"


@dataclass(frozen=True, slots=True)
class Met:
    """An ATen call that was met, and, where only this use of it is unsupported, the reason."""

    operator: str
    source: str
    supported: bool = True
    reason: str = ""
    sentence: str = ""  # the whole refusal of an input, an output or a change of state

    def __str__(self) -> str:
        return f"{self.operator} ({self.reason})" if self.reason else self.operator


def import_model(model: object, inputs: object = None) -> Graph:
    """The float graph of a module, an ExportedProgram or a ``.pt2`` file, batch norms folded.

    ``inputs`` is the tuple of example inputs that fixes the shapes; a program has its own.
    Raises UnsupportedModel.
    """
    graph, calls = lower(model, inputs)
    refused = [met for met in calls if not met.supported]
    for sentences in (
        [met.sentence for met in refused if met.operator == INPUT],
        [sentence([met for met in refused if not met.sentence])],
        [met.sentence for met in refused],
    ):
        if first := next(filter(None, sentences), ""):
            raise UnsupportedModel(first)
    fold(graph)
    for name, array in graph.constants.items():
        if not np.isfinite(array).all():
            raise UnsupportedModel(not_finite(name, array))
    verify(graph)
    return graph


def sentence(refused: Sequence[Met]) -> str:
    """All that is unsupported, in one sentence: operator, count, first place; "" if nothing is."""
    if not refused:
        return ""
    counts = Counter(map(str, refused))
    first = {str(met): met.source for met in reversed(refused)}
    rows = ", ".join(f"{name} x{count} (first at {first[name]})" for name, count in counts.items())
    return f"import_model: every operator of the model must be supported, but it has {rows}"


def lower(model: object, inputs: object = None) -> tuple[Graph, list[Met]]:
    """The graph before folding, and every ATen call met; complete only if all are supported."""
    program = decompose(export(model, inputs))
    builder = GraphBuilder(type(model).__name__)
    values: dict[FxNode, Value] = {}
    calls = _enter_placeholders(builder, program, values)
    for node in program.graph.nodes:
        if node.op == "call_function":
            values[node], met = _lower_call(builder, node, values)
            calls += [met] if met else []
    calls += _enter_outputs(builder, program, values)
    return builder.graph, calls


def _enter_placeholders(
    builder: GraphBuilder, program: ExportedProgram, values: dict[FxNode, Value]
) -> list[Met]:
    """Enters inputs and constants; returns the inputs that are no float32 tensors."""
    from torch.export.graph_signature import ConstantArgument, InputKind

    others = []
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if isinstance(spec.arg, ConstantArgument):
            values[node] = None  # torch.export has put it where it is read
        elif spec.kind is InputKind.USER_INPUT and (kind := _other_kind(node)):
            values[node] = _stand_in(builder, node)
            others.append(
                Met(INPUT, "", False, f"{node.name} is {kind}", wrong_type(node.name, kind))
            )
        elif spec.kind is InputKind.USER_INPUT:
            values[node] = _enter_input(builder, node)
        else:
            values[node] = _known(builder, program, spec.target, node)
    return others


def _other_kind(node: FxNode) -> Any:
    """The dtype, or else the type, of an input that is no float32 tensor."""
    import torch

    example = node.meta.get("val")
    if not isinstance(example, torch.Tensor):
        return type(example).__name__
    return None if example.dtype == torch.float32 else example.dtype


def _known(builder: GraphBuilder, program: ExportedProgram, name: str, node: FxNode) -> Value:
    """A weight or constant; None for torch's tokens and objects, whose operators are refused."""
    import torch

    tensor = program.state_dict.get(name, program.constants.get(name))
    if not isinstance(tensor, torch.Tensor):
        return None
    check_values(name, tensor)
    return builder.label(tensor, name)


def _enter_input(builder: GraphBuilder, node: FxNode) -> Value:
    try:
        builder.graph.types[node.name] = TensorType(_extents(node.meta["val"]))
    except Unsupported as refusal:
        raise UnsupportedModel(
            f"import_model: shapes must be static and not empty, but {node.name} has {refusal}"
        ) from None
    builder.graph.inputs.append(node.name)
    return node.name


def _extents(example: Tensor) -> tuple[int, ...]:
    shape = f"({', '.join(map(str, example.shape))})"
    if not all(isinstance(extent, int) for extent in example.shape):
        raise Unsupported(f"the dynamic shape {shape}")
    if 0 in example.shape:
        raise Unsupported(f"the shape {shape} without elements")
    return tuple(example.shape)


def _enter_outputs(
    builder: GraphBuilder, program: ExportedProgram, values: dict[FxNode, Value]
) -> list[Met]:
    """Enters the outputs that are tensors; returns the refused outputs and changes of state."""
    from torch.export.graph_signature import ConstantArgument, OutputKind

    passed = (OutputKind.USER_INPUT_MUTATION, OutputKind.TOKEN)
    refused = []
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    for node, spec in zip(output.args[0], program.graph_signature.output_specs, strict=True):
        if spec.kind in passed or isinstance(spec.arg, ConstantArgument):
            continue  # the caller's tensor is left alone; a constant is part of the signature
        if spec.kind is not OutputKind.USER_OUTPUT:
            refused.append(_writes(str(spec.target)))
        elif reason := _no_tensor(node, values.get(node)):
            refused.append(Met(OUTPUT, "", False, reason, OUTPUTS.format(reason=reason)))
        else:
            builder.base = node.name
            builder.graph.outputs.append(builder.tensor(values[node]))
    if not builder.graph.outputs and not refused:
        reason = "there is none"
        refused.append(Met(OUTPUT, "", False, reason, NO_OUTPUT))
    return refused


def _writes(target: str) -> Met:
    reason = f"it writes {target}"
    return Met(STATE, "", False, reason, STATES.format(reason=reason))


def _no_tensor(node: FxNode, value: Value) -> str:
    """Says what an output is if it is no float32 tensor; "" for a float32 tensor."""
    import torch

    if isinstance(value, str):
        kind = node.meta["val"].dtype
        return "" if kind == torch.float32 else f"{node.name} is {kind}"
    if isinstance(value, torch.Tensor):
        return "" if value.dtype == torch.float32 else f"{node.name} is {value.dtype}"
    whole, index = node.args if node.target is operator.getitem else (node, 0)
    return f"{node.name} is result {index} of {public_name(whole)}"


def _lower_call(
    builder: GraphBuilder, node: FxNode, values: dict[FxNode, Value]
) -> tuple[Value, Met | None]:
    """The value of one call, and what was met (nothing for the unpacking of a tuple)."""
    if str(node.target).startswith(CHECKS):
        return None, None
    if node.target is operator.getitem and node.args[0] in values:
        whole, index = values[node.args[0]], node.args[1]  # type: ignore[index]
        return (whole[index] if isinstance(whole, tuple) else None), None  # type: ignore[index]
    name = _aten_name(node)
    builder.base = node.name.replace(name, _public(name))
    builder.origin = origin_of(node)
    public = public_name(node)
    try:
        return _value_of(builder, node, values), Met(public, source_of(node))
    except Unsupported as refusal:
        met = Met(public, source_of(node), False, str(refusal))
        return _stand_in(builder, node), met


def _aten_name(node: FxNode) -> str:
    return str(node.target).removeprefix("aten.").split(".")[0]


def _public(name: str) -> str:
    return ATEN[name].public or name if name in ATEN else name


def public_name(node: Any) -> str:
    """An operator as its users call it."""
    if not str(node.target).startswith("aten."):
        return str(getattr(node.target, "__name__", node.target))
    name = _aten_name(node)
    return f"aten.{_public(name)}"


def _value_of(builder: GraphBuilder, node: FxNode, values: dict[FxNode, Value]) -> Value:
    """Computed now where all is known; by its lowering otherwise."""
    import torch

    if isinstance(node.target, torch._ops.HigherOrderOperator):
        raise Unsupported
    if not isinstance(node.target, torch._ops.OpOverload):
        raise Unsupported("a number computed at run time")
    arguments = _bind(node, values)
    inputs = [values[used] for used in node.all_input_nodes]
    if all(isinstance(value, torch.Tensor) for value in inputs):
        return _compute(node, arguments)
    _check_types(builder, inputs)
    example = node.meta["val"]
    call = aten_call(str(node.target).removeprefix("aten."))
    if call is None:
        raise Unsupported
    first = example[0] if isinstance(example, (tuple, list)) else example
    if isinstance(first, torch.Tensor):
        if first.dtype != (torch.bool if call.truths else torch.float32):
            raise Unsupported(f"gives {str(first.dtype).removeprefix('torch.')}")
        builder.result = _extents(first)
    value: Value = call.read(builder, **arguments)
    if call.truths and isinstance(value, str):
        builder.truths.add(value)
    return value


def _compute(node: FxNode, arguments: dict[str, Any]) -> Value:
    import torch

    target: Any = node.target
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        result = target(**arguments)
        seeded = torch.Tag.nondeterministic_seeded in target.tags
        if seeded and not torch.equal(before, torch.get_rng_state()):
            raise Unsupported("random")
    return tuple(result) if isinstance(result, (list, tuple)) else result


def _check_types(builder: GraphBuilder, values: Sequence[Value]) -> None:
    """Refuses weights beside run-time values that are floats of another width."""
    import torch

    for value in values:
        if isinstance(value, torch.Tensor) and value.ndim and value.dtype != torch.float32:
            if value.is_floating_point() or value.is_complex():
                kind = str(value.dtype).removeprefix("torch.")
                raise Unsupported(f"with {builder.label_of(value)} of {kind}; give model.float()")


def _bind(node: FxNode, values: dict[FxNode, Value]) -> dict[str, Any]:
    """The arguments by the names of the operator's schema, defaults filled in."""
    import torch

    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
    whole = {a.name: given.get(a.name, a.default_value) for a in schema}
    return {
        key: torch.fx.node.map_arg(value, lambda used: values[used]) for key, value in whole.items()
    }


def _stand_in(builder: GraphBuilder, node: FxNode) -> Value:
    """Tensors of the right shape in place of an unsupported result, so that the walk can go on."""
    import torch

    def one(example: object, index: int) -> Value:
        if not isinstance(example, torch.Tensor):
            return None
        name = builder.fresh(f"{node.name}.unsupported{index}")
        shape = (extent if isinstance(extent, int) else 1 for extent in example.shape)
        builder.graph.types[name] = TensorType(tuple(shape))
        return name

    example = node.meta.get("val")
    if isinstance(example, (tuple, list)):
        return tuple(one(part, index) for index, part in enumerate(example))
    return one(example, 0)
