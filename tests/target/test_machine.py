"""The machine's fields, and what it refuses."""

import pytest

from dovetail.target.dsp.machine import Unit
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.errors import MachineError


def test_defaults_are_four_threads_and_eight_megabytes() -> None:
    machine = dsp()
    assert machine == Dsp()
    assert (machine.version, machine.threads, machine.tcm) == (66, 4, 8 << 20)
    assert machine.name == "dsp"


def test_overrides_are_in_the_name() -> None:
    assert dsp(threads=1, tcm=1 << 20).name == "dsp(threads=1, tcm=1048576)"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threads": 0}, "dsp: threads must be an integer from 1 to 64, but got 0"),
        ({"threads": 2.5}, "dsp: threads must be an integer from 1 to 64, but got 2.5"),
        ({"vectors": True}, "dsp: vectors must be an integer from 8 to 32, but got True"),
        (
            {"clock": "fast"},
            "dsp: clock must be a number from 1 to 1000000000000.0, but got 'fast'",
        ),
        ({"burst": 0}, "dsp: burst must be an integer from 1 to 4096, but got 0"),
        (
            {"units": (("VA", Unit(((7,),))),)},
            "dsp: the slots of unit VA must be 0 to 3, but got ((7,),)",
        ),
        (
            {"units": (("VA", Unit(((0,),), (("FMA",),))),)},
            "dsp: the pipes of unit VA must be of LD, ST, MPY0, MPY1, SHIFT, XLANE, but got 'FMA'",
        ),
    ],
)
def test_impossible_values_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(MachineError) as error:
        dsp(**fields)
    assert str(error.value) == message


def test_unknown_field_lists_the_fields() -> None:
    """What is derived from others, such as products a packet, is none."""
    fields = "dma_start, ddr_latency, burst, icache, fetch_rate"
    with pytest.raises(MachineError, match=rf"a field is one of version, .*, {fields}, but got"):
        dsp(macs_per_packet=128)
