"""How a float graph becomes an integer one: the options of quantization, a row each.

    tune(model, example_inputs=(x,), recipe=Recipe(observer="percentile"))
    quantize(graph, batches, Recipe(mode="float", algorithms=("bias_correction",)))

An option that is added here is an argument of ``Recipe``, a flag of every command that quantizes,
and stands in logs and saved models where it is not the default.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph.fuse import RESIDUALS
from ..graph.requantize import MODES
from ..options.record import Among, Options, Several, option
from . import algorithms as algorithms  # enters their rows
from . import observers as observers  # enters their rows
from .draft import ALGORITHMS
from .observe import OBSERVERS


@dataclass(frozen=True, slots=True)
class Recipe(Options):
    """The options of quantization; InputError for a value that cannot be used."""

    observer: str = option(
        "minmax", Among(OBSERVERS), "Which of its values in calibration a tensor shall hold."
    )
    mode: str = option(
        "single", Among(MODES), "How sums are rescaled to 8 bits.", word="requantize"
    )
    residual: str = option(
        "once", Among(RESIDUALS), "When what is added to a sum of products is rounded."
    )
    algorithms: tuple[str, ...] = option(
        (), Several(ALGORITHMS), "What else is done, in this order.", word="algorithm"
    )


DEFAULT_RECIPE = Recipe()
