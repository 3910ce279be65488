"""Names of machines: all that print are read back; others are refused in one sentence."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from dovetail.driver.errors import InputError
from dovetail.driver.targets import parse
from dovetail.target.dsp.machine import UNITS, Unit
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.errors import MachineError


@pytest.mark.parametrize(
    "machine",
    [
        dsp(),
        dsp(threads=1, tcm=1 << 20),
        dsp(clock=1.0e9),
        dsp(units=(*UNITS, ("Z", Unit(((0,),))))),
    ],
)
def test_a_name_gives_its_machine(machine: object) -> None:
    assert parse(machine.name) == machine  # type: ignore[attr-defined]


def test_a_machine_is_itself() -> None:
    machine = replace(dsp(), threads=2)
    assert parse(machine) is machine


def test_every_number_of_a_machine_may_be_swept() -> None:
    """``parse`` takes what ``name`` spells, one more than the default where that may be."""
    for field in fields(Dsp):
        if field.name in ("units", "slots", "vector_bytes"):
            continue
        low = field.name in ("version", "vectors", "predicates", "scalars", "conditions")
        value = getattr(Dsp(), field.name) + (-1 if low else 1)
        machine = parse(f"dsp({field.name}={value})")
        assert getattr(machine, field.name) == value
        assert parse(machine.name) == machine != Dsp()


def test_sizes_may_be_computed() -> None:
    assert parse("dsp(tcm=256 << 10, barrier=2 * 50)") == dsp(tcm=256 << 10, barrier=100)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "host",
        "dsp(1)",
        "dsp.x",
        "dsp(tcm=open('x'))",
        "dsp(tcm=1 << 999999)",
        "dsp(",
        "dsp(threads=1, threads=2)",
        "dsp(**{})",
    ],
)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name)
    assert str(caught.value) == (
        "target: must be a Machine, 'dsp' or its fields that differ, such as "
        f"'dsp(threads=1, tcm=256 << 10)', but got {name!r}"
    )


def test_a_field_out_of_range_is_refused() -> None:
    with pytest.raises(MachineError, match="threads must be an integer from 1 to 64, but got 0"):
        parse("dsp(threads=0)")
