"""``make demo``: a net trained on real digits, quantized, tuned, and shown kernel by kernel.

Writes demo/demo.jsonl, the log of the search, and demo/demo.png, its curve. A second run resumes
the log: the search is not done again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from ..tuner.task import MODEL
from . import printed, progress
from .errors import user_errors

if TYPE_CHECKING:
    from ..tuner.run import Progress
    from .tuned import Tuned
    from .zoo.digits import Trained

TRIALS = 128
FOLDER = Path("demo")


@dataclass(slots=True)
class Curve:
    """The model's cycles in walks of its whole program: the fewest after each trial, and those of
    the trial itself where it was a walk; other trials are of kernels by themselves."""

    best: list[float] = field(default_factory=list)
    tried: list[float] = field(default_factory=list)  # NaN for other trials

    def hear(self, progress: Progress) -> None:
        """A trial was written."""
        if progress.record is not None:
            walked = progress.task.kind == MODEL and progress.record.cycles
            self.tried.append(walked or nan)
            self.best.append(progress.total)


def main(trials: int = TRIALS, folder: Path = FOLDER) -> None:
    """The whole demo."""
    start = perf_counter()
    folder.mkdir(exist_ok=True)
    trained = _train()
    tuned, curve = _tune(trained, trials, folder / "demo.jsonl")
    _show(trained, tuned)
    plot(curve, tuned, folder / "demo.png")
    print(
        f"\nlog {folder / 'demo.jsonl'}, plot {folder / 'demo.png'}, "
        f"{perf_counter() - start:.0f} s in all"
    )


def _train() -> Trained:
    from .zoo.digits import train_digits

    print("training a small ResNet on scikit-learn's handwritten digits ...", flush=True)
    trained = train_digits()
    data = trained.data
    print(f"{len(data.train_labels)} images to train, {len(data.held_labels)} held out")
    return trained


def _tune(trained: Trained, trials: int, log: Path) -> tuple[Tuned, Curve]:
    from ..tuner.settings import Search
    from .api import tune

    print(f"quantizing to int8 and tuning for the DSP, {trials} trials ...", flush=True)
    curve = Curve()

    with progress.watching("default schedules") as watcher:
        tuned = tune(
            trained.module, trials, trained.calibration[0],
            watcher.batches(trained.calibration), log=log,
            search=Search(append=True), callbacks=(watcher.hear, curve.hear),
        )  # fmt: skip
    return tuned, curve


def _show(trained: Trained, tuned: Tuned) -> None:
    exact, right = accuracy(tuned, trained)
    print("\naccuracy on the held-out images")
    printed.table(("", "top-1 %"), [("float", 100 * trained.accuracy), ("int8", 100 * right)])
    same = "all outputs are" if exact else "NOT ALL outputs are"
    print(f"{same} byte for byte those of the exact integer evaluation\n")
    printed.kernel_table(tuned)
    gain = 1 - tuned.cycles / max(tuned.default_cycles, 1)
    said = f"{gain:.1%} fewer" if gain else "no trial was better"
    print(
        f"\n{tuned.default_cycles:,} cycles by default, {tuned.cycles:,} tuned ({said}), "
        f"bound {tuned.bound:,}: "
        f"{tuned.cycles / tuned.ready.machine.clock * 1e6:.0f} us an image"
    )


def accuracy(tuned: Tuned, trained: Trained) -> tuple[bool, float]:
    """Whether every output is the reference's, and the share of held-out images labelled right."""
    import torch

    exact, right = True, 0
    images, labels = trained.data.held_images, trained.data.held_labels
    for image, label in zip(images, labels, strict=True):
        found, wanted = tuned(image[None]), tuned.reference(image[None])
        assert isinstance(found, torch.Tensor) and isinstance(wanted, torch.Tensor)
        exact = exact and torch.equal(found, wanted)
        right += int(found.argmax()) == int(label)
    return exact, right / len(labels)


def plot(curve: Curve, tuned: Tuned, path: Path) -> None:
    """The search curve, and the kernels' cycles by default, tuned and at least."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5))
    left.plot(
        range(1, len(curve.tried) + 1), curve.tried, ".", alpha=0.5, label="walk of the model"
    )
    left.plot(range(1, len(curve.best) + 1), curve.best, label="best so far")
    left.axhline(tuned.bound, linestyle=":", color="black", label="bound")
    left.set(title="Search", xlabel="trials", ylabel="cycles of the model", ylim=(0, None))
    left.legend()
    rows = tuned.kernels
    places = range(len(rows))
    for shift, name in ((-0.3, "default_cycles"), (0.0, "cycles"), (0.3, "bound")):
        values = [getattr(row, name) for row in rows]
        right.barh([at + shift for at in places], values, 0.3, label=name.replace("_", " "))
    right.set_yticks(list(places), [row.name for row in rows])
    right.invert_yaxis()
    right.set(title="Kernels", xlabel="cycles")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        printed.warn(f"error: {error}")
        sys.exit(2)
    except user_errors() as error:
        printed.warn(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        printed.warn("interrupted: make demo resumes")
        sys.exit(130)
