"""A command's model, by name, path or function, and the compiled model made from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..progress import watching

if TYPE_CHECKING:
    from ...quant.recipe import Recipe
    from ...tuner.missing import Missing
    from ..points import KernelDrift
    from ..quantized import Quantized
    from ..source import ModelSource
    from ..tuned import Tuned


def check_output(output: Path | None) -> None:
    """InputError where a compiled model could not be saved."""
    from ..saving import require_place

    if output is not None:
        require_place(output)


def source_of(model: str, calibration: str | None) -> ModelSource:
    """The model that MODEL names, with the batches that --calibration names."""
    from dataclasses import replace

    from ..source import called, find, guarded

    source = find(model)
    if calibration is None:
        return source
    if source.kernel is not None:
        raise InputError(f"calibration: {model} is a kernel, which takes none, but it was given")
    what = f"calibration: {calibration}"
    return replace(source, calibration=guarded(called(calibration, "calibration"), what))


def model_of(model: str, calibration: str | None) -> ModelSource:
    """As ``source_of``, for commands that take models only."""
    source = source_of(model, calibration)
    if source.kernel is not None:
        raise InputError(
            f"model: {model} must be a model, but is a kernel, which compile, tune, replay and "
            "explain take"
        )
    return source


def compiled(
    source: ModelSource, log: Path | None, target: str, workers: int | None, recipe: Recipe
) -> Tuned:
    """The model at its defaults or at a log's best points; progress is shown meanwhile."""
    from .. import api

    with watching("kernels") as watcher:
        return api.compile(
            source.model, source.inputs, watcher.batches(source.calibration), target, log,
            recipe=recipe, executor=workers, callbacks=[watcher.hear],
        )  # fmt: skip


def saved_or_compiled(
    model: str, log: Path | None, target: str, calibration: str | None, workers: int | None,
    recipe: Recipe,
) -> tuple[Tuned, object]:  # fmt: skip
    """A saved model, or one compiled now, with its example inputs."""
    from ..source import SAVED, saved

    if not model.endswith(SAVED):
        source = model_of(model, calibration)
        return compiled(source, log, target, workers, recipe), _examples(source)
    return saved(model, log, recipe), None


def saved_or_quantized(
    model: str, log: Path | None, calibration: str | None, recipe: Recipe
) -> tuple[Quantized, object]:
    """A model in integers, without code, with its example inputs."""
    from ..quantized import quantize
    from ..source import SAVED, saved

    if model.endswith(SAVED):
        found = saved(model, log, recipe)
        return found.without_code(), None
    if log is not None:
        raise InputError("log: an evaluation needs no points, but --log was given")
    source = model_of(model, calibration)
    with watching("kernels") as watcher:
        batches = watcher.batches(source.calibration)
        return quantize(source.model, source.inputs, batches, recipe=recipe), _examples(source)


def _examples(source: ModelSource) -> object:
    """Example inputs; a .pt2 may hold its own."""
    from ..prepare import examples

    return examples(source.model, source.inputs)


def tell_missing(missing: Iterable[Missing]) -> None:
    """A line for each kernel that runs its default because the log does not know its form."""
    for row in missing:
        print(f"{row.name}: not in the log, so it runs its default: {row.why}")


def drifted(drift: Iterable[KernelDrift]) -> list[dict[str, Any]]:
    """The JSON of a verified replay."""
    return [
        {"name": d.name, "status": d.status, "logged": d.logged, "cycles": d.cycles,
         "same": d.same, "message": d.message} for d in drift
    ]  # fmt: skip


def tell_drift(drift: Iterable[KernelDrift]) -> None:
    """A line for each kernel that was measured again."""
    for row in drift:
        why = f"{row.logged} -> {row.cycles} cycles, {row.status} {row.message}".strip()
        print(f"{row.name}: {'repeats' if row.same else 'DRIFTED: ' + why}")


def summary(name: str, tuned: Tuned) -> dict[str, Any]:
    """The JSON that compile, replay and profile print."""
    from dataclasses import asdict

    rows = [row.as_dict() for row in tuned.kernels]
    return {
        "model": name, "target": tuned.target, "recipe": tuned.recipe.as_dict(),
        "cycles": tuned.cycles, "steady_cycles": tuned.steady_cycles,
        "default_cycles": tuned.default_cycles, "bound": tuned.bound,
        "memory": asdict(tuned.memory), "kernels": rows,
        "missing": [asdict(row) for row in tuned.missing],
    }  # fmt: skip
