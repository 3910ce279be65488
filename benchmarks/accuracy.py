"""int8 against float: our integer graphs beside ONNX Runtime's static per-channel quantization.

python benchmarks/accuracy.py [MODEL ...] [--observer NAME] [--no-onnx] [--json]

Both see the same 8 calibration batches; the signal to quantization noise of the output, in dB, is
taken on 8 further batches. ``digits`` also shows top-1 on its held-out split. Weights are i8 per
channel on both sides, activations u8 per tensor. Exit code 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dovetail.driver.zoo import build, calibration, names
from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Array, Graph
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.observe import OBSERVERS
from dovetail.quant.quantize import quantize
from dovetail.quant.recipe import Recipe

CALIBRATION = 8
ALLOWED_LOSS = 1.0  # dB below ONNX Runtime
ALLOWED_DROP = 0.5  # points of top-1


@dataclass(frozen=True, slots=True)
class Result:
    """SQNR in dB (ours, ONNX Runtime's) and top-1 (float, int8) where they were taken."""

    model: str
    sqnr: float
    onnxruntime: float | None
    quantize_seconds: float
    evaluate_seconds: float
    top1_float: float | None = None
    top1_int8: float | None = None

    def holds(self) -> bool:
        near = self.onnxruntime is None or self.sqnr >= self.onnxruntime - ALLOWED_LOSS
        if self.top1_float is None or self.top1_int8 is None:
            return near
        return near and self.top1_float - self.top1_int8 <= ALLOWED_DROP


def run(integer: Graph, batch: Sequence[Array]) -> list[Array]:
    """The integer graph on float inputs, in reals."""
    return dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))


def measure(name: str, recipe: Recipe, with_onnx: bool) -> Result:
    module, example = build(name)
    batches = [[t.numpy() for t in batch] for batch in calibration(name, 2 * CALIBRATION)]
    known, fresh = batches[:CALIBRATION], batches[CALIBRATION:]
    graph = import_model(module, example)
    start = time.perf_counter()
    integer = quantize(graph, known, recipe)
    quantized = time.perf_counter()
    ours = [run(integer, batch)[0] for batch in fresh]
    seconds = (time.perf_counter() - quantized) / len(fresh)
    real = np.stack([evaluate_float(graph, batch)[0] for batch in fresh])
    theirs = onnxruntime_outputs(module, example, known, fresh) if with_onnx else None
    return Result(
        name,
        sqnr(real, np.stack(ours)),
        None if theirs is None else sqnr(real, theirs),
        quantized - start,
        seconds,
        *(digits_top1(graph, integer) if name == "digits" else (None, None)),
    )


def digits_top1(graph: Graph, integer: Graph) -> tuple[float, float]:
    """Top-1 in percent on the held-out digits, float and int8."""
    from dovetail.driver.zoo.digits import load_digits

    data = load_digits()
    labels = data.held_labels.numpy()
    images = [[image[None]] for image in data.held_images.numpy()]
    guesses = (
        [int(evaluate_float(graph, image)[0].argmax()) for image in images],
        [int(run(integer, image)[0].argmax()) for image in images],
    )
    real, rounded = (100 * float((np.array(g) == labels).mean()) for g in guesses)
    return real, rounded


class Batches:
    """Calibration data as ONNX Runtime reads it."""

    def __init__(self, names: Sequence[str], batches: Sequence[Sequence[Array]]) -> None:
        self.rows = iter([dict(zip(names, batch, strict=True)) for batch in batches])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.rows, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        raise NotImplementedError("the whole of the data is read at once")


def onnxruntime_outputs(
    module: Any,
    example: tuple[torch.Tensor, ...],
    known: Sequence[Sequence[Array]],
    fresh: Sequence[Sequence[Array]],
) -> Array:
    """First outputs on ``fresh`` of ONNX Runtime's model, min-max calibrated on ``known``."""
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _silence():
        model, ready, int8 = (str(Path(folder, f"{n}.onnx")) for n in ("float", "ready", "int8"))
        torch.onnx.export(module, example, model, dynamo=True, external_data=False)
        quant_pre_process(model, ready)
        session = onnxruntime.InferenceSession(ready)
        inputs = [value.name for value in session.get_inputs()]
        quantize_static(
            ready,
            int8,
            Batches(inputs, known),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        session = onnxruntime.InferenceSession(int8)
        rows = [dict(zip(inputs, batch, strict=True)) for batch in fresh]
        return np.stack([np.asarray(session.run(None, row)[0]) for row in rows])


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter and the quantizer print advice."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def show(result: Result) -> str:
    theirs = "-" if result.onnxruntime is None else f"{result.onnxruntime:.1f}"
    line = f"{result.model:14} {result.sqnr:8.1f} {theirs:>12} "
    line += f"{result.quantize_seconds:9.1f} s {result.evaluate_seconds:9.2f} s"
    if result.top1_float is not None:
        line += f"   top-1 {result.top1_float:.2f} % float, {result.top1_int8:.2f} % int8"
    return line + ("" if result.holds() else "   BELOW THE LIMIT")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", default=names(), metavar="MODEL")
    parser.add_argument("--observer", default="minmax", choices=list(OBSERVERS))
    parser.add_argument("--no-onnx", action="store_true", help="only our own numbers")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # the exporters warn about themselves
    results = []
    if not options.json:
        print(f"{'model':14} {'ours dB':>8} {'ORT dB':>12} {'quantize':>11} {'a run':>11}")
    for name in options.models:
        results.append(measure(name, Recipe(options.observer), not options.no_onnx))
        if not options.json:
            print(show(results[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    return 0 if all(result.holds() for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
