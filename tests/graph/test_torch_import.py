"""Imported graphs compute what PyTorch computes, and refusals are told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dovetail.graph.coverage import coverage
from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Graph
from dovetail.graph.operators.adaptive_pool import runs, windows
from dovetail.graph.torch_import import import_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Call(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def vary(module: nn.Module) -> nn.Module:
    """Batch norms that do something."""
    torch.manual_seed(3)
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) and part.running_var is not None:
            assert part.running_mean is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
    return module.eval()


def same(module: nn.Module, *inputs: Tensor) -> Graph:
    """The graph of ``module``, after it has given PyTorch's values."""
    graph = import_model(module, inputs)
    found = evaluate_float(graph, [x.numpy() for x in inputs])
    with torch.no_grad():
        wanted = module(*inputs)
    wanted = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == tuple(want.shape)
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-5)
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


ONE_INPUT: dict[str, tuple[Callable[[Tensor], object], tuple[int, ...]]] = {
    "arithmetic": (lambda x: (1 - x * 2 + x / 4) * x - (-x).add(x, alpha=3) + x**2, (2, 5)),
    "activations": (
        lambda x: (
            (
                F.relu(x)
                + torch.sigmoid(x)
                + F.hardsigmoid(x)
                + F.hardswish(x)
                + F.silu(x)
                + F.gelu(x)
            )
            + (
                F.gelu(x, approximate="tanh")
                + torch.tanh(x)
                + F.relu6(x)
                + F.hardtanh(x, -0.5, 0.7)
            )
        ),
        (3, 7),
    ),
    "clamps": (lambda x: (x.clamp(min=-0.1), x.clamp(max=0.2), torch.clip(x, -1, 0.5)), (9,)),
    "inplace": (lambda x: F.relu(x + 1, inplace=True).add_(1).mul_(2), (4, 4)),
    "max pool": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (2, 3, 10, 13)),
    "max pool dilated": (lambda x: F.max_pool2d(x, (2, 3), 1, 0, (3, 2)), (1, 2, 9, 9)),
    "max pool 1d": (lambda x: F.max_pool1d(x, 3, 2, 1), (2, 3, 11)),
    "max pool unbatched": (lambda x: F.max_pool2d(x, 2), (3, 8, 8)),
    "average pool": (lambda x: F.avg_pool2d(x, 3, 2, 1), (2, 3, 9, 12)),
    "average pool ceil": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), (1, 3, 10, 8)),
    "average pool ceil, unpadded": (lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), (1, 3, 7, 9)),
    "average pool uncounted": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, count_include_pad=False),
        (1, 3, 10, 8),
    ),
    "average pool divisor": (lambda x: F.avg_pool2d(x, 3, divisor_override=5), (1, 2, 9, 9)),
    "average pool 1d": (lambda x: F.avg_pool1d(x, 4, 3, 2, True), (2, 3, 12)),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (1, 4, 8, 9)),
    "adaptive to one": (lambda x: F.adaptive_avg_pool2d(x, 1), (3, 4, 7, 5)),
    "adaptive same": (lambda x: F.adaptive_avg_pool2d(x, (None, 5)), (1, 4, 8, 5)),
    "adaptive max": (lambda x: F.adaptive_max_pool2d(x, 2), (1, 4, 8, 8)),
    "adaptive uneven": (lambda x: F.adaptive_avg_pool2d(x, (2, 2)), (1, 4, 24, 19)),
    "adaptive in runs": (lambda x: F.adaptive_avg_pool2d(x, (7, 7)), (2, 4, 10, 48)),
    "adaptive along one axis": (lambda x: F.adaptive_avg_pool2d(x, (7, None)), (1, 4, 10, 5)),
    "adaptive in many runs": (lambda x: F.adaptive_avg_pool2d(x, (33, 29)), (1, 2, 50, 45)),
    "adaptive to more": (lambda x: F.adaptive_avg_pool2d(x, (7, 3)), (1, 4, 3, 1)),
    "adaptive max uneven": (lambda x: F.adaptive_max_pool2d(x, (3, 4)), (1, 4, 10, 7)),
    "adaptive max 1d uneven": (lambda x: F.adaptive_max_pool1d(x, 7), (1, 4, 10)),
    "adaptive 1d uneven": (lambda x: F.adaptive_avg_pool1d(x, 7), (4, 9)),
    "adaptive 1d": (lambda x: F.adaptive_avg_pool1d(x, 3), (1, 4, 9)),
    "means": (lambda x: (x.mean(), x.mean(-1), x.mean((0, 2), keepdim=True)), (2, 3, 4)),
    "cat": (lambda x: torch.cat([x, x * 2, x[:, :1]], dim=-2), (2, 3, 4)),
    "stack": (lambda x: torch.stack([x, x + 1], dim=1), (2, 3)),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), (1, 2, 3, 3)),
    "pad cuts": (lambda x: F.pad(x, (-1, 2, 3, -2)), (2, 4, 5)),
    "slices": (lambda x: (x[:, 1:-1:2], x[0], x[..., -1], x[:, 2:100], x[None, :, 3]), (3, 7, 4)),
    "chunk": (lambda x: [c * i for i, c in enumerate(x.chunk(3, 1))], (2, 7)),
    "split": (lambda x: list(torch.split(x, [1, 4, 2])), (7, 2)),
    "unbind": (lambda x: [a + 1 for a in x.unbind(1)], (2, 3, 4)),
    "shapes": (
        lambda x: x.view(2, -1).unsqueeze(1).flatten().reshape(4, 3, 2).squeeze() + 1,
        (2, 3, 4),
    ),
    "orders": (
        lambda x: (x.permute(2, 0, 1), x.transpose(0, -1), x[0].t(), x.movedim(0, 2)),
        (2, 3, 4),
    ),
    "expand": (lambda x: x[:, None].expand(-1, 5, 3) * x[0], (2, 3)),
    "softmax": (lambda x: (x.softmax(-1), F.softmax(x, dim=0)), (3, 5)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1), (2, 2, 5, 8)),
    "products": (lambda x: (x @ x.transpose(1, 2), x @ x[0, 0], torch.bmm(x, x.mT)), (2, 3, 4)),
    "einsum": (lambda x: torch.einsum("bij,bkj->bik", x, x), (2, 3, 4)),
    "identities": (lambda x: F.dropout(x, training=False).contiguous().detach().clone(), (2, 3)),
    "known values": (lambda x: x * torch.arange(4.0).softmax(0) + torch.eye(4), (4, 4)),
}


