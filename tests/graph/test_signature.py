"""Trees of inputs and outputs: what fits, what does not and why, and the way to data and back."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils import _pytree

from dovetail.graph.pytree import (
    Branch,
    Constant,
    Misfit,
    Slot,
    fill,
    form,
    match,
    place,
    read,
    slots,
    spell,
)
from dovetail.graph.signature import Signature, read_signature

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Box:
    a: Any
    b: Any = None


torch.export.register_dataclass(Box)


def tree(value: object) -> Any:
    """Strings are slots by their number, everything else is constant."""

    def leaf(part: Any) -> Slot | Constant:
        return Slot(int(part)) if isinstance(part, str) else Constant(part)

    return place(value, leaf)


def kept(value: object) -> Any:
    return read(json.loads(json.dumps(spell(tree(value)))))


VALUES: list[Any] = [
    "0",
    ("0", ["1", None]),
    {"x": "0", 3: ("1", 2.5), "flag": True},
    Box("0", ["1"]),
    OrderedDict(b="0", a="1"),
    Pair("0", {"deep": "1"}),
    [],
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_what_is_taken_apart_is_put_together(value: Any) -> None:
    made = tree(value)
    assert fill(made, ["0", "1"]) == value and type(fill(made, ["0", "1"])) is type(value)
    found = dict(match(made, fill(made, [1.5, 2.5]), "x"))
    assert found == {index: 1.5 + index for index in slots(made)}


def test_values_are_found_in_the_trees_order() -> None:
    made = tree({"a": "0", "b": ["1"]})
    assert list(match(made, {"b": (5.0,), "a": 4.0}, "x")) == [(0, 4.0), (1, 5.0)]
    assert list(match(tree(Box("0")), {"a": 4.0}, "x")) == [(0, 4.0)]
    assert list(match(tree({"a": "0", "mask": None}), {"a": 4.0}, "x")) == [(0, 4.0)]


AGAIN = "which is part of the compiled model, but got"
MISFITS: list[tuple[Any, Any, str]] = [
    ("0", None, "x must be a tensor, but got None"),
    ("0", "word", "x must be a tensor, but got 'word'"),
    ("0", [torch.zeros(1), torch.zeros(1)], "x must be a tensor, but got [tensor, tensor]"),
    (("0", ["1"]), (1.0, [2.0, 3.0]), "x[1] must be [tensor], but got [2.0, 3.0]"),
    ({"a": "0"}, {"b": 1.0}, "x must be {'a': tensor}, but got {'b': 1.0}"),
    ({"a": {"k": "0"}}, {"a": torch.zeros(1)}, "x['a'] must be {'k': tensor}, but got tensor"),
    (Box("0"), Box(1.0, 2.0), "x must be Box(a=tensor), but got Box(a=1.0, b=2.0)"),
    (Box("0", None), 3.5, "x must be Box(a=tensor), but got 3.5"),
    (Pair("0", 2), Pair(1.0, 3), f"x.right must be 2, {AGAIN} 3; compile it again for "
     "another value"),
    ([None, "0"], [1, 1.0], f"x[0] must be None, {AGAIN} 1; compile it again for another value"),
    ([True], [1], f"x[0] must be True, {AGAIN} 1; compile it again for another value"),
]  # fmt: skip


@pytest.mark.parametrize("wanted, given, sentence", MISFITS)
def test_what_does_not_fit_is_told(wanted: Any, given: Any, sentence: str) -> None:
    with pytest.raises(Misfit) as caught:
        list(match(tree(wanted), given, "x"))
    assert str(caught.value) == sentence


def test_equal_numbers_are_the_same_constant() -> None:
    assert list(match(tree([2, 2.0, float("nan")]), [2.0, 2, float("nan")], "x")) == []


@pytest.mark.parametrize("value", [v for v in VALUES if not isinstance(v, Pair)], ids=str)
def test_data_gives_the_tree_back(value: Any) -> None:
    assert kept(value) == tree(value)
    made = fill(kept(value), ["0", "1"])
    assert made == value and type(made) is type(value)


def test_a_class_that_torch_does_not_know_comes_back_as_a_dict() -> None:
    found = kept(Pair("0", {"deep": "1"}))
    assert fill(found, [1.0, 2.0]) == {"left": 1.0, "right": {"deep": 2.0}}
    assert list(match(found, Pair(1.0, {"deep": 2.0}), "x")) == [(0, 1.0), (1, 2.0)]
    assert form(found) == "Pair(left=tensor, right={'deep': tensor})"


def test_names_in_a_file_are_not_imported() -> None:
    for label in ("os.system", "subprocess.Popen", "torch._ops.OpOverload", "builtins.eval"):
        data = {"kind": label, "names": ["a"], "parts": [{"slot": 0}], "context": [["a"], []]}
        found = read(data)
        assert isinstance(found, Branch) and found.kind is dict
        assert fill(found, [7.0]) == {"a": 7.0}


def test_a_registered_class_is_not_made_of_other_fields() -> None:
    named = namedtuple("named", ["a", "b"])
    label = f"{named.__module__}.{named.__qualname__}"
    _pytree._register_namedtuple(named, serialized_type_name=label)
    data = {"kind": label, "parts": [{"slot": 0}, {"slot": 1}], "context": None}
    assert fill(read({**data, "names": ["a", "b"]}), [1, 2]) == named(1, 2)
    assert fill(read({**data, "names": ["a", "c"]}), [1, 2]) == {"a": 1, "c": 2}


class Output(OrderedDict[str, Any]):
    """A dict with a class of its own, as model libraries give it."""


_pytree.register_pytree_node(
    Output,
    lambda made: (list(made.values()), list(made)),
    lambda parts, names: Output(zip(names, parts, strict=True)),
    serialized_type_name=f"{__name__}.Output",
)


def test_a_dict_with_a_class_keeps_it() -> None:
    made = kept(Output(logits="0", states=("1", "2")))
    found = fill(made, [1.0, 2.0, 3.0])
    assert found == Output(logits=1.0, states=(2.0, 3.0)) and isinstance(found, Output)
    assert list(match(made, {"states": [2.0, 3.0], "logits": 1.0}, "x")) == [
        (0, 1.0), (1, 2.0), (2, 3.0),
    ]  # fmt: skip


def two() -> Signature:
    trees = (tree("0"), tree({"k": "1"}), tree(2.0))
    return Signature(("x", "more", "scale"), trees, 2, tree(["0"]))


def test_a_call_is_bound_by_place_and_by_name() -> None:
    for args, kwargs in [
        ((1.0, {"k": 2.0}), {}),
        ((1.0,), {"more": {"k": 2.0}, "scale": 2}),
        ((), {"more": {"k": 2.0}, "x": 1.0}),
    ]:
        assert two().bind(args, kwargs) == [1.0, 2.0]
    assert two().given({"x": 1.0, "more": {"k": 2.0}}) == [1.0, 2.0]
    assert two().given([1.0, {"k": 2.0}]) == [1.0, 2.0]
    assert two().given(((1.0,), {"more": {"k": 2.0}})) == [1.0, 2.0]
    assert two().call(([1.0, {"k": 2.0}],), {}) == [1.0, 2.0]
    assert two().arrange([1.0, 2.0]) == ((1.0, {"k": 2.0}), {"scale": 2.0})


TAKES = "the model takes (x, more, scale)"
CALLS: list[tuple[Any, Any, str]] = [
    ((1.0,), {}, f"{TAKES}, but more is missing"),
    ((1.0, {"k": 2.0}, 2.0), {}, f"{TAKES}, 2 of them by place, but got 3 arguments"),
    ((1.0, {"k": 2.0}), {"y": 1.0}, f"{TAKES}, but got 'y'"),
    ((1.0, {"k": 2.0}), {"x": 1.0}, f"{TAKES}, but x is given twice"),
]


@pytest.mark.parametrize("args, kwargs, sentence", CALLS)
def test_a_call_that_does_not_fit_is_told(args: Any, kwargs: Any, sentence: str) -> None:
    with pytest.raises(Misfit) as caught:
        two().call(args, kwargs)
    assert str(caught.value) == sentence


def test_a_signature_is_data() -> None:
    data = json.loads(json.dumps(two().spell()))
    assert read_signature(data) == two()
    read_signature(data).check(2, 1)
    for inputs, outputs in ((1, 1), (3, 1), (2, 2)):
        with pytest.raises(ValueError):
            read_signature(data).check(inputs, outputs)
