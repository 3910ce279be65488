"""What quantize and analyze refuse, in whole sentences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from dovetail.graph.graph import Graph, TensorType
from dovetail.quant.errors import CalibrationError, QuantizationError
from dovetail.quant.given_graphs import arrays, iterated, require_graph

ONE = Graph("one", ["x"], ["x"], types={"x": TensorType((2,), "f32")})

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no graph": (
        partial(require_graph, "quantize", 3),
        "quantize: the graph must be one of import_model or quantize, but got int",
    ),
    "no batches": (
        partial(iterated, "calibration", 3),
        "calibration: must be an iterable of batches, each a list of arrays, but got int",
    ),
    "a word": (
        partial(iterated, "analyze", "x"),
        "analyze: must be an iterable of batches, each a list of arrays, but got str",
    ),
    "a 0-d array": (
        partial(iterated, "analyze", np.array(3)),
        "analyze: must be an iterable of batches, each a list of arrays, but got ndarray",
    ),
    "no list": (
        partial(arrays, "analyze", ONE, 2, {"x": 1}),
        "analyze: a batch is a list of 1 arrays, one an input, but batch 2 is of type dict",
    ),
    "too few": (
        partial(arrays, "analyze", ONE, 2, []),
        "analyze: a batch is a list of 1 arrays, one an input, but batch 2 is 0 arrays",
    ),
    "words": (
        partial(arrays, "analyze", ONE, 2, ["x"]),
        "analyze: a batch is a list of arrays of real numbers, but batch 2 is none",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_thing_is_one_sentence(name: str) -> None:
    run, wanted = WRONG[name]
    with pytest.raises((CalibrationError, QuantizationError)) as caught:
        run()
    assert str(caught.value) == wanted


def test_batches_become_float_arrays() -> None:
    (found,) = arrays("analyze", ONE, 1, next(iterated("analyze", iter([[[1, 2]]]))))
    assert found.dtype == np.float32 and found.tolist() == [1, 2]
