"""One run of a model for the command line; outputs of code are held to the reference.

run_model(tuned, Path("inputs.npz"), None)["exact"]
"""

from __future__ import annotations

import io
import os
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..graph.graph import Array
from ..tuner import files
from .errors import InputError
from .executed import executed
from .inputs import as_array, given
from .quantized import Quantized
from .tuned import Tuned

SHOWN = 8  # values of an output that a person sees


def run_model(
    model: Quantized, inputs: object, output: Path | None, emulated: bool = False
) -> dict[str, Any]:
    """The run's seconds, whether the bytes of code are the reference's, and the outputs; where code
    is ``emulated``, each kernel's packets."""
    if inputs is None:
        raise InputError("run: this model comes without example inputs; give --input FILE.npz")
    if isinstance(inputs, Path):
        found = [as_array(array) for array in _read(inputs)]
    else:
        found = given(model.signature, inputs)
    arrays = model.quantized_arrays(found)
    if isinstance(model, Tuned) and not emulated:
        model.runtime.prepare()
    start = perf_counter()
    facts: dict[str, Any] = {"seconds": 0.0}
    if isinstance(model, Tuned) and emulated:
        done = executed(model, arrays)
        found, facts["packets"] = done.outputs, [asdict(row) for row in done.rows]
    else:
        found = model.run(arrays)
    facts["seconds"] = round(perf_counter() - start, 6)
    if isinstance(model, Tuned):
        wanted = model.exact(arrays)
        facts["exact"] = all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    real, names = model.real(found), model.graph.outputs
    if output is not None:
        _write(output, dict(zip(names, real, strict=True)))
    rows = [_shown(name, array) for name, array in zip(names, real, strict=True)]
    return {**facts, "outputs": rows}


def _shown(name: str, array: Array) -> dict[str, Any]:
    first = [round(float(value), 6) for value in array.reshape(-1)[:SHOWN]]
    more = " ..." if array.size > SHOWN else ""
    head = " ".join(f"{value:g}" for value in first) + more
    return {"name": name, "shape": list(array.shape), "first": first, "head": head}


def _read(path: Path) -> list[Array]:
    """The arrays of a .npy or a .npz."""
    try:
        with open(files.open_regular(path, os.O_RDONLY), "rb") as stream:
            return _arrays(np.load(io.BytesIO(stream.read()), allow_pickle=False))
    except FileNotFoundError:
        raise InputError(f"run: the input file must exist, but {path} does not") from None
    except OSError as error:
        raise InputError(f"run: {path} cannot be read: {error.strerror or error}") from None
    except Exception:  # of NumPy, zip and zlib, each in its own way
        raise InputError(f"run: {path} must be a .npy or .npz of numbers, but it is not") from None


def _arrays(found: Any) -> list[Array]:
    if isinstance(found, np.ndarray):
        return [found]
    with found:
        return [found[name] for name in found.files]


def require_place(path: Path | None) -> None:
    """InputError where outputs could not be written."""
    try:
        if path is not None:
            files.require_place(path)
    except OSError as error:
        raise InputError(f"run: {path} cannot be written: {error.strerror}") from None


def _write(path: Path, arrays: dict[str, Array]) -> None:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    try:
        files.write_whole(path, stream.getvalue())
    except OSError as error:
        raise InputError(f"run: {path} cannot be written: {error.strerror}") from None
