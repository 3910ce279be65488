"""Exports a model with torch.export and decomposes what has no row of its own.

program = decompose(export(model, (x,)))      # functional core ATen, but linear, gelu ... whole
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedModel

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.nn import Module

# These stay whole on their way out of torch.export: they have rows of their own, or shall be
# reported by the name under which the model calls them.
WHOLE = frozenset(
    """linear layer_norm group_norm instance_norm rms_norm gelu silu hardswish hardsigmoid hardtanh
    relu6 leaky_relu elu mish softplus prelu log_softmax scaled_dot_product_attention softmax matmul
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d max_pool1d max_pool2d
    avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d
    adaptive_max_pool2d pad pixel_shuffle lstm gru""".split()
)


def export(model: object, inputs: object = None) -> ExportedProgram:
    """A program with static shapes."""
    import torch

    if isinstance(model, (str, PathLike)):
        model = _load(Path(model))
    if isinstance(model, torch.export.ExportedProgram):
        return _with_shapes(model, inputs)
    if not isinstance(model, torch.nn.Module):
        raise UnsupportedModel(
            "import_model: the model must be a torch.nn.Module, an ExportedProgram or the path of "
            f"a .pt2 file, but got {type(model).__name__}"
        )
    return _export(model, inputs)


def _load(path: Path) -> ExportedProgram:
    import torch

    if not os.path.isfile(path):
        raise UnsupportedModel(f"import_model: the model file must exist, but {path} does not")
    try:
        with _silence():
            return torch.export.load(path)
    except Exception as error:
        raise UnsupportedModel(
            f"import_model: {path} must be a program saved by torch.export.save, but loading it "
            f"failed: {_first_line(error)}"
        ) from error


def _with_shapes(program: ExportedProgram, inputs: object) -> ExportedProgram:
    """``program`` itself, or exported anew for ``inputs`` where it has dynamic shapes."""
    if not program.range_constraints:
        _check_shapes(program, inputs)
        return program
    if inputs is None and program.example_inputs is not None:
        inputs = program.example_inputs[0]
    return _export(program.module(), inputs)


def _check_shapes(program: ExportedProgram, inputs: object) -> None:
    """Static shapes are the program's; example inputs, where given, must have them."""
    if inputs is None or program.example_inputs is None:
        return
    wanted = [tuple(part.shape) for part in program.example_inputs[0] if hasattr(part, "shape")]
    given = [tuple(part.shape) for part in _checked_inputs(inputs) if hasattr(part, "shape")]
    if given != wanted:
        raise UnsupportedModel(
            "import_model: example inputs must have the shapes with which the program was "
            f"exported, {', '.join(map(str, wanted))}, but got {', '.join(map(str, given))}"
        )


def _export(module: Module, inputs: object) -> ExportedProgram:
    import torch

    arguments = _checked_inputs(inputs)
    with _evaluation(module), _silence(), torch.no_grad():
        try:
            return torch.export.export(module, arguments)
        except Exception as error:
            raise UnsupportedModel(
                "import_model: torch.export must accept the model, but it refused "
                f"{type(module).__name__}: {_first_line(error)}"
            ) from error


def _checked_inputs(inputs: object) -> tuple[Any, ...]:
    import torch

    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    if not isinstance(inputs, (tuple, list)) or not inputs:
        raise UnsupportedModel(
            "import_model: example inputs must be a tuple of tensors, one for each argument of the "
            f"model, but got {type(inputs).__name__ if inputs else repr(inputs)}"
        )
    return tuple(inputs)


@contextmanager
def _evaluation(module: Module) -> Iterator[None]:
    """Put the module into evaluation mode, and back."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing of what torch prints, logs and warns on its way."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def decompose(program: ExportedProgram) -> ExportedProgram:
    """Functional core ATen, but for the operators of WHOLE."""
    import torch

    table = torch.export.default_decompositions()
    for overload in list(table):
        space, name, *_ = str(overload).split(".")
        if space == "aten" and name in WHOLE:
            del table[overload]
    with _silence():
        decomposed: ExportedProgram = program.run_decompositions(table)
    return decomposed
