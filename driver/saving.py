"""Writes a compiled model as a file: a sealed zip of JSON and of plain arrays, no pickle.

    model.json       schema, machine, recipe, integer graph, the form of inputs and outputs, the
                     point and cost of each distinct kernel, the program and that of defaults
    constants.npz    the graph's constants

``store`` reads it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..graph.graph import Array
from ..options import checks
from ..quant.recipe import Recipe
from ..tuner import files
from .choose import Choice
from .errors import InputError
from .model_program import ModelProgram
from .prepare import Ready
from .sealed import seal
from .spelled import spelled

SCHEMA = 6
MODEL, CONSTANTS = "model.json", "constants.npz"


class Saved(Protocol):
    """What of a compiled model is written: its points and costs, by key, and its programs."""

    ready: Ready
    choices: dict[str, Choice]
    program: ModelProgram
    default: ModelProgram
    target: str

    @property
    def recipe(self) -> Recipe: ...


def require_place(path: object) -> Path:
    """Refuses a path that ``save`` could not write, before hours are spent on what it saves."""
    target = checks.path("save: path", path)
    try:
        files.require_place(target)
    except OSError as error:
        raise _unwritten(target, error) from None
    return target


def save(tuned: Saved, path: str | os.PathLike[str]) -> None:
    """Writes the file beside its place first, so that a broken write leaves nothing behind."""
    target = require_place(path)
    data = seal({
        MODEL: json.dumps(_spelled(tuned)).encode(),
        CONSTANTS: _arrays(tuned.ready.graph.constants),
    })  # fmt: skip
    try:
        files.write_whole(target, data)
    except OSError as error:
        raise _unwritten(target, error) from None


def _unwritten(path: Path, error: OSError) -> InputError:
    return InputError(f"save: {path} cannot be written: {error.strerror}")


def _spelled(tuned: Saved) -> dict[str, Any]:
    kernels = {
        key: {
            "point": choice.point,
            "cost": asdict(choice.cost),
        }
        for key, choice in sorted(tuned.choices.items())
    }
    graph = spelled(tuned.ready.graph)
    form, recipe = tuned.ready.signature.spell(), tuned.recipe.logged()
    return {
        "schema": SCHEMA,
        "target": tuned.target,
        "signature": form,
        "graph": graph,
        "kernels": kernels,
        "program": asdict(tuned.program),
        "default": asdict(tuned.default),
        **({"recipe": recipe} if recipe else {}),
    }


def _arrays(constants: Mapping[str, Array]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **constants)
    return stream.getvalue()
