"""An integer graph as plain data, both ways; its constants lie apart.

read(spelled(graph), graph.constants)       # the same graph
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..graph.graph import Affine, Array, Graph, Node, Requant, TensorType


def spelled(graph: Graph) -> dict[str, Any]:
    """The graph as JSON takes it."""
    return {
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "types": {name: asdict(kind) for name, kind in graph.types.items()},
        "nodes": [_node(node) for node in graph.nodes],
    }


def _node(node: Node) -> dict[str, object]:
    return {
        "op": node.op,
        "inputs": node.inputs,
        "output": node.output,
        "attrs": {name: _spell(value) for name, value in node.attrs.items()},
        "origin": node.origin,
    }


def read(data: Mapping[str, Any], constants: Mapping[str, Array]) -> Graph:
    """The graph of what ``spelled`` gave."""
    types = {name: _type(kind) for name, kind in data["types"].items()}
    nodes = [_read_node(row) for row in data["nodes"]]
    return Graph(data["name"], data["inputs"], data["outputs"], nodes, types, dict(constants))


def _read_node(row: Mapping[str, Any]) -> Node:
    attrs = {name: _read(value) for name, value in row["attrs"].items()}
    return Node(row["op"], tuple(row["inputs"]), row["output"], attrs, row["origin"])


def _type(data: Mapping[str, Any]) -> TensorType:
    affine = Affine(**data["affine"]) if data["affine"] else None
    return TensorType(tuple(data["shape"]), data["element"], affine)


def _spell(value: object) -> object:
    """An attribute as JSON: plain values, tuples as lists, a requantization and a node under their
    names."""
    match value:
        case Node():
            return {"node": _node(value)}
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
        case {"node": row}:
            return _read_node(row)
        case {"requant": fields}:
            return Requant(**{name: _read(field) for name, field in fields.items()})
        case list():
            return tuple(_read(part) for part in value)
        case _:
            return value
