"""Single instructions on the real ISA: text and intrinsic agree with each other and with NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dovetail.target.dsp.decorators import VECTOR
from dovetail.target.dsp.hexagon.probe_rows import (
    Probe,
    assembled_values,
    intrinsic_values,
    samples,
)
from dovetail.target.instruction import Instruction, Kind, Parameter, Register, register_class
from dovetail.tir.types import parse_type

pytestmark = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")


def row(hvx: str, asm: str, result: str, **operands: str) -> Instruction:
    """A row for tests; ``x`` accumulates, ``n`` is an immediate below 8."""
    parameters = []
    for name, spelled in operands.items():
        kind = parse_type(spelled)
        where = Register.IMMEDIATE if name == "n" else register_class(kind, VECTOR)
        parameters.append(Parameter(name, kind, where, 0, 7 if name == "n" else 0))
    accumulate = "x" if "x" in operands else None
    return Instruction(
        hvx,
        tuple(parameters),
        parse_type(result),
        None,
        asm,
        (),
        (),
        accumulate=accumulate,
        hvx=hvx,
        vector=VECTOR,
    )


def dot(x: Any, a: Any, r: Any) -> Any:
    return x + (a.reshape(-1, 4).astype(np.uint32) * r).sum(1, dtype=np.uint32)


def widening(a: Any, b: Any) -> Any:
    product = a.astype(np.int16) * b
    return np.concatenate([product[::2], product[1::2]])


def table(a: Any, b: Any, n: Any) -> Any:
    """Where the upper three bits of an index equal ``n``: one of 64 pairs, of which one byte."""
    return np.where(a >> 5 == n[0], b.reshape(64, 2)[a & 63, (n[0] >> 1) & 1], 0)


ROWS: list[tuple[Instruction, Callable[..., Any]]] = [
    (
        row("V6.vaddw.128B", "{d}.w = vadd({a}.w,{b}.w)", "i32x32", a="i32x32", b="i32x32"),
        lambda a, b: a + b,
    ),
    (
        row(
            "vrmpyub_acc",
            "{d}.uw += vrmpy({a}.ub,{r}.ub)",
            "u32x32",
            x="u32x32",
            a="u8x128",
            r="u8x4",
        ),
        dot,
    ),
    (row("vmpybusv", "{d}.h = vmpy({a}.ub,{b}.b)", "i16x128", a="u8x128", b="i8x128"), widening),
    (row("vgtw", "{d} = vcmp.gt({a}.w,{b}.w)", "boolx32", a="i32x32", b="i32x32"), np.greater),
    (
        row("vmux", "{d} = vmux({q},{a},{b})", "i8x128", q="boolx128", a="i8x128", b="i8x128"),
        np.where,
    ),
    (
        row(
            "vlutvvbi", "{d}.b = vlut32({a}.b,{b}.b,#{n})", "u8x128", a="u8x128", b="u8x128", n="u8"
        ),
        table,
    ),
    (row("A2_add", "{d} = add({a},{b})", "i32", a="i32", b="i32"), lambda a, b: a + b),
    (row("A2.addp", "{d} = add({a},{b})", "i64", a="i64", b="i64"), lambda a, b: a + b),
    (row("C2_cmpgt", "{d} = cmp.gt({a},{b})", "bool", a="i32", b="i32"), np.greater),
]


def test_text_intrinsic_and_numpy_agree() -> None:
    probes = [Probe(one, samples(one, 24)) for one, _ in ROWS]
    by_text, by_intrinsic = assembled_values(probes), intrinsic_values(probes)
    for (one, meaning), probe, texts, intrinsics in zip(
        ROWS, probes, by_text, by_intrinsic, strict=True
    ):
        for sample, text, intrinsic in zip(probe.samples, texts, intrinsics, strict=True):
            with np.errstate(over="ignore"):
                expected = meaning(*sample)
            assert np.array_equal(text, expected), one.name
            assert np.array_equal(intrinsic, expected), one.name


def test_samples_are_fixed_and_hold_the_edges() -> None:
    first = ROWS[0][0]
    once, again = samples(first), samples(first)
    assert all(
        (a == b).all() for x, y in zip(once, again, strict=True) for a, b in zip(x, y, strict=True)
    )
    values = np.concatenate([operand for sample in once for operand in sample])
    assert {-(2**31), 2**31 - 1, 0, 1, -1} <= set(values.tolist())


def test_a_memory_row_is_no_probe() -> None:
    load = Instruction("load", (), parse_type("u8x128"), None, "", (), (), kind=Kind.LOAD)
    with pytest.raises(ValueError, match=r"^a probe is of a row that computes a value, but load"):
        assembled_values([Probe(load, [[]])])


def test_a_row_without_intrinsic_says_so() -> None:
    plain = row("", "{d} = add({a},{b})", "i32", a="i32", b="i32")
    with pytest.raises(ValueError, match=r"^a row has an intrinsic when hvx= names it"):
        intrinsic_values([Probe(plain, samples(plain, 1))])
