"""Example inputs on their way to torch.export, and what a person must change where it refuses.

arguments_of(module, {"x": x})      # ((x,), {}): as torch.export takes them
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import UnsupportedModel
from .pytree import PLAIN, leaves
from .signature import Call, readings

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.fx import Node as FxNode
    from torch.nn import Module

SCRIPTED = (
    "import_model: the model must be Python that torch.export can trace, but {what}; give the "
    "nn.Module that it was made from"
)
STATES = (
    "import_model: a model may not change its state, but {reason}; "
    "pass the state in and give it back"
)
_CHANGED = re.compile(r"Constant (\w+) is mutated")
# How torch names a class that its pytree does not know.
_FOREIGN = re.compile(r"(?:Found|Unsupported input type) <class '([^']+)'>")


def check_module(module: Module) -> None:
    """Refuses what has no Python to trace or no values to read."""
    import torch

    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            kind = type(part).__name__
            what = f"its part {name} is a {kind}" if name else f"it is a {kind}"
            raise UnsupportedModel(SCRIPTED.format(what=what))
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        check_values(name, tensor)


def check_values(name: str, tensor: Tensor) -> None:
    """Refuses weights that have a shape only."""
    if is_empty(tensor):
        raise UnsupportedModel(
            f"import_model: weights must have values, but {name} is on the device meta; make the "
            "model on the device cpu and load its state_dict"
        )


def is_empty(tensor: Tensor) -> bool:
    """Whether a tensor has no values: on the device meta, or fake."""
    from torch._subclasses.fake_tensor import FakeTensor

    return tensor.is_meta or isinstance(tensor, FakeTensor)


def check_tied(program: ExportedProgram) -> None:
    """Refuses a program that was exported with one tensor for two inputs: it reads but one."""
    import torch

    kept = program.example_inputs
    seen: dict[int, str] = {}
    if kept is None:
        return
    found = (value for _, value in leaves(kept, "") if isinstance(value, torch.Tensor))
    for node, value in zip(tensor_inputs(program), found, strict=False):
        other = seen.setdefault(id(value), node.name)
        if other != node.name:
            raise UnsupportedModel(
                "import_model: a program must be exported with a tensor for each input, but "
                f"{other} and {node.name} are one tensor, which torch.export takes for one input; "
                f"export it again with a clone for {node.name}"
            )


def tensor_inputs(program: ExportedProgram) -> list[FxNode]:
    """The inputs that are no constants, in their order."""
    from torch.export.graph_signature import ConstantArgument, InputKind

    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    pairs = zip(nodes, program.graph_signature.input_specs, strict=True)
    return [
        node
        for node, spec in pairs
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument)
    ]


def checked(inputs: object) -> None:
    """Refuses what cannot be example inputs."""
    if inputs is None or (isinstance(inputs, (tuple, list, dict)) and not inputs):
        raise UnsupportedModel(
            "import_model: example inputs must be a tuple of tensors, one for each argument of the "
            f"model, or a dict of them by name, but got {inputs!r}"
        )


def arguments_of(module: Module, inputs: object) -> Call:
    """The call of ``module`` that example inputs stand for, arguments by place where they can."""
    checked(inputs)
    signature = inspect.signature(module.forward)
    said = []
    for args, kwargs in readings(inputs):
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            said.append(str(error))
            continue
        _add_defaults(bound)
        return bound.args, bound.kwargs
    raise UnsupportedModel(
        "import_model: example inputs must be the arguments of "
        f"{type(module).__name__}.forward{_bare(signature)}, but {_gist(said[0])}"
    )


def _add_defaults(bound: inspect.BoundArguments) -> None:
    """Plain defaults become arguments, so that a call that gives another value is refused."""
    for name, parameter in bound.signature.parameters.items():
        if isinstance(parameter.default, PLAIN):
            bound.arguments.setdefault(name, parameter.default)


def _bare(signature: inspect.Signature) -> inspect.Signature:
    """The signature without annotations."""
    empty = inspect.Parameter.empty
    parameters = [p.replace(annotation=empty) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)


def _gist(error: str) -> str:
    """missing a required argument: 'mask' -> mask is missing"""
    if found := re.fullmatch(r"missing a required (?:keyword-only )?argument: '(\w+)'", error):
        return f"{found[1]} is missing"
    if found := re.fullmatch(r"got an unexpected keyword argument '(\w+)'", error):
        return f"got {found[1]!r}"
    return error


def check_inputs(args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
    """Refuses parts that are no tensors and no plain constants, and tensors without values."""
    import torch

    count = 0
    for path, value in _paths(args, kwargs):
        if not isinstance(value, (torch.Tensor, *PLAIN)):
            raise UnsupportedModel(
                "import_model: example inputs must be made of tensors, numbers and None, but "
                f"{path} is of type {type(value).__name__}{_registration(type(value))}"
            )
        if isinstance(value, torch.Tensor):
            count += 1
            if is_empty(value):
                raise UnsupportedModel(
                    f"import_model: example inputs must have values, but {path} is on the device "
                    "meta; give a tensor on the device cpu"
                )
    if not count:
        raise UnsupportedModel(
            "import_model: example inputs must have at least one tensor, but they have none"
        )


def _registration(kind: type) -> str:
    return f"; call torch.export.register_dataclass({kind.__name__}) if it is a dataclass"


def _paths(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for index, value in enumerate(args):
        yield from leaves(value, f"input {index}")
    for name, value in kwargs.items():
        yield from leaves(value, name)


def fresh(value: object) -> object:
    """A copy of a tensor or array that shares its memory with nothing."""
    import torch

    if isinstance(value, np.ndarray) and value.dtype != object:
        made = value.astype(np.float32) if value.dtype.kind == "f" else value.copy()
        return torch.from_numpy(made)
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def refusal(
    module: Module, args: tuple[object, ...], kwargs: Mapping[str, object], error: Exception
) -> str:
    """Why torch.export refused a module: a type that is not ours, or torch's own words."""
    import torch

    for path, value in _paths(args, kwargs):
        if isinstance(value, torch.Tensor) and value.dtype != torch.float32:
            return wrong_type(path, value.dtype)
    for name, weight in module.named_parameters():
        if weight.is_floating_point() and weight.dtype != torch.float32:
            return wrong_weight(name, weight.dtype)
    text = (
        "import_model: torch.export must accept the model, but it refused "
        f"{type(module).__name__}: {first_line(error)}"
    )
    if found := _FOREIGN.search(str(error)):
        name = found[1].rpartition(".")[2]
        return (
            "import_model: inputs and outputs must be of classes that torch's pytree knows, but "
            f"{type(module).__name__} has {name}; call torch.export.register_dataclass({name}) "
            "if it is a dataclass"
        )
    return text