@pytest.mark.parametrize("name", ONE_INPUT)
def test_operators(name: str) -> None:
    function, shape = ONE_INPUT[name]
    same(Call(function), noise(*shape))


CONVOLUTIONS = {
    "plain": (nn.Conv2d(13, 29, 3), (3, 13, 37, 53)),
    "stride and dilation": (nn.Conv2d(4, 6, (3, 2), (3, 1), (2, 0), (2, 3)), (1, 4, 19, 23)),
    "groups": (nn.Conv2d(12, 8, 3, groups=4, bias=False), (2, 12, 9, 9)),
    "depthwise": (nn.Conv2d(5, 10, 3, padding="same", groups=5), (1, 5, 8, 8)),
    "same, even kernel": (nn.Conv2d(3, 4, (4, 2), padding="same"), (1, 3, 8, 9)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (1, 3, 8, 9)),
    "sequence": (nn.Conv1d(3, 4, 5, 2, 3), (2, 3, 17)),
    "sequence, same": (nn.Conv1d(3, 4, 4, padding="same", dilation=2), (2, 3, 17)),
    "unbatched": (nn.Conv2d(3, 4, 3), (3, 8, 9)),
    "one pixel": (nn.Conv2d(16, 8, 1), (3, 16, 1, 1)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    module, shape = CONVOLUTIONS[name]
    same(module, noise(*shape))


NORMS = {
    "after conv2d": nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()),
    "without affine": nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=False)),
    "after groups": nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
    "twice": nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.BatchNorm2d(6)),
}


@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_goes_into_the_convolution(name: str) -> None:
    graph = same(vary(NORMS[name]), noise(2, 3, 9, 8))
    assert [op for op in ops(graph) if op != "relu"] == ["conv2d"]


