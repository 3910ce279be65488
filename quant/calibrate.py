"""Runs calibration batches through the float graph and reduces what each tensor shows to a range.

Batches come one at a time and are not kept. A batch may hold several of the graph's batches: it
is cut along the first axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..graph.evaluate_float import evaluate_float
from ..graph.graph import Array, Graph
from .errors import CalibrationError
from .observe import observer_of
from .plan import Step
from .share import MOVES

Range = tuple[float, float]


def ranges(
    graph: Graph,
    steps: Sequence[Step],
    groups: dict[str, str],
    calibration: Iterable[Sequence[Array]],
    observer: str,
) -> dict[str, Range]:
    """The range of each group of tensors over all batches."""
    watched = {group: observer_of(observer) for group in groups.values()}
    sources = set(groups) - _followers(steps, groups)

    def record(name: str, array: Array) -> None:
        if name in sources:
            if not np.isfinite(array).all():
                raise CalibrationError(
                    f"calibration: every tensor must be finite, but {name} became NaN or infinite"
                )
            watched[groups[name]].add(array)

    count = 0
    for count, batch in enumerate(calibration, start=1):
        for inputs in _cut(graph, count, batch):
            evaluate_float(graph, inputs, record)
    if not count:
        raise CalibrationError("calibration: at least one batch is needed, but there was none")
    for name in graph.constants.keys() & sources:
        record(name, graph.constants[name])
    found = {group: watch.range() for group, watch in watched.items()}
    return _with_padding(steps, groups, found)


def _followers(steps: Sequence[Step], groups: dict[str, str]) -> set[str]:
    """Tensors that hold only values which their group shows elsewhere."""
    return {
        step.output
        for step in steps
        if step.op in MOVES and {groups[name] for name in step.inputs} == {groups[step.output]}
    }


def _with_padding(
    steps: Sequence[Step], groups: dict[str, str], found: dict[str, Range]
) -> dict[str, Range]:
    """A pad's value is inside its tensor's range; an infinite one stands for the end."""
    for step in steps:
        value = step.attrs.get("value") if step.op == "pad" else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            low, high = found[groups[step.output]]
            found[groups[step.output]] = min(low, value), max(high, value)
    return found


def _cut(graph: Graph, index: int, batch: Sequence[Array]) -> Iterator[list[Array]]:
    """The graph's batches in one calibration batch, checked."""
    listed = isinstance(batch, (list, tuple))
    if not listed or len(batch) != len(graph.inputs):
        came = f"{len(batch)} arrays" if listed else f"of type {type(batch).__name__}"
        raise CalibrationError(
            f"calibration: a batch is a list of {len(graph.inputs)} arrays, one an input, "
            f"but batch {index} is {came}"
        )
    arrays = [np.asarray(array, np.float32) for array in batch]
    wanted = [graph.types[name].shape for name in graph.inputs]
    times = {_times(a.shape, shape) for a, shape in zip(arrays, wanted, strict=True)}
    parts = times.pop()
    if times or not parts:
        raise CalibrationError(
            f"calibration: inputs have the shapes {wanted} (or several of them along the first "
            f"axis), but batch {index} has {[a.shape for a in arrays]}"
        )
    if not all(np.isfinite(a).all() for a in arrays):
        raise CalibrationError(
            f"calibration: every value must be finite, but batch {index} has NaN or infinities"
        )
    if parts == 1:
        yield arrays
        return
    for part in zip(*(np.split(a, parts) for a in arrays), strict=True):
        yield list(part)


def _times(shape: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """How many arrays of the wanted shape ``shape`` holds along its first axis; 0: it does not."""
    if shape == wanted:
        return 1
    fits = len(shape) == len(wanted) and shape[1:] == wanted[1:] and wanted[:1] != (0,)
    return shape[0] // wanted[0] if fits and shape and shape[0] % wanted[0] == 0 else 0
