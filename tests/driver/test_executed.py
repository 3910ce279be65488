"""Whole models under QEMU: the exact bytes, and in every kernel the packets of its listing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail import compile, dsp
from dovetail.driver import executed as executing
from dovetail.driver.choose import Choice
from dovetail.driver.errors import InputError
from dovetail.driver.executed import executed
from dovetail.driver.model_program import ModelProgram, ordered
from dovetail.driver.prepare import Ready
from dovetail.driver.targets import TARGETS
from dovetail.driver.tuned import Tuned
from dovetail.driver.zoo import build, calibration
from dovetail.graph.graph import Array
from dovetail.target.protocol import Code, ProgramPhase

Ordered = tuple[list[ProgramPhase], Code | None]
pytestmark = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")


class Two(nn.Module):
    """Two images that meet, with constants of several kinds and a result of each."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(5, 40, 1)
        self.deep, self.last = nn.Conv2d(40, 40, 3, 2, groups=40), nn.Linear(40, 3)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.sigmoid(self.left(x)) + self.right(z)
        return self.last(self.deep(a).mean((2, 3))), torch.relu(a)


def integers(tuned: Tuned, seed: int) -> list[Array]:
    rng, graph = np.random.default_rng(seed), tuned.graph
    return [rng.integers(0, 256, graph.types[x].shape).astype(np.uint8) for x in graph.inputs]


def hold(tuned: Tuned, seed: int = 0) -> None:
    """The program gives the evaluator's bytes in the packets of its listings."""
    given = integers(tuned, seed)
    done = executed(tuned, given)
    for got, wanted in zip(done.outputs, tuned.exact(given), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert [row.name for row in done.rows] == [row.name for row in tuned.kernels]
    for row in done.rows:
        assert row.packets == row.predicted > 0, row


@pytest.fixture(scope="module")
def two() -> Tuned:
    torch.manual_seed(0)
    inputs = torch.randn(1, 3, 14, 11), torch.randn(1, 5, 14, 11)
    found = compile(Two().eval(), inputs, [inputs], dsp(threads=3), executor=0)
    assert isinstance(found, Tuned)
    return found


def test_a_model_of_the_zoo_on_one_thread() -> None:
    model, inputs = build("digits")
    hold(compile(model, inputs, calibration("digits"), dsp(threads=1), executor=0))


def test_branches_on_three_threads(two: Tuned) -> None:
    hold(two, 1)


def test_a_small_memory_has_operands_in_ddr() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(1, 3, 20, 20), torch.randn(1, 5, 20, 20)
    hold(compile(Two().eval(), inputs, [inputs], dsp(threads=2, tcm=1 << 14), executor=0))


def test_constants_come_by_transfers_alone(two: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(ready: Ready, choices: Mapping[str, Choice], found: ModelProgram) -> Ordered:
        phases, transfers = ordered(ready, choices, found)
        assert transfers is not None
        return [one for one in phases if one.listing is not transfers.listing], transfers

    monkeypatch.setattr(executing, "ordered", careless)
    given = integers(two, 2)
    pairs = zip(executed(two, given).outputs, two.exact(given), strict=True)
    assert not any(np.array_equal(got, wanted) for got, wanted in pairs)


def test_a_target_without_an_emulator_is_refused(
    two: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "dsp", replace(TARGETS["dsp"], execute=None))
    with pytest.raises(InputError) as refused:
        executed(two, integers(two, 0))
    assert str(refused.value) == (
        "run: the target must have an emulator, but dsp(threads=3) has none"
    )
