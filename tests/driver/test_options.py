"""Options as data: what enters in one row is a keyword, a flag, in help, logs, files and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import dovetail
from dovetail import Recipe, Search, compile, load, replay, tune
from dovetail.driver.cli import asking, compiling, tuning
from dovetail.driver.errors import InputError
from dovetail.graph.graph import Array, Requant
from dovetail.graph.requantize import MODES, Integers, Mode
from dovetail.graph.torch_import import import_model
from dovetail.options.record import at_least, option
from dovetail.options.registry import enter_files
from dovetail.quant import algorithms, observers
from dovetail.quant.draft import ALGORITHMS
from dovetail.quant.observe import OBSERVERS
from dovetail.quant.quantize import quantize
from dovetail.schedule.knobs import Point, key
from dovetail.tuner.records import LogError, read
from dovetail.tuner.search import SEARCHES, Exhaustive
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.tune import run_header, tune_tasks
from tests.driver.calls import call, ok
from tests.driver.conftest import Batches

Refused = Callable[[type[Exception], Callable[[], object]], str]

NARROW = '''
"""Only the middle of the values."""

from ..observe import OBSERVERS
from .percentile import Percentile


@OBSERVERS.row("narrow", "the middle 99.5 % of them")
class Narrow(Percentile):
    def __init__(self) -> None:
        super().__init__(99.5)
'''


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An observer in one file that is in its folder."""
    folder = tmp_path / "observers"
    folder.mkdir()
    (folder / "narrow.py").write_text(NARROW)
    for table in ("_things", "_phrases"):
        monkeypatch.setattr(OBSERVERS, table, dict(getattr(OBSERVERS, table)))
    monkeypatch.setattr(observers, "__path__", [*observers.__path__, str(folder)])
    enter_files(observers.__name__, observers.__path__)
    yield "narrow"
    del sys.modules["dovetail.quant.observers.narrow"], observers.narrow  # type: ignore[attr-defined]


COMMANDS = ["tune", "compile", "run", "replay", "profile", "explain", "analyze"]


def test_an_observer_is_one_file(
    narrow: str, model: nn.Module, batches: Batches, refused: Refused
) -> None:
    graph = import_model(model, batches[0])
    data = [[array.numpy() for array in batch] for batch in batches]
    wide, tight = (quantize(graph, data, Recipe(name)) for name in ("minmax", narrow))
    x = graph.inputs[0]
    assert tight.types[x].affine.scale < wide.types[x].affine.scale  # type: ignore[union-attr]
    for command in COMMANDS:
        text = " ".join(ok(command, "--help").split())
        assert "narrow: the middle 99.5 % of them." in text
    said = "observer: must be one of minmax, percentile, narrow, but got 'eye'"
    assert refused(InputError, lambda: Recipe("eye")) == said
    assert call("compile", "digits", "--observer", "eye").stderr == f"error: {said}\n"


def test_an_observer_of_a_file_is_in_logs_and_saved_models(
    narrow: str, model: nn.Module, batches: Batches, tmp_path: Path, refused: Refused
) -> None:
    """The whole way: tuned, resumed, replayed, saved."""
    log, recipe = tmp_path / "run.jsonl", Recipe(observer=narrow)

    def run(recipe: Recipe) -> Any:
        return tune(model, 2, batches[0], batches, log=log, recipe=recipe, executor=0)

    tuned = run(recipe)
    (head,) = read(log).headers.values()
    assert head["recipe"] == {"observer": "narrow"}
    assert refused(LogError, lambda: run(Recipe())).startswith(
        f"log {log}: a run resumes only with the same recipe, but the log was written with "
        "another (observer='narrow', now the default); "
    )
    again = replay(log, model, "strict", batches[0], batches, executor=0)
    assert again.recipe == recipe and again.cycles == tuned.cycles
    text = refused(
        LogError,
        lambda: replay(log, model, "strict", batches[0], batches, recipe=Recipe(), executor=0),
    )
    assert text == (
        f"log {log}: strict replay: the recipe must be the default, but run {head['run']} has "
        "observer='narrow'"
    )
    tuned.save(tmp_path / "m.dovetail")
    assert load(tmp_path / "m.dovetail").recipe == recipe


HALVED = '''
"""Half of each weight: another float graph, calibrated once more."""

import numpy as np

from ..draft import ALGORITHMS, Draft


@ALGORITHMS.row("halved", "half of each weight")
def halve(draft: Draft) -> Draft:
    graph = draft.graph.without_nodes()
    graph.nodes.extend(draft.graph.nodes)
    graph.constants = {name: np.asarray(array / 2) for name, array in graph.constants.items()}
    return draft.calibrated(graph)
'''