def test_batch_norm_goes_into_linear_and_conv1d() -> None:
    linear = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())
    assert ops(same(vary(linear), noise(5, 6))) == ["linear", "relu"]
    sequence = nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 2, 3))
    graph = same(vary(sequence), noise(2, 3, 12))
    assert ops(graph) == ["reshape", "conv2d", "relu", "conv2d", "reshape"]


class Tokens(nn.Module):
    """Linear layers of tokens, with batch norms over rows as LeViT writes them, and transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4, bias=False), nn.Linear(4, 5)
        self.rows, self.turned = nn.BatchNorm1d(4), nn.BatchNorm1d(5)
        vary(self)
        with torch.no_grad():  # channels of very different size
            self.rows.weight.copy_(torch.tensor([1.0, 0.01, 5.0, 0.001]))
            self.rows.bias.copy_(torch.tensor([0.2, -0.01, 1.0, 0.002]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(x)
        y = self.rows(y.flatten(0, 1)).reshape(y.shape)
        z: Tensor = self.turned(self.second(y).transpose(1, 2)).transpose(1, 2)
        return y, z


def test_batch_norm_of_moved_channels_goes_into_the_weights() -> None:
    graph = same(Tokens().eval(), noise(2, 3, 6))
    assert {"mul", "add"}.isdisjoint(ops(graph)) and ops(graph).count("linear") == 2


def test_batch_norm_over_a_cut_axis_stays() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(self.linear(x).reshape(-1, 3, 2))
            return y

    assert ops(same(vary(Cut()), noise(5, 4))) == ["linear", "reshape", "mul", "add"]


def test_batch_norm_elsewhere_is_a_convolution_or_a_product_and_a_sum() -> None:
    first = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    graph = same(vary(first), noise(2, 3, 4, 4))
    assert ops(graph) == ["conv2d", "relu"] and graph.nodes[0].attrs["groups"] == 3
    wide = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(3))  # channels are not linear's
    assert ops(same(vary(wide), noise(2, 3, 4))) == ["linear", "mul", "add"]

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            z: Tensor = self.norm(y)
            return y + z

    assert ops(same(vary(Twice()), noise(1, 3, 4, 4))) == ["conv2d", "conv2d", "add"]


def test_products_by_channel_take_what_follows() -> None:
    wide, moved = noise(4, 1, 1), noise(1, 4, 1, 1)
    chain = Call(lambda x: 2 * (wide * x + moved) - moved)
    graph = same(chain, noise(2, 4, 3, 3))
    assert ops(graph) == ["conv2d"] and len(graph.nodes[0].inputs) == 3
    row, one = noise(1, 4, 3, 1), noise(1, 1, 1)
    assert ops(same(Call(lambda x: x * row + wide), noise(2, 4, 3, 3))) == ["mul", "add"]
    assert ops(same(Call(lambda x: x * one), noise(2, 1, 3, 3))) == ["mul"]
    assert ops(same(Call(lambda x: x[:, :1] * wide), noise(2, 4, 3, 3))) == ["slice", "mul"]


def test_shared_weights_fold_apart() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.second(self.conv(self.first(self.conv(x))))
            return y

    assert ops(same(vary(Shared()), noise(1, 3, 4, 4))) == ["conv2d", "conv2d"]


def test_padding_goes_into_the_convolution() -> None:
    graph = same(
        nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(3, 4, 3, padding=1)), noise(1, 3, 6, 6)
    )
    assert ops(graph) == ["conv2d"]
    assert graph.nodes[0].attrs["padding"] == ((1, 4), (2, 3))
    other = nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 3))
    assert ops(same(other, noise(1, 3, 6, 6))) == ["pad", "conv2d"]


def test_product_with_known_matrix_is_linear() -> None:
    weight, bias = noise(6, 4), noise(4)
    assert ops(same(Call(lambda x: x @ weight + bias), noise(5, 6))) == ["linear"]
    assert ops(same(Call(lambda x: bias + x @ weight), noise(2, 5, 6))) == ["linear"]
    table = noise(5, 4)
    assert ops(same(Call(lambda x: x @ weight + table), noise(5, 6))) == ["linear", "add"]


def test_scales_and_offsets_go_into_the_weights() -> None:
    conv, linear, wide, row = nn.Conv2d(3, 4, 3), nn.Linear(5, 4), noise(4, 1, 1), noise(4)
    channel = Call(lambda x: 2 * (conv(x) * wide - 0.5) + wide)
    assert ops(same(channel.eval(), noise(2, 3, 6, 6))) == ["conv2d"]
    last = Call(lambda x: linear(x) * 0.125 + row)
    assert ops(same(last.eval(), noise(2, 3, 5))) == ["linear"]


def test_other_products_and_sums_stay() -> None:
    conv, linear = nn.Conv2d(3, 4, 3), nn.Linear(5, 4)
    row, column, deep = noise(4), noise(4, 1), noise(1, 1, 4, 1, 1)
    kept: list[tuple[Callable[[Tensor], object], Tensor, list[str]]] = [
        (lambda x: conv(x) * row, noise(2, 3, 6, 6), ["conv2d", "mul"]),  # by column
        (lambda x: 1 - conv(x), noise(2, 3, 6, 6), ["conv2d", "sub"]),
        (lambda x: conv(x) + deep, noise(2, 3, 6, 6), ["conv2d", "add"]),  # grows
        (lambda x: linear(x) * column, noise(4, 5), ["linear", "mul"]),  # by row
        (lambda x: [y := conv(x), y * 2], noise(1, 3, 4, 4), ["conv2d", "mul"]),  # read twice
    ]
    for function, x, wanted in kept:
        assert ops(same(Call(function), x)) == wanted


def test_multi_head_attention() -> None:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x, x, x, need_weights=False)[0]
            return y

    same(Attend().train(), noise(2, 5, 8))  # in training mode, without dropout: the same values


def test_evaluation_mode_is_restored() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.ReLU()).train()
    module[1].eval()
    assert ops(import_model(module, (noise(2, 3),))) == ["relu"]
    assert [part.training for part in module.modules()] == [True, True, False]


def test_several_inputs_and_outputs() -> None:
    graph = same(Call(lambda a, b, c: (a + b, a, c * 2)), noise(2, 3), noise(3), noise(4))
    assert len(graph.inputs) == len(graph.outputs) == 3


def test_program_and_file(tmp_path: Path) -> None:
    module, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), noise(2, 4)
    program = torch.export.export(module, (x,))
    torch.export.save(program, tmp_path / "m.pt2")
    graph = import_model(module, (x,))
    for source in (program, tmp_path / "m.pt2", str(tmp_path / "m.pt2")):
        assert str(import_model(source)).split("\n")[1:] == str(graph).split("\n")[1:]


def test_dynamic_program_takes_the_example_shapes() -> None:
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    program = torch.export.export(nn.Linear(4, 3), (noise(2, 4),), dynamic_shapes=(batch,))
    assert import_model(program, (noise(7, 4),)).types["linear"].shape == (7, 3)


def test_origins_name_module_and_line() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.first(x))

    conv, relu = import_model(Net(), (noise(1, 3, 8, 8),)).nodes
    assert conv.origin.startswith("first (") and "test_torch_import.py:" in conv.origin
    assert "test_torch_import.py:" in relu.origin


def refusal(module: object, *inputs: object) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        import_model(module, inputs)
    return str(caught.value)


@given(st.integers(1, 60), st.integers(1, 60))
def test_runs_are_the_windows_of_adaptive_pools(extent: int, count: int) -> None:
    found = [
        (start, start + run.kernel)
        for run in runs(extent, count)
        for start in range(run.start, run.stop - run.kernel + 1, run.stride)
    ]
    assert found == windows(extent, count)
    numbered = torch.arange(float(extent))[None]
    averages = F.adaptive_avg_pool1d(numbered, count)[0].tolist()
    assert averages == [(start + stop - 1) / 2 for start, stop in found]


def test_all_unsupported_operators_are_told_at_once() -> None:
    def net(x: Tensor) -> Tensor:
        y = torch.erfinv(x) + torch.cumsum(x, 0) + torch.cumsum(x, 1)
        z: Tensor = torch.sort(y**x)[0] + torch.linalg.vector_norm(x, 0)
        return z

    x = noise(1, 2, 8, 8)
    assert refusal(Call(net), x).startswith(
        "import_model: every operator of the model must be supported, but it has "
        "aten.erfinv x1 (first at "
    )
    rows = coverage(Call(net), (x,))
    told = [(row.operator, row.count, row.reason) for row in rows if not row.supported]
    assert told == [
        ("aten.cumsum", 2, ""),
        ("aten.erfinv", 1, ""),
        ("aten.linalg_vector_norm", 1, "of order 0"),
        ("aten.pow", 1, ""),
        ("aten.sort", 1, ""),
    ]
    assert {row.operator: row.count for row in rows if row.supported} == {"aten.add": 3}
    assert all("test_torch_import.py:" in row.source for row in rows)


def test_an_operator_of_a_module_is_placed_by_the_module() -> None:
    start = "import_model: every operator of the model must be supported, but it has "
    x, layer = noise(1, 4, 4), nn.Fold((4, 4), 2, stride=2)
    told = "aten.index_put x1 (first at module"
    assert refusal(nn.Sequential(nn.ReLU(), layer), x) == f"{start}{told} 1, Fold)"
    assert refusal(layer, x) == f"{start}{told} Fold)"


def test_what_draws_no_numbers_is_not_random() -> None:
    """Attention of weights alone is known, whatever its operator could draw."""
    query = noise(1, 2, 4, 8)
    attended = F.scaled_dot_product_attention(query, query, query)
    graph = same(Call(lambda x: x + F.scaled_dot_product_attention(query, query, query)), query)
    assert ops(graph) == ["add"]
    assert any(np.allclose(array, attended) for array in graph.constants.values())
    told = refusal(Call(lambda x: x + F.dropout(query)), query)
    assert "aten.native_dropout (random) x1" in told
    state = torch.get_rng_state()
    refusal(Call(lambda x: x + torch.rand_like(query)), query)
    assert torch.equal(state, torch.get_rng_state())


def test_batch_norm_by_the_statistics_of_its_input_is_named() -> None:
    told = "import_model: every operator of the model must be supported, but it has aten.batch_norm"
    reason = " (in training form, by the statistics of its input) x1 "
    x, mean, variance = noise(2, 3, 4, 4), torch.zeros(3), torch.ones(3)
    norm = Call(lambda x, m, v: F.batch_norm(x, m, v, training=True))
    assert refusal(norm, x, mean, variance).startswith(told + reason)
    assert refusal(nn.BatchNorm2d(3, track_running_stats=False), x).startswith(told + reason)
    changes = Call(
        lambda x: torch.native_batch_norm(x, None, None, mean, variance, True, 0.1, 1)[0]
    )
    assert refusal(changes, x) == (
        "import_model: a model may not change its state, but aten.native_batch_norm writes "
        "lifted_tensor_0; pass the state in and give it back"
    )


def test_operators_that_take_others_are_named() -> None:
    """A check of torch's inside an operator comes as one, with a token for an input."""
    told = refusal(Call(torch.linalg.cholesky), torch.eye(3))
    assert "with_effects x1" in told and "aten.linalg_cholesky_ex" in told


