"""Models in integers without code: every recipe has its exact evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dovetail import Recipe, analyze, quantize
from dovetail.driver.tuned import Tuned
from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.requantize import MODES
from tests.driver.calls import call, of_json, ok
from tests.driver.conftest import Batches, samples

Refused = Callable[[type[Exception], Callable[[], object]], str]


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(5, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_evaluated(mode: str, net: nn.Module, batches: Batches) -> None:
    found = quantize(net, batches[0], batches, recipe=Recipe(mode=mode))
    (x,) = batches[1]
    came, wanted = found(x), net(x)
    assert (came - wanted).abs().max() < 0.05 * wanted.abs().max()
    assert torch.equal(came, found.reference(x))
    assert found.integers(x).dtype == torch.uint8
    requants = [node.attrs["requant"] for node in found.graph.nodes if "requant" in node.attrs]
    assert {requant.mode for requant in requants} == {mode}  # type: ignore[attr-defined]


def test_code_gives_the_same_integers(compiled: Tuned, model: nn.Module, batches: Batches) -> None:
    found = quantize(model, batches[0], batches)
    assert torch.equal(found.integers(*batches[1]), compiled.integers(*batches[1]))
    assert torch.equal(compiled.without_code()(*batches[1]), compiled(*batches[1]))


def test_layers_have_their_noise(net: nn.Module) -> None:
    data = samples(1, (1, 5, 80, 80))  # so many that a percentile leaves some out
    wide = analyze(net, data[0], data)
    narrow = analyze(net, data[0], data, recipe=Recipe(observer="percentile"))
    assert [layer.op for layer in wide] == ["q_conv2d", "q_conv2d"]
    assert all(layer.own > 30 for layer in wide) and wide[1].total <= wide[1].own
    assert [layer.total for layer in narrow] != [layer.total for layer in wide]


def test_a_function_is_no_model(refused: Refused) -> None:
    for function in (quantize, analyze):
        text = refused(UnsupportedModel, lambda function=function: function(print, ()))  # type: ignore[misc]
        assert text.startswith("import_model: the model must be a torch.nn.Module, ")


NET = """
import sys

sys.path.insert(0, {tests!r})
from conftest import branches, samples


def build():
    return branches(), samples()[0], samples()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET.format(tests=str(Path(__file__).parent)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_evaluates_what_has_no_code(here: Path, compiled: Tuned) -> None:
    code, single, twice = (
        of_json("run", "net.py:build", *more)
        for more in (("--workers", "0"), ("--evaluate",), ("--evaluate", "--requantize", "tflite"))
    )
    assert code["exact"] and code["outputs"] == single["outputs"] and "exact" not in single
    assert (single["recipe"]["requantize"], twice["recipe"]["requantize"]) == ("single", "tflite")
    assert "by the exact evaluation" in ok("run", "net.py:build", "--evaluate")
    compiled.save("m.dovetail")
    np.save("x.npy", np.zeros((1, 5, 18, 14), np.float32))
    assert "outputs" in of_json("run", "m.dovetail", "--evaluate", "--input", "x.npy")
    found = call("run", "net.py:build", "--evaluate", "--log", "run.jsonl")
    assert (found.exit_code, found.stderr) == (
        2, "error: log: an evaluation needs no points, but --log was given\n"
    )  # fmt: skip


def test_analyze_lists_layers(here: Path) -> None:
    found = of_json("analyze", "net.py:build", "--observer", "percentile")
    assert found["recipe"] == {
        "observer": "percentile", "requantize": "single", "residual": "once", "algorithm": [],
    }  # fmt: skip
    assert found["layers"]
    assert all(list(row) == ["name", "op", "origin", "total", "own"] for row in found["layers"])
    assert "total" in ok("analyze", "net.py:build").splitlines()[0]