@pytest.fixture
def halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An algorithm in one file that is in its folder."""
    folder = tmp_path / "algorithms"
    folder.mkdir()
    (folder / "halved.py").write_text(HALVED)
    for table in ("_things", "_phrases"):
        monkeypatch.setattr(ALGORITHMS, table, dict(getattr(ALGORITHMS, table)))
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(folder)])
    enter_files(algorithms.__name__, algorithms.__path__)
    yield "halved"
    del sys.modules["dovetail.quant.algorithms.halved"], algorithms.halved  # type: ignore[attr-defined]


def test_an_algorithm_is_one_file(
    halved: str, model: nn.Module, batches: Batches, refused: Refused
) -> None:
    graph = import_model(model, batches[0])
    data = [[array.numpy() for array in batch] for batch in batches]
    names = (), (halved,), (halved, halved)
    whole, half, quarter = (quantize(graph, data, Recipe(algorithms=some)) for some in names)
    assert whole.types.keys() == half.types.keys() == quarter.types.keys()
    (y,) = graph.outputs
    scales = [made.types[y].affine.scale for made in (whole, half, quarter)]  # type: ignore[union-attr]
    assert scales[0] > scales[1] > scales[2]
    for command in COMMANDS:
        assert "halved: half of each weight." in " ".join(ok(command, "--help").split())
    said = "algorithms (--algorithm): must be one of bias_correction, halved, but got 'magic'"
    assert refused(InputError, lambda: Recipe(algorithms=(halved, "magic"))) == said
    words = ("--algorithm", "halved", "--algorithm", "magic")
    assert call("compile", "digits", *words).stderr == f"error: {said}\n"
    said = "algorithms (--algorithm): must be a list of words, but got 3"
    assert refused(InputError, lambda: Recipe(algorithms=3)) == said  # type: ignore[arg-type]
    assert Recipe(algorithms="halved") == Recipe(algorithms=["halved"])  # type: ignore[arg-type]


def test_algorithms_are_in_logs_and_saved_models(
    model: nn.Module, batches: Batches, tmp_path: Path, refused: Refused
) -> None:
    """The whole way: tuned, resumed, replayed, saved."""
    log, recipe = tmp_path / "run.jsonl", Recipe(algorithms=("bias_correction",))

    def run(recipe: Recipe) -> Any:
        return tune(model, 2, batches[0], batches, log=log, recipe=recipe, executor=0)

    tuned = run(recipe)
    (head,) = read(log).headers.values()
    assert head["recipe"] == {"algorithm": ["bias_correction"]}
    assert run(recipe).cycles == tuned.cycles
    assert refused(LogError, lambda: run(Recipe())).startswith(
        f"log {log}: a run resumes only with the same recipe, but the log was written with "
        "another (algorithm=['bias_correction'], now the default); "
    )
    again = replay(log, model, "strict", batches[0], batches, executor=0)
    assert again.recipe == recipe and again.cycles == tuned.cycles
    tuned.save(tmp_path / "m.dovetail")
    assert load(tmp_path / "m.dovetail").recipe == recipe


@dataclass(frozen=True, slots=True)
class Bits(Recipe):
    """A recipe with one more option."""

    bits: int = option(8, at_least(2), "How many bits a weight has.")


@dataclass(frozen=True, slots=True)
class Batched(Search):
    """A search with one more option."""

    batch: int = option(8, at_least(1), "How many points are proposed at once.")


def test_a_field_of_the_recipe_is_everywhere(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module, batches: Batches, tmp_path: Path
) -> None:
    for module in (tuning, compiling, asking):
        monkeypatch.setattr(module, "Recipe", Bits)
    for command in COMMANDS:
        assert "--bits <int>" in ok(command, "--help")
    found = call("tune", "digits", "--bits", "1")
    said = "bits: must be a whole number of at least 2, but got 1"
    assert (found.exit_code, found.stderr) == (2, f"error: {said}\n")
    with pytest.raises(InputError, match=said):
        Bits(bits=1)
    log = tmp_path / "run.jsonl"
    tune(model, 1, batches[0], batches, log=log, recipe=Bits(bits=4), executor=0)
    (head,) = read(log).headers.values()
    assert head["recipe"] == {"bits": 4}


def test_a_field_of_the_search_is_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "Search", Batched)
    assert "--batch <int>" in ok("tune", "--help")
    found = call("tune", "digits", "--batch", "0")
    said = "tune: batch must be a whole number of at least 1, but got 0"
    assert (found.exit_code, found.stderr) == (2, f"error: {said}\n")
    plain, other = (
        run_header([Synthetic("k")], "t", "m", search) for search in (Search(), Batched(batch=3))
    )
    assert run_header([Synthetic("k")], "t", "m", Batched()) == plain
    assert other["batch"] == 3 and other["run"] != plain["run"]


def test_a_mode_is_one_row(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module, batches: Batches, refused: Refused
) -> None:
    """Sums that are cut instead of rounded: evaluated, in help, refused where there is no code."""

    def cut(acc: Array, requant: Requant, axis: int | None) -> Integers:
        products = acc.astype(np.int64) << requant.left
        return np.asarray(products * requant.multiplier[0] >> requant.shift)

    for table in ("_things", "_phrases"):
        monkeypatch.setattr(MODES, table, dict(getattr(MODES, table)))
    MODES.row("cut", "towards minus infinity")(Mode(cut, range(1, 63)))
    recipe, (x,) = Recipe(mode="cut"), batches[0]
    came = dovetail.quantize(model, (x,), batches, recipe=recipe)(x)
    rounded = dovetail.quantize(model, (x,), batches)(x)
    assert 0 < (came - rounded).abs().max() < 0.1
    assert "cut: towards minus infinity." in " ".join(ok("run", "--help").split())
    text = refused(InputError, lambda: compile(model, (x,), batches, recipe=recipe))
    assert text.startswith(
        "recipe: code for dsp rescales sums by mode 'single', but got mode 'cut'"
    )


def test_a_search_is_one_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for table in ("_things", "_phrases"):
        monkeypatch.setattr(SEARCHES, table, dict(getattr(SEARCHES, table)))

    @SEARCHES.row("backward", "all valid points from the last to the first")
    class Backward(Exhaustive):
        def _propose(self, count: int) -> list[Point]:
            return list(self.space)[::-1]

    text = " ".join(ok("tune", "--help").split())
    assert "backward: all valid points from the last to the first." in text
    task, log = Synthetic("k", extents=(8, 8, 8)), tmp_path / "run.jsonl"
    search = Search(3, algorithm="backward")
    tune_tasks([task], search, target="t", model_key="m", log=log, executor=0)
    (head,) = read(log).headers.values()
    assert head["search"] == "backward"
    points = [record.point for record in read(log).records()]
    assert [key(point) for point in points] == [
        key(point) for point in (task.default, *list(task.space)[: -len(points) : -1])
    ]
    assert call("tune", "digits", "--search", "luck").stderr == (
        "error: tune: algorithm (--search) must be one of evolution, random, exhaustive, backward, "
        "but got 'luck'\n"
    )


def test_headers_are_those_of_the_defaults() -> None:
    """A log of before can be resumed: its header's bytes are the same."""
    head = run_header([], "dsp", "m", Search(3, append=True, resume=False, warm="x.jsonl"))
    assert json.dumps({k: v for k, v in head.items() if k not in ("run", "versions")}) == (
        '{"schema": 3, "target": "dsp", "model": "m", "seed": 0, "search": "evolution", '
        '"warm": "", "ranker": "", "columns": [], "kernels": []}'
    )


