"""Code as files: listings, objects, programs that run with nothing but the bytes of DDR."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dovetail import compile, dsp
from dovetail.driver.code_files import place_of, write
from dovetail.driver.errors import InputError
from dovetail.driver.executed import executed
from dovetail.driver.runtime import outputs_in, put_inputs
from dovetail.driver.targets import emulated
from dovetail.driver.tuned import Tuned
from dovetail.target.dsp.hexagon.assemble import assemble
from dovetail.target.dsp.hexagon.tools import tool
from tests.driver.calls import call
from tests.driver.own_kernels import BLEND

TOOLS = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")


@pytest.fixture(scope="module")
def small() -> Tuned:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 10, 10)
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 8, 1))
    return compile(model.eval(), (x,), [(x,)], dsp(threads=1), executor=0)


@TOOLS
def test_an_elf_needs_the_bytes_of_ddr_alone(small: Tuned, tmp_path: Path) -> None:
    write(small, "elf", tmp_path / "small.elf")
    (tmp_path / "small.elf").chmod(0o755)
    given = [np.random.default_rng(0).integers(0, 256, small.graph.types[name].shape)
             .astype(np.uint8) for name in small.graph.inputs]  # fmt: skip
    ddr = np.zeros(small.program.ddr, np.uint8)
    put_inputs(small.ready, given, {"ddr": ddr})
    command = [tool("qemu-hexagon"), "-cpu", "v67", str(tmp_path / "small.elf")]
    done = subprocess.run(command, input=ddr.tobytes(), capture_output=True, check=True).stdout
    counts, left = done[: -len(ddr)], np.frombuffer(done[-len(ddr) :], np.uint8)
    for got, wanted in zip(outputs_in(small.ready, {"ddr": left}), small.exact(given), strict=True):
        np.testing.assert_array_equal(got, wanted)
    packets = sum(one for one, _, _ in struct.iter_unpack("<3I", counts))
    assert packets == sum(row.packets for row in executed(small, given).rows) > 0


@TOOLS
@pytest.mark.parametrize("form, head", [("asm", b"\t.text"), ("obj", b"\x7fELF")])
def test_listings_have_every_phase(small: Tuned, tmp_path: Path, form: str, head: bytes) -> None:
    write(small, form, tmp_path / "code")
    data = (tmp_path / "code").read_bytes()
    assert data.startswith(head)
    if form == "asm":
        data = assemble(data.decode())
    for step in small.program.steps:
        assert b"kernel_%d_phase_%d" % (step.kernel, step.phase) in data


def test_files_are_named_after_the_model() -> None:
    assert place_of("asm", "digits", None) == Path("digits.s")
    assert place_of("obj", "some/where.py:blur", None) == Path("blur.o")
    assert place_of("elf", "net.pt2", Path("x")) == Path("x")
    with pytest.raises(InputError) as refused:
        place_of("exe", "digits", None)
    assert str(refused.value) == "compile: emit must be one of asm, obj, elf, but got 'exe'"


@TOOLS
def test_a_kernel_has_an_object_but_no_program(tmp_path: Path) -> None:
    code = compile(BLEND)
    write(code, "obj", tmp_path / "blend.o")
    assert (tmp_path / "blend.o").read_bytes().startswith(b"\x7fELF")
    with pytest.raises(InputError) as refused:
        write(code, "elf", tmp_path / "blend.elf")
    assert str(refused.value) == (
        "emit: an elf is of a whole model, but 'blend' is a kernel; take asm or obj"
    )


def test_hexagon_is_a_machine_of_one_thread_to_run_on() -> None:
    assert emulated("hexagon") == "dsp(threads=1)"
    assert emulated("hexagon(threads=3, tcm=1 << 14)") == "dsp(threads=3, tcm=1 << 14)"
    assert emulated("dsp") is None and emulated("hexagons") is None


def test_an_evaluation_runs_no_code() -> None:
    done = call("run", "digits", "--evaluate", "--target", "hexagon")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: run: --evaluate runs no code, so it cannot be given with target hexagon\n"
    )
