"""Depthwise convolutions by vector: bytes of random points, packets of the written shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest
import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.graph.graph import Graph
from dovetail.graph.kernels import place
from dovetail.graph.lower import lower
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.tir.stmt import top

Note = Callable[[str, object], None]


@dataclass(frozen=True)
class Case:
    """One depthwise layer, perhaps with a clamp behind it."""

    channels: int
    height: int
    width: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    padding: int | tuple[int, int] = 1
    dilation: int = 1
    images: int = 1
    clamped: bool = False

    @property
    def layer(self) -> torch.nn.Module:
        torch.manual_seed(self.channels)
        conv = torch.nn.Conv2d(
            self.channels, self.channels, self.kernel, self.stride, self.padding, self.dilation,
            groups=self.channels,
        )  # fmt: skip
        return torch.nn.Sequential(conv, torch.nn.ReLU6()) if self.clamped else conv

    def task(self, machine: Dsp | None = None, scope: str = "tcm") -> KernelTask:
        """Its kernel, the activations placed in ``scope``."""
        made = torch.Generator().manual_seed(0)
        x = torch.randn(self.images, self.channels, self.height, self.width, generator=made)
        graph = quantize(import_model(self.layer.eval(), (x,)), [[x.numpy()]])
        node = next(n for n in graph.nodes if n.op == "q_conv2d")
        kernel = lower(graph, node)
        kernel = replace(kernel, func=place(kernel.func, {"x": scope, "y": scope}))
        data = [name for name in node.inputs if name not in graph.constants]
        types = {name: graph.types[name] for name in [*node.inputs, node.output]}
        constants = {n: graph.constants[n] for n in node.inputs if n in graph.constants}
        single = Graph(node.op, data, [node.output], [node], types, constants)
        return KernelTask(kernel, single, machine or dsp())


CASES = {
    "seven": Case(32, 7, 7),
    "fourteen": Case(128, 14, 14, clamped=True),
    "five_taps": Case(64, 9, 8, (5, 5), padding=2),
    "batch": Case(29, 37, 13, stride=2, images=3),
    "dilated": Case(200, 7, 8, padding=2, dilation=2),
    "stride_three": Case(64, 9, 10, stride=3),
    "one_tap": Case(13, 8, 8, (1, 1), padding=0),
    "unpadded": Case(128, 5, 5, padding=0),
    "seven_taps": Case(96, 10, 12, (7, 7), stride=2, padding=3),
    "two_blocks": Case(144, 7, 7, clamped=True),
    "halved": Case(192, 14, 14, stride=2),
    "keywords": Case(64, 25, 5),
    "odd": Case(13, 37, 53, stride=2),
    "tall_taps": Case(96, 12, 6, (5, 1), padding=(2, 0)),
    "wide_taps": Case(32, 1, 40, (1, 9), padding=(0, 4)),
    "one_pixel": Case(64, 1, 1),
    "even_taps": Case(64, 9, 9, (4, 4)),
}


def checked(task: KernelTask, count: int, seed: int) -> list[str]:
    """Checks points of the space; none may be refused."""
    assert task.template.name == "channels"
    rng, found = Random(seed), list[str]()
    while len(found) < count:
        point = task.space.sample(rng)
        measured = task.measure(point)
        assert measured.status == "ok", f"{point}: {measured.message}"
        right, message = task.check(point)
        assert right, f"{point}: {message}"
        found.append(str(point))
    return found


@pytest.mark.exact
@pytest.mark.parametrize("name", CASES)
def test_points_give_the_operators_bytes(name: str, exact: bool, record_property: Note) -> None:
    points = checked(CASES[name].task(), 50 if exact else 3, len(name))
    record_property("slice", f"depthwise {name}: {len(points)} points, seed {len(name)}")


@pytest.mark.parametrize("name", ["fourteen", "batch", "halved"])
def test_small_tcm(name: str) -> None:
    task = CASES[name].task(dsp(tcm=48 << 10), scope="ddr")
    checked(task, 3, 1)


def test_a_tcm_that_images_nearly_fill_holds_what_the_default_needs() -> None:
    """Words of threads, constants as they are laid out, perhaps strips of images that are there."""
    task = Case(960, 7, 7).task(dsp(tcm=228 << 10))
    cost = task.compiled(task.default).cost
    assert "ddr" not in cost.stalls and cost.cycles < 8000
    assert task.check(task.default)[0]


def test_later_machines_accumulate() -> None:
    checked(CASES["fourteen"].task(dsp(version=69)), 2, 2)


@pytest.mark.parametrize(
    "case",
    [Case(3, 8, 8), Case(8, 14, 14, clamped=True), Case(12, 9, 33, (5, 5), 2, 2, images=2),
     Case(16, 7, 30, padding=2, dilation=2), Case(5, 6, 21, stride=4), Case(16, 1, 5)],
    ids=str,
)  # fmt: skip
def test_few_channels_share_lanes_with_other_pixels(case: Case) -> None:
    task = case.task()
    assert task.template.name == "channels"
    checked(task, 3, 5)
    assert task.check(task.default)[0]


@pytest.mark.parametrize("words", ["band", "all", "tile"])
@pytest.mark.parametrize("name", ["fourteen", "halved", "two_blocks", "dilated"])
def test_pads_need_no_copy(name: str, words: str) -> None:
    task, rng = CASES[name].task(dsp(threads=1)), Random(7)
    found = [p for p in task.space if p["pads"] == "guard" and p["words"] == words]
    assert found or words == "tile"
    for point in rng.sample(found, min(2, len(found))):
        func = task.scheduled(point)
        assert "xp" not in {b.name for b in top(func.body)[0]}
        assert task.check(point) == (True, "")


@pytest.mark.parametrize("channels", [32, 64, 96, 128])
def test_pixels_come_with_the_tiles_of_the_last_way(channels: int) -> None:
    task, rng = Case(channels, 8, 12).task(dsp(threads=1)), Random(channels)
    found = [p for p in task.space if p["joined"]]
    for point in rng.sample(found, 3):
        assert task.check(point) == (True, "")


@pytest.mark.parametrize(("stride", "packets"), [(1, 12_900), (2, 4_200)])
def test_packets_of_one_thread(stride: int, packets: int) -> None:
    """HVX.md section 9: 31,860 and 8,153 packets are the best of Halide's schedules, 10,976 and
    2,744 the bounds."""
    task = Case(128, 28, 28, stride=stride).task(dsp(threads=1))
    assert task.compiled(task.default).cost.packets < packets


def test_products_and_sums_apart_fill_both_multipliers() -> None:
    """A quad of 32 channels: 12 products and 16 multiplications' halves in 14 packets."""
    task = Case(128, 28, 28).task(dsp(threads=1))
    cost = task.compiled({**task.default, "joined": False}).cost
    assert cost.dots_per_packet == pytest.approx(12 / 14)


@pytest.mark.parametrize("name", ["fourteen", "halved", "two_blocks", "odd"])
def test_the_default_is_near_the_best(name: str) -> None:
    task, rng = CASES[name].task(), Random(3)
    cycles = [task.measure(task.space.sample(rng)).cycles for _ in range(12)]
    default = task.measure(task.default).cycles
    assert default is not None
    assert default <= 1.3 * min(c for c in cycles if c is not None)
