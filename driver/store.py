"""A compiled model as a file: a sealed zip of JSON and of plain arrays, no pickle.

    model.json       schema, machine, recipe, integer graph, the form of inputs and outputs, the
                     point and cost of each distinct kernel
    constants.npz    the graph's constants

Loading holds the whole content to its hash before it looks at any of it (``sealed.py``), lowers
and places the graph anew, and holds each kernel to the key under which it was saved; code is made
from the points when it is first needed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.graph import Affine, Array, Graph, Node, Requant, TensorType
from ..graph.integer import verify
from ..graph.signature import read_signature
from ..options import checks
from ..quant.recipe import Recipe
from ..target.cost import Cost
from ..tuner import files
from .choose import Choice
from .errors import InputError
from .prepare import Ready, ready
from .sealed import SealError, seal, unseal
from .targets import parse
from .tuned import Tuned

SCHEMA = 4
MODEL, CONSTANTS = "model.json", "constants.npz"


def require_place(path: object) -> Path:
    """Refuses a path that ``save`` could not write, before hours are spent on what it saves."""
    target = checks.path("save: path", path)
    try:
        files.require_place(target)
    except OSError as error:
        raise _unwritten(target, error) from None
    return target


def save(tuned: Tuned, path: str | os.PathLike[str]) -> None:
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
    graph = _graph(data["graph"], constants)
    verify(graph)
    signature = read_signature(data["signature"])
    signature.check(len(graph.inputs), len(graph.outputs))
    recipe = Recipe.read("load: the recipe", data.get("recipe", {}))
    return _tuned(ready(graph, parse(data["target"]), signature, recipe), data["kernels"], path)


def _tuned(found: Ready, kernels: Mapping[str, Any], path: object) -> Tuned:
    missing = [task.name for task in found.tasks if task.key not in kernels]
    if missing:
        raise InputError(
            f"load: {path} must be of this version of dovetail, but it has other code for the "
            f"kernels {', '.join(missing)}; compile the model again"
        )
    choices, defaults = {}, {}
    for task in found.tasks:
        row = kernels[task.key]
        cost = {**row["cost"], "executed": tuple(map(tuple, row["cost"]["executed"]))}
        choices[task.key] = Choice(task.space.point(row["point"]), Cost(**cost))
        defaults[task.key] = row["default_cycles"]
    return Tuned(found, choices, defaults)


def _spelled(tuned: Tuned) -> dict[str, Any]:
    kernels = {
        key: {
            "point": choice.point,
            "cost": asdict(choice.cost),
            "default_cycles": tuned.defaults[key],
        }
        for key, choice in sorted(tuned.choices.items())
    }
    graph = _spelled_graph(tuned.ready.graph)
    form, recipe = tuned.ready.signature.spell(), tuned.recipe.logged()
    return {
        "schema": SCHEMA,
        "target": tuned.target,
        "signature": form,
        "graph": graph,
        "kernels": kernels,
        **({"recipe": recipe} if recipe else {}),
    }


def _arrays(constants: Mapping[str, Array]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **constants)
    return stream.getvalue()


def _spelled_graph(graph: Graph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "types": {name: asdict(kind) for name, kind in graph.types.items()},
        "nodes": [
            {
                "op": node.op,
                "inputs": node.inputs,
                "output": node.output,
                "attrs": {name: _spell(value) for name, value in node.attrs.items()},
                "origin": node.origin,
            }
            for node in graph.nodes
        ],
    }


def _graph(data: Mapping[str, Any], constants: Mapping[str, Array]) -> Graph:
    types = {name: _type(kind) for name, kind in data["types"].items()}
    nodes = [
        Node(
            row["op"],
            tuple(row["inputs"]),
            row["output"],
            {name: _read(value) for name, value in row["attrs"].items()},
            row["origin"],
        )
        for row in data["nodes"]
    ]
    return Graph(data["name"], data["inputs"], data["outputs"], nodes, types, dict(constants))


def _type(data: Mapping[str, Any]) -> TensorType:
    affine = Affine(**data["affine"]) if data["affine"] else None
    return TensorType(tuple(data["shape"]), data["element"], affine)


def _spell(value: object) -> object:
    """An attribute as JSON: plain values, tuples as lists, a requantization under its name."""
    match value:
        case Requant():
            return {"requant": asdict(value)}
        case tuple() | list():
            return [_spell(part) for part in value]
        case np.generic():
            return value.item()
        case bool() | int() | float() | str() | None:
            return value
    raise TypeError(f"an attribute is plain data, but got {value!r}")


def _read(value: Any) -> Any:
    match value:
        case {"requant": fields}:
            return Requant(**{name: _read(field) for name, field in fields.items()})
        case list():
            return tuple(_read(part) for part in value)
        case _:
            return value
