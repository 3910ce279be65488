"""Exports a model with torch.export and decomposes what has no row of its own.

program = decompose(export(model, (x,)))      # functional core ATen, but linear, gelu ... whole
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedModel
from .operators import ATEN
from .pytree import Misfit
from .signature import Signature, signature_of
from .torch_inputs import (
    SCRIPTED,
    arguments_of,
    check_inputs,
    check_module,
    check_tied,
    checked,
    first_line,
    fresh,
    refusal,
    tensor_inputs,
    undecomposed,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.nn import Module

# No operators of ours, and reported by the names under which models call them.
REPORTED = frozenset(("conv_transpose3d",))


def export(model: object, inputs: object = None) -> ExportedProgram:
    """A program with static shapes."""
    import torch

    if isinstance(model, (str, PathLike)):
        model = load(Path(model))
    if isinstance(model, torch.export.ExportedProgram):
        return _with_shapes(model, inputs)
    if isinstance(model, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise UnsupportedModel(SCRIPTED.format(what=f"it is a {type(model).__name__}"))
    if not isinstance(model, torch.nn.Module):
        raise UnsupportedModel(
            "import_model: the model must be a torch.nn.Module, an ExportedProgram or the path of "
            f"a .pt2 file, but got {type(model).__name__}"
        )
    check_module(model)
    return _export(model, *arguments_of(model, inputs))


def load(path: Path) -> ExportedProgram:
    """The program of a ``.pt2`` file."""
    import torch

    if not os.path.isfile(path):
        raise UnsupportedModel(f"import_model: the model file must exist, but {path} does not")
    causes: list[BaseException] = []
    try:
        with _silence(), _heard("torch.export", causes):
            return torch.export.load(path)
    except Exception as error:
        cause = causes[0] if causes else error
        raise UnsupportedModel(
            f"import_model: {path} must be a program saved by torch.export.save, but loading it "
            f"failed: {first_line(cause)}"
        ) from error


def _with_shapes(program: ExportedProgram, inputs: object) -> ExportedProgram:
    """``program`` itself, or exported anew for ``inputs`` where it has dynamic shapes."""
    check_tied(program)
    if not program.range_constraints:
        _check_shapes(program, inputs)
        return program
    if inputs is None and program.example_inputs is not None:
        inputs = program.example_inputs
    signature = signature_of(program)
    return _export(program.module(), *signature.arrange(_tensors(signature, inputs)))


def _check_shapes(program: ExportedProgram, inputs: object) -> None:
    """Static shapes are the program's; example inputs, where given, must have them."""
    if inputs is None:
        return
    wanted = [tuple(node.meta["val"].shape) for node in tensor_inputs(program)]
    given = [tuple(part.shape) for part in _tensors(signature_of(program), inputs)]
    if given != wanted:
        raise UnsupportedModel(
            "import_model: example inputs must have the shapes with which the program was "
            f"exported, {', '.join(map(str, wanted))}, but got {', '.join(map(str, given))}"
        )


def _tensors(signature: Signature, inputs: object) -> list[Any]:
    """Example inputs of a program, in its order."""
    checked(inputs)
    try:
        return [fresh(value) for value in signature.given(inputs)]
    except Misfit as misfit:
        raise UnsupportedModel(f"import_model: example inputs: {misfit}") from None


def _export(
    module: Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> ExportedProgram:
    import torch
    from torch.utils import _pytree

    # torch.export takes one tensor given twice for one input: each gets a memory of its own.
    args, kwargs = _pytree.tree_map(fresh, (args, dict(kwargs)))
    check_inputs(args, kwargs)
    with _evaluation(module), _silence(), torch.no_grad():
        try:
            return torch.export.export(module, args, kwargs)
        except Exception as error:
            raise UnsupportedModel(refusal(module, args, kwargs, error)) from error


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
    """Hides everything that torch prints, logs and warns in the meantime."""
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


@contextmanager
def _heard(name: str, causes: list[BaseException]) -> Iterator[None]:
    """Gathers in ``causes`` the errors that torch only logs, and replaces by a hint at its log."""

    def hear(record: logging.LogRecord) -> bool:
        causes.extend(error for error in (record.exc_info or ())[1:2] if error is not None)
        return False

    logger, disabled = logging.getLogger(name), logging.root.manager.disable
    logging.disable(logging.NOTSET)
    logger.addFilter(hear)
    try:
        yield
    finally:
        logger.removeFilter(hear)
        logging.disable(disabled)


def decompose(program: ExportedProgram) -> ExportedProgram:
    """Functional core ATen, but for what is read or reported whole."""
    import torch

    whole = REPORTED | {name for name, call in ATEN.items() if call.whole}
    table = torch.export.default_decompositions()
    for overload in list(table):
        space, name, *_ = str(overload).split(".")
        if space == "aten" and name in whole:
            del table[overload]
    with _silence():
        try:
            decomposed: ExportedProgram = program.run_decompositions(table)
        except Exception as error:
            raise UnsupportedModel(undecomposed(program, error)) from error
    return decomposed
