"""The zoo: fixed weights, sane statistics, imported graphs with the modules' values."""

from __future__ import annotations

import copy
import hashlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.driver import zoo
from dovetail.driver.zoo.digits import accuracy, load_digits, train_digits
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.torch_import import import_model

# Parameters (those of torchvision and MLPerf Tiny), hash of the seeded ones, output shape.
FACTS = {
    "resnet8": (77_946, "afef72615b891c08", (1, 10)),
    "dscnn": (23_180, "a06af03662e82ee7", (1, 12)),
    "autoencoder": (267_928, "4208512f38046949", (1, 640)),
    "mobilenet_v2": (3_504_872, "f6664e624ea3a510", (1, 1000)),
    "resnet18": (11_689_512, "d3eef7dfc4c92a05", (1, 1000)),
    "resnet50": (25_557_032, "aafd16f760b17444", (1, 1000)),
}


def digest(module: nn.Module) -> str:
    """Of the parameters to four decimals; the statistics come from convolutions, which may differ
    in their last bits from machine to machine."""
    total = hashlib.sha256()
    for name, parameter in module.named_parameters():
        rounded = np.rint(parameter.detach().numpy().astype(np.float64) * 1e4).astype(np.int64)
        total.update(name.encode() + rounded.tobytes())
    return total.hexdigest()[:16]


def sqnr(wanted: Tensor, found: Tensor) -> float:
    return 10 * math.log10(float((wanted**2).sum() / ((wanted - found) ** 2).sum()))


@pytest.mark.parametrize("name", FACTS)
def test_weights_and_values(name: str) -> None:
    module, inputs = zoo.build(name)
    parameters, weights, shape = FACTS[name]
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert digest(module) == weights
    (batch,) = zoo.calibration(name, 1)[0]
    assert torch.equal(batch, inputs[0])
    graph = import_model(module, inputs)
    (found,) = evaluate_float(graph, [batch.numpy()])
    with torch.no_grad():
        wanted = module(batch).numpy()
    assert found.shape == wanted.shape == shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())
    assert not any(node.op in ("batch_norm", "mul", "pad") for node in graph.nodes)


@pytest.mark.parametrize("name", FACTS)
def test_half_precision_agrees(name: str) -> None:
    module, _ = zoo.build(name)
    batches = zoo.calibration(name, 4)
    low = copy.deepcopy(module).bfloat16()
    with torch.no_grad():
        wanted = torch.cat([module(x) for (x,) in batches])
        found = torch.cat([low(x.bfloat16()) for (x,) in batches]).float()
    assert sqnr(wanted, found) >= 35
    assert 0.1 < wanted.abs().max() < 20


def test_every_norm_has_seen_data() -> None:
    module, _ = zoo.build("mobilenet_v2")
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


def test_digits_train_to_the_same_weights() -> None:
    trained = train_digits(seed=0)
    assert trained.accuracy > 0.97
    assert accuracy(trained.module, trained.data.held_images, trained.data.held_labels) == (
        trained.accuracy
    )
    again, inputs = zoo.build("digits")
    assert not again.training and inputs[0].shape == (1, 1, 8, 8)
    for one, other in zip(trained.module.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    graph = import_model(trained.module, inputs)
    for (x,) in trained.calibration[:8]:
        (found,) = evaluate_float(graph, [x.numpy()])
        wanted = trained.module(x).detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * abs(wanted).max())


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
