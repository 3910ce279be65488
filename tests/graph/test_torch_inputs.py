"""Example inputs: what they may be, and one sentence with a mend for what they may not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.graph.coverage import coverage
from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.torch_import import import_model

X = torch.arange(6.0).reshape(2, 3)


class Difference(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - 2 * b


class Options(nn.Module):
    """Containers, a keyword, and constants of all kinds."""

    def forward(
        self, pair: Any, *, mask: Tensor | None = None, scale: float = 2.0, way: str = "up"
    ) -> Any:
        y = pair["first"][0] * scale + pair["second"]
        return {"y": y if mask is None else y * mask, "way": way, "none": None, "n": 3}


@dataclass
class Unregistered:
    a: Tensor


def refusal(model: object, inputs: object) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        import_model(model, inputs)
    return str(caught.value)


SHARED = torch.arange(12.0).reshape(4, 3)
ALIASES = {"one tensor": (X, X), "views": (SHARED[:2], SHARED[1:3])}


@pytest.mark.parametrize("name", ALIASES)
def test_inputs_that_share_memory_are_apart(name: str) -> None:
    graph = import_model(Difference(), ALIASES[name])
    x, y = X.numpy(), 1 + X.numpy() ** 2
    np.testing.assert_array_equal(evaluate_float(graph, [x, y])[0], x - 2 * y)


def test_an_input_that_is_a_weight_is_apart() -> None:
    layer = nn.Linear(3, 3, bias=False)
    graph = import_model(layer, (layer.weight,))
    zero = np.zeros((3, 3), np.float32)
    np.testing.assert_array_equal(evaluate_float(graph, [zero])[0], zero)


def test_a_program_of_one_tensor_for_two_inputs_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(Difference(), (X, X))
    torch.export.save(program, tmp_path / "m.pt2")
    for model in (program, tmp_path / "m.pt2"):
        assert refusal(model, None) == (
            "import_model: a program must be exported with a tensor for each input, but a and b "
            "are one tensor, which torch.export takes for one input; export it again with a clone "
            "for b"
        )


def test_writing_to_an_input_leaves_the_callers_tensor() -> None:
    class Writes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x.add_(1)
            return x * 2

    x = X.clone()
    graph = import_model(Writes(), (x,))
    np.testing.assert_array_equal(evaluate_float(graph, [X.numpy()])[0], (X.numpy() + 1) * 2)
    assert torch.equal(x, X) and len(graph.outputs) == 1


PAIR = {"second": X, "first": (X,)}


@pytest.mark.parametrize(
    "inputs",
    [(PAIR,), {"pair": PAIR}, {"pair": PAIR, "scale": 2.0}, ((PAIR,), {"way": "up"}),
     [PAIR], ({"first": (X.numpy(),), "second": X.double().numpy()},)],
)  # fmt: skip
def test_inputs_as_people_give_them(inputs: object) -> None:
    graph = import_model(Options(), inputs)
    assert [graph.types[name].shape for name in graph.inputs] == [(2, 3)] * 2
    assert len(graph.outputs) == 1
    assert all(row.supported for row in coverage(Options(), inputs))


def test_a_program_takes_the_same_forms() -> None:
    apart = {"second": X, "first": (X.clone(),)}
    program = torch.export.export(Options(), (apart,))
    assert import_model(program, {"pair": PAIR}).inputs == import_model(program).inputs
    free = {0: torch.export.Dim.DYNAMIC}
    shapes = {"pair": {"second": free, "first": (free,)}}
    dynamic = torch.export.export(Options(), (apart,), dynamic_shapes=shapes)
    wide = {"second": X.repeat(4, 1), "first": (X.repeat(4, 1),)}
    graph = import_model(dynamic, (wide,))
    assert [graph.types[name].shape for name in graph.inputs] == [(8, 3)] * 2
    assert refusal(program, (PAIR, X)) == (
        "import_model: example inputs: the model takes (pair), but got 2 arguments"
    )
    assert refusal(program, (wide,)) == (
        "import_model: example inputs must have the shapes with which the program was exported, "
        "(2, 3), (2, 3), but got (8, 3), (8, 3)"
    )


def scripted() -> nn.Module:
    made: nn.Module = torch.jit.script(nn.Linear(3, 4).eval())
    return made


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(3, 4)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


class Gives(nn.Module):
    def forward(self, x: Tensor) -> Unregistered:
        return Unregistered(x + 1)


LINEAR = nn.Linear(3, 4)
PYTHON = "import_model: the model must be Python that torch.export can trace, but it"
MADE = " is a RecursiveScriptModule; give the nn.Module that it was made from"
FLOAT32 = "import_model: every input must be a float32 tensor, but "
GIVEN = "import_model: example inputs must "
IMAGE = torch.zeros(1, 3, 8, 8)

REFUSED: dict[str, tuple[object, object, str]] = {
    "script": (scripted(), (X,), f"{PYTHON}{MADE}"),
    "frozen": (torch.jit.freeze(scripted()), (X,), f"{PYTHON}{MADE}"),
    "script within": (nn.Sequential(nn.ReLU(), scripted()), (X,), f"{PYTHON}s part 1{MADE}"),
    "weights on meta": (
        on_meta(), (X.to("meta"),),
        "import_model: weights must have values, but weight is on the device meta; make the model "
        "on the device cpu and load its state_dict",
    ),
    "inputs on meta": (
        LINEAR, (X.to("meta"),),
        f"{GIVEN}have values, but input 0 is on the device meta; give a tensor on the device cpu",
    ),
    "half": (
        nn.Linear(3, 4).half(), (X.half(),),
        f"{FLOAT32}input is torch.float16; give model.float() and inputs.float()",
    ),
    "double": (
        nn.Linear(3, 4).double(), (X.double(),),
        f"{FLOAT32}input is torch.float64; give model.float() and inputs.float()",
    ),
    "bfloat16 weights": (
        nn.Conv2d(3, 4, 3).bfloat16(), (IMAGE,),
        "import_model: weights must be float32, but weight is torch.bfloat16; give model.float()",
    ),
    "half weights that torch.export takes": (
        nn.Linear(3, 4).half(), (X,),
        "import_model: every operator of the model must be supported, but it has aten.linear "
        "(with weight of float16; give model.float()) x1 (first at module Linear)",
    ),
    "an image of bytes": (
        nn.Conv2d(3, 4, 3), (IMAGE.byte(),),
        f"{FLOAT32}input 0 is torch.uint8; give it as floats, scaled as in training, such as "
        "image.float() / 255",
    ),
    "none": (
        LINEAR, None,
        f"{GIVEN}be a tuple of tensors, one for each argument of the model, or a dict of them by "
        "name, but got None",
    ),
    "an argument is missing": (
        Difference(), (X,),
        f"{GIVEN}be the arguments of Difference.forward(a, b), but b is missing",
    ),
    "an unknown name": (
        Difference(), {"a": X, "b": X, "c": X},
        f"{GIVEN}be the arguments of Difference.forward(a, b), but got 'c'",
    ),
    "no tensor": (LINEAR, (None,), f"{GIVEN}have at least one tensor, but they have none"),
    "a class": (
        LINEAR, (Unregistered(X),),
        f"{GIVEN}be made of tensors, numbers and None, but input 0 is of type Unregistered; call "
        "torch.export.register_dataclass(Unregistered) if it is a dataclass",
    ),
    "a class comes out": (
        Gives(), (X,),
        "import_model: inputs and outputs must be of classes that torch's pytree knows, but Gives "
        "has Unregistered; call torch.export.register_dataclass(Unregistered) if it is a dataclass",
    ),
    "nothing comes out": (
        Nothing(), (X,), "import_model: a model must give at least one tensor, but it gives none",
    ),
    "indices come out": (
        nn.MaxPool2d(2, return_indices=True), (IMAGE,),
        "import_model: every output must be a float32 tensor that is computed, but getitem_1 is "
        "result 1 of aten.max_pool2d; compile the part of the model before it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_one_sentence(name: str) -> None:
    model, inputs, sentence = REFUSED[name]
    assert refusal(model, inputs) == sentence
