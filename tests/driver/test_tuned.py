"""A compiled model: its bytes are the evaluator's, its rows add up, its file has no pickle."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.driver.api import load
from dovetail.driver.errors import InputError
from dovetail.driver.sealed import SealError, seal, unseal
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
    assert 0 < compiled.bound <= compiled.cycles
    for row in rows:
        assert row.cycles == row.packets + sum(row.stalls.values())
        assert row.alone >= row.bound
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
    tuned = compile_model(Two().eval(), (x, y), [(x, y)], executor=0)
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


def test_a_file_that_is_none_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "m.dovetail"
    text = refused(InputError, lambda: load(path))
    assert text == f"load: the file must exist, but {path} does not"
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        tmp_path: "Is a directory",
        tmp_path / "pipe": "Not a regular file",
        Path("/dev/zero"): "Not a regular file",
        Path("a\0b"): "embedded null byte",
    }
    for place, why in reasons.items():
        text = refused(InputError, partial(load, place))
        assert text == f"load: {place} cannot be read: {why}"
    for content in (b"", b"not a zip", b"PK" + bytes(80)):
        path.write_bytes(content)
        assert refused(InputError, lambda: load(path)) == damaged(path)


def damaged(path: Path) -> str:
    return (
        f"load: {path} must be a file as save() wrote it, but it is another or damaged; "
        "copy it again or compile the model again"
    )


def test_the_same_model_is_the_same_file(compiled: Tuned, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    compiled.save(one)
    load(one).save(two)
    assert one.read_bytes() == two.read_bytes()


def test_no_damaged_byte_goes_unseen(compiled: Tuned, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "m.dovetail"
    compiled.save(path)
    whole = path.read_bytes()
    flips = [(at, 1 << at % 8) for at in range(len(whole))]
    other = [whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] for at, bit in flips]
    other += [whole[:at] for at in range(0, len(whole), 97)] + [whole[:-1], whole[1:], whole * 2]
    other += [whole[:at] + b"\0" + whole[at:] for at in range(0, len(whole), 97)]
    for content in other:
        with pytest.raises(SealError):
            unseal(content)
    for content in other[::99]:
        path.write_bytes(content)
        assert refused(InputError, lambda: load(path)) == damaged(path)


def resealed(path: Path, change: Callable[[Any], Any]) -> None:
    """The file with other data in it and the hash that belongs to them."""
    parts = unseal(path.read_bytes())
    data = change(json.loads(parts["model.json"]))
    path.write_bytes(seal({**parts, "model.json": json.dumps(data).encode()}))


def test_a_file_of_other_kernels_is_refused(
    compiled: Tuned, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "m.dovetail"
    compiled.save(path)
    key = compiled.kernels[0].key
    kept = {k: v for k, v in json.loads(unseal(path.read_bytes())["model.json"])["kernels"].items()
            if k != key}  # fmt: skip
    resealed(path, lambda data: {**data, "kernels": kept})
    text = refused(InputError, lambda: load(path))
    assert text == (
        f"load: {path} must be of this version of dovetail, but it has other code for the "
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
    for place, why in ((tmp_path, "Is a directory"), (pipe, "Not a regular file")):
        wanted = f"save: {place} cannot be written: {why}"
        assert refused(InputError, partial(compiled.save, place)) == wanted
    assert pipe.is_fifo()


def test_a_link_stays_a_link(compiled: Tuned, tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "m.dovetail"
    link.symlink_to(path)
    compiled.save(link)
    assert link.is_symlink() and path.is_file()


def test_a_full_disk_leaves_the_file_that_was(
    compiled: Tuned, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "m.dovetail"
    path.write_text("the file that was")
    monkeypatch.setattr(Path, "write_bytes", full)
    text = refused(InputError, lambda: compiled.save(path))
    assert text == f"save: {path} cannot be written: No space left on device"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["the file that was"]


WRONG: dict[str, Callable[[Any], Any]] = {
    "a list": lambda data: [data],
    "nothing": lambda data: None,
    "no graph": lambda data: {**data, "graph": None},
    "no target": lambda data: {**data, "target": None},
    "no kernels": lambda data: {**data, "kernels": None},
    "another machine": lambda data: {**data, "target": "dsp(threads=0)"},
    "nodes of words": lambda data: {**data, "graph": {**data["graph"], "nodes": "words"}},
    "no types": lambda data: {**data, "graph": {**data["graph"], "types": {}}},
}


@pytest.mark.parametrize("change", WRONG)
def test_what_another_program_sealed_is_refused(
    change: str, compiled: Tuned, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "m.dovetail"
    compiled.save(path)
    resealed(path, WRONG[change])
    text = refused(InputError, lambda: load(path))
    assert text in {
        f"load: {path} must be a file of save(), but it is not",
        "target: must be a Machine, 'dsp' or its fields that differ, such as "
        "'dsp(threads=1, tcm=256 << 10)', but got None",
    }


def test_another_schema_is_named(compiled: Tuned, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "m.dovetail"
    compiled.save(path)
    resealed(path, lambda data: {**data, "schema": 9})
    text = refused(InputError, lambda: load(path))
    assert text == f"load: {path} must have schema 6, but has 9"
