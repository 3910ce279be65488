"""A target in one file goes the whole way: found by its name, compiled, tuned, replayed, run,
explained, with the bytes of every other target."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import dovetail
from dovetail.driver.cli import app
from dovetail.driver.errors import InputError
from dovetail.driver.targets import TARGETS, parse
from dovetail.driver.tuned import Tuned
from dovetail.target.errors import MachineError
from tests.driver.own_kernels import ADD
from tests.driver.toy import TOY, toy


class Small(nn.Module):
    """An operator of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4 * 3 * 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x)) + x[:, :1]
        y = nn.functional.max_pool2d(y, 2)
        return torch.softmax(self.linear(torch.flatten(y, 1)), 1)


def small() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Small().eval(), torch.randn(1, 2, 6, 6)


MODEL = """
    from torch import nn
    from tests.driver.test_toy import small

    def build():
        x = small()[1]
        return nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)).eval(), (x,), [(x,)]
"""


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The registry knows the toy: all that it takes."""
    TARGETS[TOY.name] = TOY
    yield
    del TARGETS[TOY.name]


@pytest.fixture(scope="module")
def compiled(registered: None) -> Tuned:
    module, x = small()
    return dovetail.compile(module, (x,), [(x,)], target="toy", executor=0)


def test_a_model_has_the_bytes_of_its_meaning(compiled: Tuned) -> None:
    _, x = small()
    assert torch.equal(compiled(x), compiled.reference(x))
    assert compiled.target == "toy"
    assert {row.kind for row in compiled.kernels} >= {"conv2d", "pool", "matmul", "softmax"}
    assert all(row.cycles >= row.bound > 0 for row in compiled.kernels)


def test_its_listing_has_its_instructions(compiled: Tuned) -> None:
    text = "".join(compiled.listing(row.name) for row in compiled.kernels)
    assert "  vdotu v" in text and "  lbu r" in text and "  vl v" in text
    assert "vmem" not in text


LAYERS = {
    "dense": (nn.Conv2d(8, 16, 3, padding=1), (1, 8, 6, 6), "outputs"),
    "odd": (nn.Conv2d(10, 21, (1, 3), stride=2), (1, 10, 5, 7), "outputs"),
    "pointwise": (nn.Conv2d(16, 8, 1), (1, 16, 6, 6), "outputs"),
    "linear": (nn.Linear(32, 24), (4, 32), "outputs"),
    "depthwise": (nn.Conv2d(16, 16, 3, padding=1, groups=16), (1, 16, 6, 6), "channels"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_products_of_vectors(name: str) -> None:
    """By the templates of contractions, for vectors of 16 bytes as for those of any machine."""
    module, shape, template = LAYERS[name]
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    tuned = dovetail.compile(module.eval(), (x,), [(x,)], target="toy", executor=0)
    (row,) = tuned.kernels
    assert torch.equal(tuned(x), tuned.reference(x))
    assert row.point.get("way", "channels") == template
    assert any(word in tuned.listing(row.name) for word in ("vdot", "vmuls"))
    assert row.cycles < toy().multiply * row.macs  # what products of scalars alone take


def test_a_model_is_saved(compiled: Tuned, tmp_path: Path) -> None:
    """Points of templates that stand behind others among them."""
    file, (_, x) = tmp_path / "model.dove", small()
    compiled.save(file)
    loaded = dovetail.load(file)
    assert loaded.target == "toy" and loaded.cycles == compiled.cycles
    assert torch.equal(loaded(x), compiled.reference(x))


def test_a_search_is_replayed(tmp_path: Path) -> None:
    (_, x), log, target = small(), tmp_path / "run.jsonl", "toy(multiply=5)"
    module = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    tuned = dovetail.tune(module, 16, (x,), [(x,)], target, log, executor=0)
    assert tuned.cycles <= tuned.default_cycles
    again = dovetail.replay(log, module, "verify", (x,), [(x,)], executor=0)
    assert again.target == target and all(row.same for row in again.drift)
    assert [row.cycles for row in again.kernels] == [row.cycles for row in tuned.kernels]
    assert torch.equal(again(x), tuned.reference(x))


def test_workers_measure_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))  # so that they find the toy
    _, x = small()
    tuned = dovetail.tune(nn.ReLU(), 4, (x,), [(x,)], toy(tcm=1 << 16), executor=1)
    assert torch.equal(tuned(x), tuned.reference(x))


def test_a_persons_kernel_runs() -> None:
    code = dovetail.compile(ADD, toy())
    assert code.target == "toy" and code.cycles >= code.bound


def test_the_command_line_runs_and_explains_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(textwrap.dedent(MODEL))

    def ok(*words: str) -> str:
        found = CliRunner().invoke(app, [*words, "--target", "toy", "--workers", "0"])
        assert found.exit_code == 0, found.output
        return found.stdout

    assert "exact" in ok("run", "net.py:build")
    text = ok("explain", "net.py:build", "--kernel", "max_pool2d")
    assert "= vmax(%" in text and "[alu]" in text
    assert "without vmax" in ok("explain", "net.py:build", "--forbid", "vmax")


def test_its_fields_are_checked() -> None:
    assert parse("toy(multiply=5, tcm=1 << 12)").name == "toy(multiply=5, tcm=4096)"
    with pytest.raises(MachineError, match="multiply must be positive, but got 0"):
        parse("toy(multiply=0)")
    with pytest.raises(InputError, match="a Machine, 'dsp', 'toy' or its fields"):
        parse("host")
