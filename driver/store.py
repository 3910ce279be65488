"""A compiled model as a file: a zip of JSON and of plain arrays, no pickle.

    model.json       schema, machine, integer graph, the point and cost of each distinct kernel
    constants.npz    the graph's constants

Loading lowers and places the graph anew, and holds each kernel to the key under which it was saved;
code is made from the points when it is first needed.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.graph import Affine, Array, Graph, Node, Requant, TensorType
from ..graph.integer import verify
from ..target.dsp.cycles import Cost
from .choose import Choice
from .errors import InputError
from .prepare import Ready, ready
from .target import parse
from .tuned import Tuned

SCHEMA = 1
MODEL, CONSTANTS = "model.json", "constants.npz"


def require_place(path: str | os.PathLike[str]) -> None:
    """Refuses a path that ``save`` could not write, before hours are spent on what it saves."""
    target = Path(path)
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "a device"
        raise InputError(f"save: {path} must be a file or new, but it is {what}")
    folder = target.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        why = "Permission denied" if folder.is_dir() else "No such file or directory"
        raise InputError(f"save: {path} cannot be written: {why}")


def save(tuned: Tuned, path: str | os.PathLike[str]) -> None:
    """Writes the file beside its place first, so that a broken write leaves nothing behind."""
    require_place(path)
    target = Path(path)
    near = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(near, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MODEL, json.dumps(_spelled(tuned)))
            archive.writestr(CONSTANTS, _arrays(tuned.ready.graph.constants))
        near.replace(target)
    except OSError as error:
        raise InputError(f"save: {path} cannot be written: {error.strerror}") from None
    finally:
        near.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Tuned:
    """The model of a file that ``Tuned.save`` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read(MODEL))
            with np.load(io.BytesIO(archive.read(CONSTANTS)), allow_pickle=False) as arrays:
                constants = {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise InputError(f"load: the file must exist, but {path} does not") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise _other(path) from None
    if not isinstance(data, dict):
        raise _other(path)
    if data.get("schema") != SCHEMA:
        raise InputError(f"load: {path} must have schema {SCHEMA}, but has {data.get('schema')!r}")
    try:
        graph = _graph(data["graph"], constants)
        verify(graph)
        return _tuned(ready(graph, parse(data["target"])), data["kernels"], path)
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _other(path) from error


def _other(path: object) -> InputError:
    return InputError(f"load: {path} must be a file that save() wrote, but it is not")


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
        for key, choice in tuned.choices.items()
    }
    graph = _spelled_graph(tuned.ready.graph)
    return {"schema": SCHEMA, "target": tuned.target, "graph": graph, "kernels": kernels}


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
