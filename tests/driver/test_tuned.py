"""A compiled model: its bytes are the evaluator's, its rows add up, its file has no pickle."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.driver.api import load
from dovetail.driver.errors import InputError
from dovetail.driver.tuned import Tuned

Refused = Callable[[type[Exception], Callable[[], object]], str]


def tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def test_the_output_is_the_references(compiled: Tuned, batches: list[tuple[Tensor]]) -> None:
    for (x,) in batches:
        assert torch.equal(tensor(compiled(x)), tensor(compiled.reference(x)))


def test_the_output_is_near_the_float_models(
    compiled: Tuned, model: nn.Module, batches: list[tuple[Tensor]]
) -> None:
    (x,) = batches[0]
    assert (tensor(compiled(x)) - model(x)).abs().max() < 0.05


def test_numpy_and_tuples_are_taken(compiled: Tuned, batches: list[tuple[Tensor]]) -> None:
    (x,) = batches[0]
    wanted = tensor(compiled(x))
    assert torch.equal(tensor(compiled(x.numpy())), wanted)
    assert torch.equal(tensor(compiled((x,))), wanted)


def test_integers_dequantize_to_the_output(compiled: Tuned, batches: list[tuple[Tensor]]) -> None:
    (x,) = batches[0]
    raw = tensor(compiled.integers(x))
    assert raw.dtype == torch.uint8
    graph = compiled.ready.graph
    affine = graph.types[graph.outputs[0]].affine
    assert affine is not None
    real = (raw.to(torch.int32) - affine.zero_point).to(torch.float32) * affine.scale
    assert torch.equal(real, tensor(compiled(x)))


def test_a_wrong_shape_is_refused(compiled: Tuned, refused: Refused) -> None:
    text = refused(InputError, lambda: compiled(torch.zeros(2, 5, 18, 14)))
    assert text == ("run: the inputs must have the shapes (1, 5, 18, 14), but got (2, 5, 18, 14)")


def test_the_rows_add_up(compiled: Tuned) -> None:
    rows = compiled.kernels
    assert compiled.cycles == sum(row.cycles for row in rows) == compiled.default_cycles
    assert compiled.bound == sum(row.bound for row in rows)
    for row in rows:
        assert row.cycles == row.packets + sum(row.stalls.values())
        assert row.cycles >= row.bound
        assert row.tcm <= compiled.memory.tcm <= compiled.ready.machine.tcm
        json.dumps(row.as_dict())


def test_a_listing_is_text_of_one_kernel(compiled: Tuned, refused: Refused) -> None:
    name = compiled.kernels[0].name
    assert compiled.listing(name).startswith("\t.text\n")
    known = ", ".join(row.name for row in compiled.kernels)
    text = refused(InputError, lambda: compiled.listing("nothing"))
    assert text == f"kernel: must be one of {known}, but got 'nothing'"


def test_several_outputs_are_a_tuple() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return torch.relu(x), torch.sigmoid(y)

    x, y = torch.randn(1, 4, 6, 6), torch.randn(3, 9)
    tuned = compile_model(Two().eval(), (x, y), [(x, y)], workers=0)
    found, wanted = tuned(x, y), tuned.reference(x, y)
    assert isinstance(found, tuple) and isinstance(wanted, tuple)
    assert [a.shape for a in found] == [x.shape, y.shape]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_file_gives_the_model_back(
    compiled: Tuned, batches: list[tuple[Tensor]], tmp_path: Path
) -> None:
    path = tmp_path / "m.dovetail"
    compiled.save(path)
    again = load(path)
    assert again.cycles == compiled.cycles
    assert again.kernels == compiled.kernels
    assert again.memory == compiled.memory
    assert torch.equal(tensor(again(*batches[0])), tensor(compiled(*batches[0])))
    name = compiled.kernels[0].name
    assert again.listing(name) == compiled.listing(name)
    assert [p.name for p in tmp_path.iterdir()] == ["m.dovetail"]


def test_a_file_holds_no_pickle(compiled: Tuned, tmp_path: Path) -> None:
    path = tmp_path / "m.dovetail"
    compiled.save(path)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["constants.npz", "model.json"]
        with archive.open("constants.npz") as inner, np.load(inner, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "iu" for name in arrays.files)


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_a_file_that_is_none_is_refused(
    content: bytes | None, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "m.dovetail"
    if content is None:
        wanted = f"load: the file must exist, but {path} does not"
    else:
        path.write_bytes(content)
        wanted = f"load: {path} must be a file that save() wrote, but it is not"
    assert refused(InputError, lambda: load(path)) == wanted


def test_a_file_of_other_kernels_is_refused(
    compiled: Tuned, tmp_path: Path, refused: Refused
) -> None:
    path, other = tmp_path / "m.dovetail", tmp_path / "other.dovetail"
    compiled.save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        data = json.loads(old.read("model.json"))
        del data["kernels"][compiled.kernels[0].key]
        new.writestr("model.json", json.dumps(data))
        new.writestr("constants.npz", old.read("constants.npz"))
    text = refused(InputError, lambda: load(other))
    assert text == (
        f"load: {other} must be of this version of dovetail, but it has other code for the "
        f"kernels {compiled.kernels[0].name}; compile the model again"
    )


def test_a_path_that_cannot_be_written_is_refused(
    compiled: Tuned, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "nowhere" / "m.dovetail"
    text = refused(InputError, lambda: compiled.save(path))
    assert text == f"save: {path} cannot be written: No such file or directory"


def test_what_is_no_file_is_not_replaced(compiled: Tuned, tmp_path: Path, refused: Refused) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place, what in ((tmp_path, "a folder"), (pipe, "a device")):
        wanted = f"save: {place} must be a file or new, but it is {what}"
        assert refused(InputError, partial(compiled.save, place)) == wanted
    assert pipe.is_fifo()


@pytest.mark.parametrize("damage", ["graph", "target", "kernels", "list"])
def test_a_damaged_file_is_refused(
    damage: str, compiled: Tuned, tmp_path: Path, refused: Refused
) -> None:
    path, other = tmp_path / "m.dovetail", tmp_path / "other.dovetail"
    compiled.save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        data = json.loads(old.read("model.json"))
        data = [data] if damage == "list" else {**data, damage: None}
        new.writestr("model.json", json.dumps(data))
        new.writestr("constants.npz", old.read("constants.npz"))
    assert refused(InputError, lambda: load(other)) in {
        f"load: {other} must be a file that save() wrote, but it is not",
        "target: must be a Machine, 'dsp' or its fields that differ, such as "
        "'dsp(threads=1, tcm=256 << 10)', but got None",
    }
