"""A compiled model takes and gives what the module takes and gives, before and after a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from dovetail.driver.api import compile, load
from dovetail.driver.errors import InputError
from dovetail.driver.inputs import as_array
from dovetail.driver.running import run_model
from dovetail.driver.sealed import seal, unseal
from dovetail.driver.tuned import Tuned
from dovetail.quant.errors import CalibrationError

Refused = Callable[[type[Exception], Callable[[], object]], str]


@dataclass
class Found:
    score: Tensor
    extra: list[Tensor]
    loss: Tensor | None = None


class Point(NamedTuple):
    x: Tensor
    y: float


torch.export.register_dataclass(Found)


class Net(nn.Module):
    """Nested inputs, a keyword, constants, and outputs of every form."""

    def forward(self, features: Any, bias: Tensor, *, mask: Any = None, scale: float = 2.0) -> Any:
        y = features["main"][0] * scale + features["side"] - bias
        y = y if mask is None else y * mask
        return {
            "found": Found(torch.relu(y), [y + 1]),
            "point": Point(y, 0.5),
            "rest": (None, 3, [y]),
        }


def sample(seed: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    made = torch.Generator().manual_seed(seed)
    a, b, c, d = (torch.randn(2, 3, generator=made) for _ in range(4))
    return ({"main": (a,), "side": b}, c), {"mask": d}


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return compile(Net().eval(), sample(0), [sample(seed) for seed in range(4)], executor=0)


def test_a_call_gives_what_the_module_gives(tuned: Tuned) -> None:
    args, kwargs = sample(1)
    wanted = Net()(*args, **kwargs)
    found, reference = tuned(*args, **kwargs), tuned.reference(*args, **kwargs)
    integers = tuned.integers(*args, **kwargs)
    assert isinstance(found["found"], Found) and isinstance(found["point"], Point)
    leaves, form = _pytree.tree_flatten(wanted)
    for made in (found, reference, integers):
        parts, other = _pytree.tree_flatten(made)
        assert other == form
        assert [type(part) for part in parts] == [type(leaf) for leaf in leaves]
    for got, same, want in zip(*map(_pytree.tree_leaves, (found, reference, wanted)), strict=True):
        if isinstance(want, Tensor):
            assert torch.equal(got, same)
            assert (got - want).abs().max() < 0.2
        else:
            assert got == want
    assert integers["point"].x.dtype == torch.uint8


def test_the_same_call_in_other_words(tuned: Tuned) -> None:
    (features, bias), kwargs = sample(2)
    wanted = tuned(features, bias, **kwargs)["point"].x
    listed = {"side": features["side"].numpy(), "main": [features["main"][0].tolist()]}
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((listed, bias.double()), kwargs),
        ((features,), {"bias": bias, "scale": 2, **kwargs}),
        ((), {"mask": kwargs["mask"], "features": features, "bias": bias}),
        (({"features": features, "bias": bias, **kwargs},), {}),
        ((((features, bias), kwargs),), {}),
    ]
    for args, named in calls:
        assert torch.equal(tuned(*args, **named)["point"].x, wanted)


PART = "which is part of the compiled model, but got"


def test_what_does_not_fit_is_one_sentence(tuned: Tuned, refused: Refused) -> None:
    (features, bias), kwargs = sample(2)
    start = "run: the model takes (features, bias, mask, scale)"
    calls: list[tuple[Any, dict[str, Any], str]] = [
        ((features, bias), {}, f"{start}, but mask is missing"),
        ((features,), kwargs, f"{start}, but bias is missing"),
        ((features, bias, bias), {}, f"{start}, 2 of them by place, but got 3 arguments"),
        ((features, bias), kwargs | {"other": 1}, f"{start}, but got 'other'"),
        (
            (features, bias), kwargs | {"scale": 3.0},
            f"run: scale must be 2.0, {PART} 3.0; compile it again for another value",
        ),
        ((features, bias), {"mask": None}, "run: mask must be a tensor, but got None"),
        (
            ({"main": features["main"]}, bias), kwargs,
            "run: features must be {'main': (tensor,), 'side': tensor}, "
            "but got {'main': (tensor,)}",
        ),
    ]  # fmt: skip
    for args, named, sentence in calls:
        for way in (tuned, tuned.integers, tuned.reference):
            assert refused(InputError, partial(way, *args, **named)) == sentence


def test_a_file_keeps_the_form(tuned: Tuned, tmp_path: Path) -> None:
    tuned.save(tmp_path / "m.dovetail")
    again = load(tmp_path / "m.dovetail")
    args, kwargs = sample(3)
    wanted, found = tuned(*args, **kwargs), again(*args, **kwargs)
    assert isinstance(found["found"], Found)  # torch's pytree knows it in this process
    assert torch.equal(found["found"].extra[0], wanted["found"].extra[0])
    assert set(found["point"]) == {"x", "y"} and found["point"]["y"] == 0.5
    assert torch.equal(found["point"]["x"], wanted["point"].x)
    assert found["rest"][:2] == (None, 3)
    arrays = {str(i): x for i, x in enumerate(_pytree.tree_leaves((args, kwargs)))}
    np.savez(tmp_path / "x.npz", **{name: x.numpy() for name, x in arrays.items()})
    assert run_model(again, tmp_path / "x.npz", None)["exact"]


def resealed(path: Path, change: Callable[[str], str]) -> None:
    """The file with another model.json and the hash that belongs to it."""
    parts = unseal(path.read_bytes())
    text = change(parts["model.json"].decode())
    path.write_bytes(seal({**parts, "model.json": text.encode()}))


def test_a_file_imports_nothing_by_its_names(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.dovetail"
    tuned.save(path)
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert f"{__name__}.Found" in unseal(path.read_bytes())["model.json"].decode()
    resealed(path, lambda text: text.replace(f"{__name__}.", "planted."))
    args, kwargs = sample(3)
    assert set(load(path)(*args, **kwargs)["found"]) == {"score", "extra"}


DAMAGES: list[dict[str, Any]] = [
    {"outputs": {"slot": 9}},
    {"outputs": {"constant": [1]}},
    {"names": ["a"]},
    {"arguments": None},
    {"positional": "x"},
]


def test_a_damaged_form_is_refused(tuned: Tuned, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "m.dovetail"
    tuned.save(path)
    whole = path.read_bytes()
    for damage in DAMAGES:

        def change(text: str, damage: dict[str, Any] = damage) -> str:
            data = json.loads(text)
            return json.dumps(data | {"signature": data["signature"] | damage})

        path.write_bytes(whole)
        resealed(path, change)
        text = refused(InputError, lambda: load(path))
        assert text == f"load: {path} must be a file of save(), but it is not"


def calibrated(calibration: object) -> Tuned:
    x = torch.zeros(2, 3)
    return compile(nn.Linear(3, 4).eval(), x, calibration, executor=0)


X = torch.ones(2, 3)


def test_calibration_takes_the_forms_of_a_call() -> None:
    batches: list[Any] = [X, (X,), [X], {"input": X}, ((X,), {}), ((), {"input": X}), X.numpy()]
    for batch in batches:
        assert calibrated([batch]).ready.graph.types["input"].affine is not None


FLOATS = "inputs: must be dense tensors or arrays of real numbers, but got"
CALIBRATIONS: list[tuple[object, type[Exception], str]] = [
    (
        [(X, torch.zeros(2))], CalibrationError,
        "calibration: batch 1: the model takes (input), but got 2 arguments; where the rest are "
        "labels, give (batch[:1] for batch in batches)",
    ),
    (
        [(X,), {"input": X, "label": X}], CalibrationError,
        "calibration: batch 2: the model takes (input), but got 'label'",
    ),
    (
        [([X, X],)], CalibrationError,
        "calibration: batch 1: input must be a tensor, but got [tensor, tensor]",
    ),
    (
        X, InputError,
        "calibration: must be an iterable of batches, but got one Tensor; give [batch]",
    ),
    (
        {"input": X}, InputError,
        "calibration: must be an iterable of batches, but got one dict; give [batch]",
    ),
    (
        [X.byte()], InputError,
        f"{FLOATS} Tensor (uint8, strided, cpu); give floats, scaled as in training, such as "
        "image.float() / 255",
    ),
    (
        [X.byte().numpy()], InputError,
        f"{FLOATS} ndarray (uint8); give floats, scaled as in training, such as "
        "image.float() / 255",
    ),
]  # fmt: skip


@pytest.mark.parametrize("calibration, kind, sentence", CALIBRATIONS)
def test_calibration_that_does_not_fit_is_one_sentence(
    calibration: object, kind: type[Exception], sentence: str, refused: Refused
) -> None:
    assert refused(kind, lambda: calibrated(calibration)) == sentence


def test_the_same_tensor_for_two_inputs_is_two_inputs() -> None:
    class Difference(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a - 2 * b

    tuned = compile(Difference().eval(), (X, X), [(X, X), (X, -X)], executor=0)
    assert torch.allclose(tuned(X, -X), 3 * X, atol=0.05)


def test_numbers_are_taken_as_arrays() -> None:
    assert as_array([[1, 2], [3, 4]]).dtype == np.float32
    assert as_array(torch.tensor(1.5, dtype=torch.bfloat16)) == np.float32(1.5)
