"""Every machine compiles every model: what TCM does not hold is accessed in DDR."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dovetail.driver import defaults
from dovetail.driver.api import compile_ready
from dovetail.driver.given import Given
from dovetail.driver.prepare import quantized, ready
from dovetail.quant.recipe import Recipe
from dovetail.target.dsp.target import Dsp, dsp
from tests.driver.test_plan import Doubled

LEAST = 4 << 10  # bytes of TCM that a machine has at least
SMALL = dsp(tcm=LEAST), dsp(tcm=3 * LEAST, threads=1), dsp(tcm=20 * LEAST, threads=2)


class Mixed(nn.Module):
    """Depthwise, strided and grouped convolution, pools, means, tables, and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.deep = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1, groups=32)
        self.grouped, self.last = nn.Conv2d(32, 64, 1, groups=2), nn.Linear(64, 40)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.deep(F.relu(self.wide(x))), 3, 1, 1)
        x = F.avg_pool2d(F.silu(self.grouped(x)), 2)
        return torch.softmax(self.last(x.mean((2, 3))), -1)


class Attention(nn.Module):
    """Heads, transposes, products of activations, and a sum with what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        parts = self.all(x).reshape(n, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        found = torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1) @ v
        y: Tensor = x + self.out(found.transpose(1, 2).reshape(n, tokens, width))
        return y


MODELS: dict[str, tuple[nn.Module, tuple[int, ...], tuple[Dsp, ...]]] = {
    "doubled": (Doubled(), (1, 4, 12, 12), SMALL[:2]),
    "mixed": (Mixed(), (2, 3, 17, 15), SMALL[::2]),
    "attention": (Attention(), (2, 19, 32), SMALL[:2]),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_machine_has_code_for_every_kernel(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "PACKED", 1)  # the first schedule that works will do
    torch.manual_seed(0)
    model, shape, machines = MODELS[name]
    x = torch.randn(*shape)
    graph = quantized(model.eval(), (x,), [(x,)])
    for machine in machines:
        tuned = compile_ready(ready(graph, machine), Given(machine, 0, 60.0, Recipe(), ()))
        got, wanted = tuned(x), tuned.reference(x)
        assert isinstance(got, Tensor) and isinstance(wanted, Tensor)
        assert torch.equal(got, wanted), machine.name
        assert all(row.tcm <= machine.tcm for row in tuned.kernels)