def undecomposed(program: ExportedProgram, error: Exception) -> str:
    """Why torch.export could not decompose a program: state that it changes, or torch's words."""
    found = _CHANGED.search(str(error))
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if found and found[1] in (spec.target, node.name):
            names = [str(user.target).removesuffix(".default") for user in node.users]
            return STATES.format(reason=f"{' and '.join(names)} writes {found[1]}")
    return (
        "import_model: torch.export must decompose the program, but it refused: "
        f"{first_line(error)}"
    )


def wrong_type(name: str, dtype: Any) -> str:
    """The sentence about an input that is not float32."""
    import torch

    if dtype == torch.uint8:
        mend = "; give it as floats, scaled as in training, such as image.float() / 255"
    elif dtype.is_floating_point:
        mend = "; give model.float() and inputs.float()"
    else:
        mend = "; compile the part of the model that takes floats"
    return f"import_model: every input must be a float32 tensor, but {name} is {dtype}{mend}"


def wrong_weight(name: str, dtype: Any) -> str:
    """The sentence about weights that are not float32."""
    return f"import_model: weights must be float32, but {name} is {dtype}; give model.float()"


def first_line(error: BaseException) -> str:
    """An error's name and the first sentence of what it says, at most a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return f"{type(error).__name__}: {lines[0].partition('. ')[0].removesuffix('.')}"