def test_a_vector_times_a_matrix_of_run_time() -> None:
    same(Call(F.linear), noise(4), noise(3, 4), noise(3))
    same(Call(F.linear), noise(4), noise(3, 4))


def test_refused_by_export() -> None:
    def net(x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    told = refusal(Call(net), noise(2, 3))
    assert told.startswith("import_model: torch.export must accept the model, but it refused Call")
    assert "\n" not in told


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_must_be_finite(bad: float) -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    with torch.no_grad():
        module[0].get_parameter("weight")[1, 2] = bad
    kind = "NaN" if bad != bad else "infinite"
    assert refusal(module, noise(2, 4)) == (
        f"import_model: weights must be finite, but 0.weight (3, 4) has 1 {kind} value"
    )


def test_negative_variance_is_named() -> None:
    norm = nn.BatchNorm2d(3).eval()
    assert norm.running_var is not None
    norm.running_var.fill_(-1)
    told = refusal(norm, noise(1, 3, 4, 4))
    assert told == (
        "import_model: weights must be finite, but batch_norm.scale (3, 1, 1) has 3 NaN values"
    )


def test_other_refusals() -> None:
    embed = nn.Embedding(4, 3)
    assert refusal(embed, torch.zeros(2, dtype=torch.int64)) == (
        "import_model: every input must be a float32 tensor, but input is torch.int64; "
        "compile the part of the model that takes floats"
    )
    assert refusal(nn.ReLU(), noise(0, 3)) == (
        "import_model: shapes must be static and not empty, but input has the shape (0, 3) "
        "without elements"
    )
    assert refusal(3, noise(1)).endswith("or the path of a .pt2 file, but got int")
    assert refusal("missing.pt2") == (
        "import_model: the model file must exist, but missing.pt2 does not"
    )
    assert "example inputs must be a tuple of tensors" in refusal(nn.ReLU())
    transposed = nn.ConvTranspose3d(3, 3, 3)
    assert "aten.conv_transpose3d x1" in refusal(transposed, noise(1, 3, 4, 4, 4))


def test_state_may_not_change() -> None:
    class Counts(nn.Module):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.add_(1)
            return x + self.seen

    assert refusal(Counts(), noise(2)) == (
        "import_model: a model may not change its state, but it writes seen; "
        "pass the state in and give it back"
    )


def test_a_file_that_is_no_program(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What torch says at its log is part of the sentence, and is not printed."""
    path = tmp_path / "m.pt2"
    begin = f"import_model: {path} must be a program saved by torch.export.save, but loading it "
    path.write_bytes(b"not a program")
    assert refusal(path).startswith(begin + "failed: ")
    torch.save({}, path)
    assert refusal(path) == begin + (
        "failed: RuntimeError: PytorchStreamReader failed locating file archive_format: "
        "file not found"
    )
    assert capfd.readouterr() == ("", "")


def test_evaluation_streams_and_checks_shapes() -> None:
    graph = import_model(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (noise(2, 4),))
    seen: list[str] = []
    evaluate_float(graph, [noise(2, 4).numpy()], lambda name, array: seen.append(name))
    assert seen == [*graph.inputs, *(node.output for node in graph.nodes)]
    with pytest.raises(ValueError, match=r"inputs must have the shapes \[\(2, 4\)\]"):
        evaluate_float(graph, [noise(3, 4).numpy()])


class Mixed(nn.Module):
    """Squeeze and excite, channel shuffle, dense concatenation, norms before convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 12, 3, 2, 1, bias=False))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 4, 1), nn.SiLU())
        self.excite = nn.Sequential(nn.Conv2d(4, 12, 1), nn.Sigmoid())
        self.grouped = nn.Sequential(
            nn.BatchNorm2d(12), nn.Hardswish(), nn.Conv2d(12, 6, 3, groups=3)
        )
        self.head = nn.Linear(18, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * self.excite(self.squeeze(x))
        n, c, h, w = x.shape
        x = x.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = torch.cat([self.grouped(x), x[:, :, 1:-1, 1:-1]], 1)
        y: Tensor = self.head(x.mean((2, 3)))
        return y


def test_a_model_of_many_parts() -> None:
    same(vary(Mixed()), noise(3, 3, 37, 53))


def test_coverage_names_inputs_and_operators_at_once() -> None:
    rows = coverage(
        nn.Sequential(nn.Embedding(4, 3), nn.ReLU()), (torch.zeros(2, dtype=torch.int64),)
    )
    assert [(row.operator, row.supported, row.reason) for row in rows] == [
        ("aten.embedding", False, ""),
        ("input", False, "input is torch.int64"),
        ("aten.relu", True, ""),
    ]


def test_coverage_says_what_is_no_operator() -> None:
    class Counts(nn.Module):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> object:
            self.seen.add_(1)
            return F.max_pool2d(x + self.seen, 2, return_indices=True)

    rows = coverage(Counts(), (noise(1, 2, 4, 4),))
    assert [(row.operator, row.reason) for row in rows if not row.supported] == [
        ("output", "getitem_1 is result 1 of aten.max_pool2d"),
        ("state", "it writes seen"),
    ]
