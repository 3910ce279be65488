"""A quantized model without code: the exact evaluation of its integer graph, torch in, torch out.

quantized = quantize(model, (x,), batches, recipe=Recipe(mode="float"))
quantized(x)                     # float32, dequantized, in the form in which the model gives it
quantized.integers(x)            # the same in raw integers

``analyze`` says where the integers lose accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..graph.evaluate import evaluate
from ..graph.graph import Array, Graph
from ..graph.signature import Signature
from ..quant.affine import dequantize_outputs, quantize_inputs
from ..quant.recipe import DEFAULT_RECIPE, Recipe
from .errors import InputError
from .inputs import called
from .prepare import floating, imported

if TYPE_CHECKING:
    from ..quant.analyze import Layer


class Quantized:
    """An integer graph, the form of its inputs and outputs, and the recipe that made it."""

    def __init__(self, graph: Graph, signature: Signature, recipe: Recipe) -> None:
        self.graph, self.signature, self.recipe = graph, signature, recipe

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """The outputs in reals, in the form in which the model gives them.

        Arguments are those of the model, by place or by name: ``quantized(x, mask=m)``. A call
        with one tuple, list or dict may hold all of them in it, as a calibration batch does.
        """
        return self._form(self.real(self.run(self.quantized(*args, **kwargs))))

    def integers(self, *args: object, **kwargs: object) -> Any:
        """The outputs before they become reals: u8."""
        return self._form(self.run(self.quantized(*args, **kwargs)))

    def reference(self, *args: object, **kwargs: object) -> Any:
        """The outputs by the exact evaluation of the integer graph, dequantized the same way."""
        return self._form(self.real(self.exact(self.quantized(*args, **kwargs))))

    def exact(self, arrays: Sequence[Array]) -> list[Array]:
        """The graph's outputs by the exact evaluation: u8."""
        return evaluate(self.graph, arrays)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The graph's outputs: u8."""
        return self.exact(arrays)

    def quantized(self, *args: object, **kwargs: object) -> list[Array]:
        """A call's inputs as the integer graph takes them."""
        return self.quantized_arrays(called(self.signature, args, kwargs))

    def quantized_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """An array an input, as the integer graph takes them."""
        wanted = [self.graph.types[name].shape for name in self.graph.inputs]
        if [array.shape for array in arrays] != wanted:
            raise InputError(
                f"run: the inputs must have the shapes {', '.join(map(str, wanted))}, "
                f"but got {', '.join(str(array.shape) for array in arrays) or 'none'}"
            )
        return quantize_inputs(self.graph, arrays)

    def real(self, outputs: Sequence[Array]) -> list[Array]:
        """The graph's u8 outputs in reals."""
        return dequantize_outputs(self.graph, outputs)

    def _form(self, arrays: Sequence[Array]) -> Any:
        """Outputs as the model gives them."""
        import torch

        tensors = [torch.from_numpy(array.copy()) for array in arrays]
        return self.signature.result(tensors)


def quantize(
    model: object,
    example_inputs: object = None,
    calibration: object = None,
    *,
    recipe: Recipe = DEFAULT_RECIPE,
) -> Quantized:
    """The model in integers, evaluated exactly: no target, no code, any recipe.

    Example inputs and calibration are as for ``tune``.
    """
    recipe = Recipe.require("recipe:", recipe)
    graph, signature = imported(model, example_inputs, calibration, recipe)
    return Quantized(graph, signature, recipe)


def analyze(
    model: object,
    example_inputs: object = None,
    calibration: object = None,
    *,
    recipe: Recipe = DEFAULT_RECIPE,
) -> list[Layer]:
    """The signal to noise of each layer in dB, over the calibration batches."""
    recipe = Recipe.require("recipe:", recipe)
    from ..quant import analyze, quantize

    graph, _, batches = floating(model, example_inputs, calibration)
    kept = list(batches)
    return analyze.analyze(graph, quantize.quantize(graph, kept, recipe), kept)
