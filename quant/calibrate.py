"""Runs calibration batches through the float graph and reduces what each tensor shows to a range.

Batches come one at a time and are not kept. A batch may hold several of the graph's batches: it
is cut along the first axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..graph.emitting import FloatStep
from ..graph.evaluate_float import evaluate_float
from ..graph.graph import Array, Graph
from ..graph.operators import BY_NAME
from .errors import CalibrationError
from .given_graphs import arrays as arrays_of
from .given_graphs import iterated
from .observe import OBSERVERS, Observer, Range, union
from .plan import activations
from .probabilities import Probabilities


def ranges(
    graph: Graph,
    steps: Sequence[FloatStep],
    calibration: Iterable[Sequence[Array]],
    observer: str,
) -> dict[str, Range]:
    """The range over all batches of each tensor that will be u8."""
    watched = _watched(graph, steps, observer)

    selected = {step.output for step in steps if BY_NAME[step.op].selects}

    def record(name: str, array: Array) -> None:
        if name not in watched:
            return
        finite = np.isfinite(array)
        if not finite.all():
            if name not in selected:  # a window of nothing but pads shows the pads' infinity
                raise CalibrationError(
                    f"calibration: every tensor must be finite, but {name} became NaN or infinite"
                )
            array = array[finite]
        watched[name].add(array)

    for inputs in graph_batches(graph, calibration):
        evaluate_float(graph, inputs, record)
    for name in graph.constants.keys() & watched.keys():
        record(name, graph.constants[name])
    found = {name: watch.range() for name, watch in watched.items()}
    for step in steps:
        if BY_NAME[step.op].moves and step.output not in found:
            found[step.output] = _moved(step, found)
    return found


def graph_batches(graph: Graph, calibration: Iterable[Sequence[Array]]) -> Iterator[list[Array]]:
    """The batches as the graph takes them, checked, one after the other."""
    count = 0
    for count, batch in enumerate(iterated("calibration", calibration), start=1):
        yield from _cut(graph, count, batch)
    if not count:
        raise CalibrationError("calibration: at least one batch is needed, but there was none")


def _watched(graph: Graph, steps: Sequence[FloatStep], observer: str) -> dict[str, Observer]:
    """An observer for each tensor whose range does not follow from the inputs of a move."""
    read = [name for step in steps for name in activations(graph, step)]
    specs = {step.output: BY_NAME[step.op] for step in steps}
    moved = {name for name, spec in specs.items() if spec.moves and not spec.selects}
    names = dict.fromkeys([*graph.inputs, *read, *graph.outputs])
    watched = {name: OBSERVERS[observer]() for name in names if name not in moved}
    for step in (step for step in steps if specs[step.output].probabilities):
        watched[step.output] = Probabilities(step.attrs[specs[step.output].probabilities])
    return watched


def _moved(step: FloatStep, found: Mapping[str, Range]) -> Range:
    """The range of a move's inputs, and of a pad's value where that is finite."""
    value = step.attrs.get(BY_NAME[step.op].fill)
    ranges = [found[name] for name in step.inputs]
    if isinstance(value, float) and math.isfinite(value):
        ranges.append((value, value))
    return union(*ranges)


def _cut(graph: Graph, index: int, batch: Sequence[Array]) -> Iterator[list[Array]]:
    """The graph's batches in one calibration batch, checked."""
    arrays = arrays_of("calibration", graph, index, batch)
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
    """How many arrays of the wanted shape ``shape`` holds along its first axis, 0 if none."""
    if shape == wanted:
        return 1
    fits = len(shape) == len(wanted) and shape[1:] == wanted[1:] and wanted[:1] != (0,)
    return shape[0] // wanted[0] if fits and shape and shape[0] % wanted[0] == 0 else 0