def test_trials_and_seed_take_the_place_of_those_of_the_search() -> None:
    search = Search(7, seed=3)
    assert search.but(None, None) == search
    assert search.but(9, 0) == Search(9, seed=0)


@pytest.mark.parametrize("mode", ["float", "tflite"])
def test_a_mode_without_code_is_refused_before_the_model_is_touched(
    mode: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        f"recipe: code for dsp rescales sums by mode 'single', but got mode '{mode}'; "
        "give mode='single' (--requantize), or take dovetail.quantize (run --evaluate), which has "
        "all modes"
    )
    recipe = Recipe(mode=mode)
    for run in (
        lambda: tune("no model", 1, recipe=recipe, executor=0),
        lambda: compile("no model", recipe=recipe, executor=0),
    ):
        assert refused(InputError, run) == said
    for command in ("tune", "compile", "run", "profile", "explain"):
        found = call(command, "digits", "--requantize", mode)
        assert (found.exit_code, found.stderr) == (2, f"error: {said}\n")


def test_a_kernel_and_a_saved_model_take_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("add.py").write_text((Path(__file__).parent / "own_kernels.py").read_text())
    for command in ("tune", "compile", "explain"):
        found = call(command, "add.py:BLEND", "--observer", "percentile")
        assert (found.exit_code, found.stderr) == (2, (
            "error: observer: add.py:BLEND is a kernel, which is not quantized, "
            "but --observer was given\n"
        ))  # fmt: skip
    found = call("profile", "m.dovetail", "--observer", "percentile")
    assert found.stderr == (
        "error: observer: a saved model is quantized already, but --observer was given\n"
    )
