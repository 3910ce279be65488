"""The zoo: fixed weights, sane statistics, imported graphs with the modules' values."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.driver import zoo
from dovetail.driver.zoo import digits
from dovetail.driver.zoo.digits import (
    accuracy,
    load_digits,
    stored_digits,
)
from dovetail.driver.zoo.entry import draw
from dovetail.driver.zoo.images import images
from dovetail.driver.zoo.statistics import settle
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.torch_import import import_model
from tests.driver import zoo_hashes
from tests.driver.zoo_hashes import hashes
from tests.exact.points import Record

# Parameters (those of torchvision and MLPerf Tiny), output shape.
FACTS = {
    "resnet8": (77_946, (1, 10)),
    "dscnn": (23_180, (1, 12)),
    "autoencoder": (267_928, (1, 640)),
    "mobilenet_v2": (3_504_872, (1, 1000)),
    "resnet18": (11_689_512, (1, 1000)),
    "resnet50": (25_557_032, (1, 1000)),
}
# Of weights with statistics, and of calibration data: the bytes that everyone has.
HASHES = {
    "digits": ("2676c95bda4dc7b0", "a8badc84a602e9a9"),
    "resnet8": ("3f0846ffbc3d321b", "52b0325c7b93c851"),
    "dscnn": ("c2a34a0387faed5d", "c7bff0864fc45db9"),
    "autoencoder": ("8f0d1a05926f96ef", "56e441c7a37b88bf"),
    "mobilenet_v2": ("dfe8ee854c602102", "b938dc45fe1dfb03"),
    "resnet18": ("24e00f572808bfcc", "7bead16b3615c4a5"),
    "resnet50": ("d53227db5bfb13ab", "e5ebc11a455567ca"),
}
SMALL = ("digits", "resnet8", "dscnn", "autoencoder")
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
ONE, TWO = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}


@cache
def built(name: str) -> tuple[nn.Module, list[tuple[Tensor, ...]]]:
    module, _ = zoo.build(name)
    return module, zoo.calibration(name)


def sqnr(wanted: Tensor, found: Tensor) -> float:
    return 10 * math.log10(float((wanted**2).sum() / ((wanted - found) ** 2).sum()))


@pytest.mark.parametrize("name", FACTS)
def test_weights_and_values(name: str) -> None:
    module, batches = built(name)
    parameters, shape = FACTS[name]
    assert sum(p.numel() for p in module.parameters()) == parameters
    (batch,) = batches[0]
    graph = import_model(module, batches[0])
    (found,) = evaluate_float(graph, [batch.numpy()])
    with torch.no_grad():
        wanted = module(batch).numpy()
    assert found.shape == wanted.shape == shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())
    assert not any(node.op in ("batch_norm", "mul", "pad") for node in graph.nodes)


@pytest.mark.parametrize("name", HASHES)
def test_bytes_are_those_that_everyone_has(name: str) -> None:
    assert hashes(*built(name)) == HASHES[name]


@pytest.mark.exact
@pytest.mark.parametrize(
    ("setting", "chosen"),
    [(TWO, SMALL), (TWO | AVX2, ("dscnn", "mobilenet_v2")), (ONE | OLD, SMALL)],
    ids=["two threads", "avx2", "sse"],
)
def test_bytes_depend_on_no_cpu(
    setting: dict[str, str], chosen: tuple[str, ...], exact: bool, record_property: Record
) -> None:
    chosen = tuple(HASHES) if exact else chosen
    record_property("slice", f"zoo under {setting}: {', '.join(chosen)}")
    assert hashed(setting, chosen) == {name: HASHES[name] for name in chosen}


def hashed(setting: dict[str, str], chosen: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """The hashes that a fresh process finds under these variables."""
    command = [sys.executable, zoo_hashes.__file__, *chosen]
    text = subprocess.check_output(command, env=os.environ | setting, text=True)
    rows = [line.split() for line in text.splitlines()]
    return {name: (network, batches) for name, network, batches in rows}


def test_building_leaves_pytorchs_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    for name in ("digits", "dscnn"):
        _, inputs = zoo.build(name)
        assert torch.equal(inputs[0], zoo.calibration(name, 1)[0][0])
    assert torch.equal(before, torch.random.get_rng_state())


def test_statistics_are_those_of_the_samples() -> None:
    """PyTorch's own batch norm, in doubles, differs by the rounding of its inputs alone."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.ReLU())
    rng = np.random.default_rng(0)
    samples = images(rng, (8, 1, 16, 16))
    settle(draw(module, rng, 0.5), samples)
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm2d) and not module.training
    fresh = nn.BatchNorm2d(4, momentum=None).double()
    fresh(module[0](samples).double().detach())
    for name in ("running_mean", "running_var"):
        found, wanted = getattr(norm, name).numpy(), getattr(fresh, name).numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", FACTS)
def test_half_precision_agrees(name: str) -> None:
    module, batches = built(name)
    batches = batches[:4]
    low = copy.deepcopy(module).bfloat16()
    with torch.no_grad():
        wanted = torch.cat([module(x) for (x,) in batches])
        found = torch.cat([low(x.bfloat16()) for (x,) in batches]).float()
    assert sqnr(wanted, found) >= 35
    assert 0.1 < wanted.abs().max() < 20


def test_every_norm_has_seen_data() -> None:
    module, _ = built("mobilenet_v2")
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    variances = [part.running_var for part in norms if part.running_var is not None]
    assert len(norms) == len(variances) == 52
    assert all(float(v.min()) > 0 and not torch.all(v == 1) for v in variances)


def test_calibration_is_seeded_and_varied() -> None:
    first, second = zoo.calibration("resnet8"), zoo.calibration("resnet8")
    assert len(first) == 8
    assert all(torch.equal(a, b) for (a,), (b,) in zip(first, second, strict=True))
    assert not torch.equal(first[0][0], first[1][0])
    x = torch.cat([x for (x,) in first])
    assert abs(float(x.mean())) < 0.3 and 0.6 < float(x.std()) < 1.4
    steps = (x[..., 1:] - x[..., :-1]).std() / x.std()  # 1.41 for white noise
    assert float(steps) < 0.9


def test_digits_are_read() -> None:
    trained = stored_digits()
    module, data = trained.module, trained.data
    assert trained.accuracy > 0.97 and not module.training
    assert accuracy(module, data.held_images, data.held_labels) == trained.accuracy
    graph = import_model(module, (data.held_images[:1],))
    for (x,) in trained.calibration[:8]:
        (found,) = evaluate_float(graph, [x.numpy()])
        wanted = module(x).detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())


def test_the_stored_network_is_what_store_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, stored = digits.stored_network(), digits.FILE.read_bytes()
    monkeypatch.setattr(digits, "FILE", tmp_path / "digits.npy")
    digits.store(module)
    assert digits.FILE.read_bytes() == stored


def test_digits_split_is_clean() -> None:
    data = load_digits()
    train = {image.numpy().tobytes() for image in data.train_images}
    assert len(data.train_images) == 1437 and len(data.held_images) == 360
    assert not any(image.numpy().tobytes() in train for image in data.held_images)


def test_unknown_name() -> None:
    with pytest.raises(zoo.UnknownModel) as caught:
        zoo.build("vgg")
    assert str(caught.value) == (
        "zoo: a model must be one of digits, resnet8, dscnn, autoencoder, mobilenet_v2, resnet18, "
        "resnet50, but got 'vgg'"
    )
    assert zoo.names()[0] == "digits"
