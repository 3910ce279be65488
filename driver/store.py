"""Reads the file of a compiled model, as ``saving`` wrote it.

Loading holds the whole content to its hash before it looks at any of it (``sealed.py``), lowers
and places the graph anew, and holds each kernel to the key under which it was saved; code is made
from the points when it is first needed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.integer import verify
from ..graph.signature import read_signature
from ..options import checks
from ..quant.recipe import Recipe
from ..target.cost import Cost
from ..tuner import files
from .choose import Choice
from .errors import InputError
from .model_program import ModelProgram
from .prepare import Ready, ready
from .saving import CONSTANTS, MODEL, SCHEMA
from .sealed import SealError, unseal
from .spelled import read
from .targets import parse
from .tuned import Tuned


def load(path: str | os.PathLike[str]) -> Tuned:
    """The model of a file that ``Tuned.save`` wrote."""
    path = checks.path("load: path", path)
    try:
        with open(files.open_regular(path, os.O_RDONLY), "rb") as file:
            parts = unseal(file.read())
    except FileNotFoundError:
        raise InputError(f"load: the file must exist, but {path} does not") from None
    except OSError as error:
        raise InputError(f"load: {path} cannot be read: {error.strerror}") from None
    except SealError:
        raise InputError(
            f"load: {path} must be a file as save() wrote it, but it is another or damaged; "
            "copy it again or compile the model again"
        ) from None
    try:
        return _loaded(parts, path)
    except InputError:
        raise
    except Exception as error:  # sealed, but not by save()
        raise InputError(f"load: {path} must be a file of save(), but it is not") from error


def _loaded(parts: Mapping[str, bytes], path: Path) -> Tuned:
    data = json.loads(parts[MODEL])
    if data.get("schema") != SCHEMA:
        raise InputError(f"load: {path} must have schema {SCHEMA}, but has {data.get('schema')!r}")
    with np.load(io.BytesIO(parts[CONSTANTS]), allow_pickle=False) as arrays:
        constants = {name: arrays[name] for name in arrays.files}
    graph = read(data["graph"], constants)
    verify(graph)
    signature = read_signature(data["signature"])
    signature.check(len(graph.inputs), len(graph.outputs))
    recipe = Recipe.read("load: the recipe", data.get("recipe", {}))
    return _tuned(ready(graph, parse(data["target"]), signature, recipe), data, path)


def _tuned(found: Ready, data: Mapping[str, Any], path: object) -> Tuned:
    kernels = data["kernels"]
    missing = [task.name for task in found.tasks if task.key not in kernels]
    if missing:
        raise InputError(
            f"load: {path} must be of this version of dovetail, but it has other code for the "
            f"kernels {', '.join(missing)}; compile the model again"
        )
    choices = {}
    for task in found.tasks:
        row = kernels[task.key]
        cost = {**row["cost"], "executed": tuple(map(tuple, row["cost"]["executed"]))}
        choices[task.key] = Choice(task.point(row["point"]), Cost(**cost))
    best, default = (ModelProgram.read(data[name]) for name in ("program", "default"))
    return Tuned(found, choices, best, default)
