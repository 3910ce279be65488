"""The memory plan: live tensors never overlap, memory suffices, aliases share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.memory_plan import MemoryPlan, Spot, plan, room, stored_bytes
from dovetail.driver.prepare import quantized, ready
from dovetail.graph.graph import Graph
from dovetail.graph.kernels import Kernel
from dovetail.graph.lower import lower_graph
from dovetail.target.dsp.target import Dsp, dsp


class Random(nn.Module):
    """Seeded steps, each of two earlier tensors; all of them come together at the end."""

    def __init__(self, seed: int, steps: int = 12) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(seed)
        self.pairs = [
            [int(torch.randint(0, i + 1, (), generator=made)) for _ in range(2)]
            for i in range(steps)
        ]

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for a, b in self.pairs:
            found.append(nn.functional.max_pool2d(found[a], 3, 1, 1) + found[b])
        return torch.cat(found[1::2], 1)


class Doubled(nn.Module):
    """A small U-Net: halved, doubled by repeating pixels, and joined with what went around."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.deep = nn.Conv2d(4, 32, 1), nn.Conv2d(32, 64, 1)
        self.last = nn.Conv2d(64, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        y = torch.relu(self.deep(nn.functional.max_pool2d(a, 2)))
        n, c, h, w = y.shape
        y = y.view(n, c, h, 1, w, 1).expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)
        return torch.cat([self.last(y), a], 1)


def planned(model: nn.Module, x: Tensor, machine: Dsp) -> tuple[Graph, list[Kernel], MemoryPlan]:
    graph = quantized(model.eval(), (x,), [(x,)])
    kernels = lower_graph(graph)
    return graph, kernels, plan(graph, kernels, machine)


def lives(graph: Graph, kernels: list[Kernel]) -> dict[str, tuple[int, int]]:
    """First and last kernel of each tensor, counted once more."""
    first = dict.fromkeys(graph.inputs, -1) | {k.output: i for i, k in enumerate(kernels)}
    last = dict(first)
    for i, kernel in enumerate(kernels):
        last.update(dict.fromkeys(kernel.inputs, i))
    last.update(dict.fromkeys(graph.outputs, len(kernels)))
    return {name: (first[name], last[name]) for name in first}


@pytest.mark.parametrize("tcm", [8 << 20, 64 << 10, 16 << 10])
@pytest.mark.parametrize("seed", range(4))
def test_tensors_that_live_together_do_not_overlap(seed: int, tcm: int) -> None:
    graph, kernels, found = planned(Random(seed), torch.randn(1, 20, 9, 11), dsp(tcm=tcm))
    spans = lives(graph, kernels)
    for a in spans:
        for b in spans:
            one, other = found.spots[a], found.spots[b]
            meet = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
            if a < b and meet and one.scope == other.scope:
                assert one.end <= other.offset or other.end <= one.offset, (a, b)
    for spot in found.spots.values():
        assert spot.end <= (found.tcm if spot.scope == "tcm" else found.ddr)
        assert spot.offset % 128 == 0
    assert found.tcm <= tcm


def test_gaps_between_tensors_do_not_push_others_out_of_tcm() -> None:
    graph, kernels, _ = planned(Doubled(), torch.randn(1, 4, 16, 16), dsp())
    for tcm in range(16 << 10, 256 << 10, 2 << 10):
        found = plan(graph, kernels, dsp(tcm=tcm))
        assert found.tcm <= tcm
        for kernel, held in zip(kernels, found.held, strict=True):
            near = [found.spots[name] for name in {*kernel.inputs, kernel.output}]
            assert held + sum(spot.size for spot in near if spot.scope == "tcm") <= tcm


def test_inputs_and_outputs_are_in_ddr_and_the_rest_is_not() -> None:
    graph, _, found = planned(Random(0), torch.randn(1, 4, 8, 8), dsp())
    outside = {*graph.inputs, *graph.outputs}
    assert all((spot.scope == "ddr") == (name in outside) for name, spot in found.spots.items())


def test_a_small_tcm_sends_tensors_to_ddr() -> None:
    x = torch.randn(1, 32, 32, 32)
    _, _, large = planned(Random(1), x, dsp())
    _, _, small = planned(Random(1), x, dsp(tcm=64 << 10))
    assert [s.scope for s in small.spots.values()].count("ddr") > len(small.spots) // 2
    assert small.ddr > large.ddr
    assert small.tcm < large.tcm


def test_a_kernel_keeps_off_what_others_hold() -> None:
    graph, kernels, found = planned(Random(2), torch.randn(1, 20, 9, 11), dsp())
    spans = lives(graph, kernels)
    for i, kernel in enumerate(kernels):
        own = {*kernel.inputs, kernel.output}
        near = [n for n, s in found.spots.items() if s.scope == "tcm"]
        alive = [n for n in near if spans[n][0] <= i <= spans[n][1]]
        others = sum(found.spots[n].size for n in alive if n not in own)
        assert found.held[i] >= others


def test_a_reshape_that_moves_nothing_has_no_code() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten())
    graph, kernels, found = planned(model, torch.randn(1, 128, 2, 2), dsp())
    assert [k.func.attrs.get("alias", False) for k in kernels] == [False, True]
    assert found.code == (True, False)
    assert found.spots[kernels[1].output] == found.spots[kernels[0].output]
    assert found.spots[kernels[1].output].scope == "ddr"
    assert [task.name for task in ready(graph, dsp()).kernels] == [kernels[0].output]


class Halves(nn.Module):
    """Two readers of the rows of one image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 32, 1), nn.Conv2d(32, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, other = torch.relu(self.first(x)).chunk(2, 2)
        return torch.as_tensor(self.last(one) + self.last(torch.tanh(other)))


def test_rows_of_an_image_are_where_the_image_is() -> None:
    graph, kernels, found = planned(Halves(), torch.randn(1, 4, 8, 8), dsp())
    whole, one, other = (kernel.output for kernel in kernels[:3])
    assert found.code[:3] == (True, False, False)
    size = stored_bytes(graph, whole)
    start = found.spots[whole].offset
    assert found.spots[one] == Spot("tcm", start, size // 2)
    assert found.spots[other] == Spot("tcm", start + size // 2, size // 2)
    near = [i for i, kernel in enumerate(kernels) if found.code[i] and one in kernel.inputs]
    assert all(found.held[i] >= size // 2 for i in near)  # the other half stays


def test_a_model_that_only_reshapes_still_copies() -> None:
    _, _, found = planned(nn.Flatten(), torch.randn(1, 128, 1, 1), dsp())
    assert found.code == (True,)


def test_kernels_that_differ_in_free_memory_alone_are_one_task() -> None:
    class Repeated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            pool = nn.functional.max_pool2d
            y = pool(x, 2)
            z = pool(pool(pool(y, 3, 1, 1), 3, 1, 1), 3, 1, 1)
            return torch.cat([pool(z, 3, 1, 1), y], 1)

    x = torch.randn(1, 4, 8, 8)
    graph = quantized(Repeated().eval(), (x,), [(x,)])
    found = ready(graph, dsp())
    assert [task.weight for task in found.tasks] == [1, 4, 2, 1]  # two rescales before the cat
    assert len({task.held for task in found.kernels[1:5]}) == 1
    assert {task.key for task in found.kernels} == {task.key for task in found.tasks}


def test_room_holds_the_slack() -> None:
    assert [room(size) for size in (1, 128, 129)] == [256, 256, 384]
