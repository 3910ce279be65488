"""The code of the small zoo at defaults is that of ``listings.txt``: a change that should alter no
code, of names or of structure, is held to the last byte of it.

    resnet8
    stem.relu d47d083eda204c4a@dsp 1520 5f1c0e8a9d3b7c21     # kernel, key, cycles, hash of listing

Where code shall change, ``python -m tests.driver.test_listings`` writes the file anew.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dovetail.driver import zoo
from dovetail.driver.api import compile as compile_model
from dovetail.driver.kernel_task import KernelTask
from dovetail.tuner.measure import default_workers

FILE = Path(__file__).with_name("listings.txt")
MODELS = ("digits", "resnet8", "dscnn", "autoencoder")


def listed(model: str, workers: int) -> list[str]:
    """A line a kernel of a zoo model at its default schedules."""
    module, inputs = zoo.build(model)
    tuned = compile_model(module, inputs, zoo.calibration(model), executor=workers)
    found = []
    for row in tuned.kernels:
        code = formal(tuned.kernel(row.name)).compiled(row.point).listing.text
        digest = hashlib.sha256(code.encode()).hexdigest()[:16]
        found.append(f"{row.name} {row.key} {row.cycles} {digest}")
    return found


def formal(task: KernelTask) -> KernelTask:
    """The kernel with the least number of each class: those of calibration hang on the CPU."""
    kernel = task.kernel
    least = {name: low for name, (low, _) in kernel.bands.items() if name in kernel.func.numbers}
    numbers = {**kernel.func.numbers, **least}
    return replace(task, kernel=replace(kernel, func=replace(kernel.func, numbers=numbers)))


def recorded() -> dict[str, list[str]]:
    """The file's lines by model."""
    parts = FILE.read_text().strip().split("\n\n")
    return {model: lines for model, *lines in map(str.splitlines, parts)}


@pytest.mark.parametrize("model", MODELS)
def test_code_is_as_recorded(model: str) -> None:
    assert listed(model, 0) == recorded()[model]


if __name__ == "__main__":
    names = sys.argv[1:] or MODELS
    texts = ["\n".join([name, *listed(name, default_workers())]) for name in names]
    if sys.argv[1:]:  # of these models, to be compared by hand
        print("\n\n".join(texts))
    else:
        FILE.write_text("\n\n".join(texts) + "\n")
