"""Listings run under QEMU: values, exact packets, places, DMA, and what is said when one fails."""

import numpy as np
import pytest

from dovetail.target.dsp.hexagon.qemu import PhaseCall, PlaceImage, run
from dovetail.target.dsp.hexagon.tools import HexagonError

pytestmark = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")

DOT = """
phase_0:
	{ r3 = memw(r0+#0); r4 = memw(r0+#4) }
	{ r5 = memw(r0+#8); r6 = asl(r1,#7) }
	{ r3 = add(r3,r6); r4 = add(r4,r6); v2 = vxor(v2,v2) }
	{ loop0(.Lrow,r2) }
.Lrow:
	{ v0 = vmem(r3++#1) }
	{ v1 = vmem(r4++#1) }
	{ v2.w += vrmpy(v0.ub,v1.b) } :endloop0
	{ vmem(r5+#0) = v2 }
	{ jumpr r31 }
"""


def test_a_loop_is_shared_by_threads_and_each_packet_counts() -> None:
    random = np.random.default_rng(0)
    a = random.integers(0, 256, (10, 128), dtype=np.uint8)
    b = random.integers(-128, 128, (10, 128)).astype(np.int8)
    places = [PlaceImage(a.tobytes()), PlaceImage(b.tobytes()), PlaceImage(128, True, True)]
    done = run(DOT, [PhaseCall("phase_0", [(0, 6), (6, 4)])], places)
    sums = (a.astype(np.int32) * b).reshape(10, 32, 4).sum(2)
    got = np.frombuffer(done.outputs[2], np.int32).reshape(2, 32)
    assert (got == [sums[:6].sum(0), sums[6:].sum(0)]).all()
    assert done.packets == ((4 + 3 * 6 + 2, 4 + 3 * 4 + 2),)
    assert done.hvx_insns == ((1 + 3 * 6 + 1, 1 + 3 * 4 + 1),)


@pytest.mark.parametrize("trips", [1, 2, 1000])
def test_nested_hardware_loops_and_branches_count_exactly(trips: int) -> None:
    text = f"""
phase_0:
	{{ r3 = ##{trips} }}
	{{ loop1(.Louter,r3) }}
.Louter:
	{{ loop0(.Linner,#3) }}
.Linner:
	{{ nop }} :endloop0
	{{ nop }} :endloop1
.Lagain:
	{{ r3 = add(r3,#-1); p0 = cmp.gt(r3,#1); if (p0.new) jump:t .Lagain }}
	{{ jumpr r31 }}
"""
    done = run(text, [PhaseCall("phase_0", [(0, 1)])], [])
    assert done.packets == ((2 + trips * (1 + 3 + 1) + trips + 1,),)


def test_phases_run_in_order_and_idle_threads_are_not_called() -> None:
    text = """
phase_0:
	{ r3 = memw(r0+#0); r4 = add(r1,#1) }
	{ memw(r3+r1<<#2) = r4 }
	{ jumpr r31 }
phase_1:
	{ r3 = memw(r0+#0) }
	{ r4 = memw(r3+r1<<#2) }
	{ r4 = mpyi(r4,r2) }
	{ memw(r3+r1<<#2) = r4 }
	{ jumpr r31 }
"""
    phases = [PhaseCall("phase_0", [(0, 1), (1, 1), (2, 0)]), PhaseCall("phase_1", [(1, 7)])]
    done = run(text, phases, [PlaceImage(bytes(12), True)])
    assert done.outputs[0] == np.array([1, 14, 0], np.int32).tobytes()
    assert done.packets == ((3, 3, 0), (5,))


TABLE = """
phase_0:
	{ r3 = memw(r0+#8); r4 = memw(r0+#0) }
	{ memw(r3+#0) = r4; r4 = memw(r0+#4) }
	{ memw(r3+#4) = r4; r4 = memw(r0+#12) }
	{ memw(r3+#8) = r4 }
	{ memw(r4+#0) = r1; r1 = memw(r4+#124) }
	{ memw(r3+#12) = r1 }
	{ jumpr r31 }
"""


def test_the_table_names_places_and_each_threads_spill_area() -> None:
    places = [
        PlaceImage(1),
        PlaceImage(b"\x07" * 1000, per_thread=True),
        PlaceImage(16, True, True),
    ]
    done = run(TABLE, [PhaseCall("phase_0", [(1, 1), (2, 1)])], places, 128)
    one, two = np.frombuffer(done.outputs[2], np.uint32).reshape(2, 4).tolist()
    assert one[0] == two[0] and one[1] != two[1] and one[2] != two[2]
    assert all(address % 128 == 0 for address in [*one[:3], *two[:3]])
    assert one[3] == two[3] == 0xA5A5A5A5


def test_memory_without_contents_is_filled() -> None:
    places = [PlaceImage(8, True), PlaceImage(b"abc", True), PlaceImage(6, True, True)]
    text = "phase_0:\n\t{ jumpr r31 }\n"
    done = run(text, [PhaseCall("phase_0", [(0, 1), (0, 1)])], places, fill=0x3C)
    assert done.outputs == {0: b"\x3c" * 8, 1: b"abc", 2: b"\x3c" * 12}
    assert done.packets == ((1, 1),)


def test_per_thread_contents_are_copied_to_each_thread() -> None:
    text = "phase_0:\n\t{ r3 = memw(r0+#0) }\n\t{ memb(r3+r1<<#0) = r2 }\n\t{ jumpr r31 }\n"
    phases = [PhaseCall("phase_0", [(0, 1), (1, 2), (2, 3)])]
    done = run(text, phases, [PlaceImage(b"\0\0\0", True, True)])
    assert done.outputs[0] == b"\1\0\0\0\2\0\0\0\3"


COPY = """
phase_0:
	{{ r20 = r31; r26 = memw(r0+#4); r27 = memw(r0+#0) }}
	{{ r26 = add(r26,#{shift}); r28 = ##.Lrecord }}
	{{ call dovetail_dma }}
	{{ call dovetail_wait }}
	{{ jumpr r20 }}
	.p2align 2
.Lrecord:
	.word {rows}, {size}, {target}, {source}
"""


@pytest.mark.parametrize(
    ("rows", "size", "target", "source", "shift"),
    [
        (1, 128, 0, 0, 0),
        (5, 24, 32, 40, 8),
        (7, 13, 16, 19, 0),
        (3, 16, 16, 64, 5),
        (0, 8, 8, 8, 0),
    ],
)
def test_dma_copies_rows_and_costs_only_its_calls(
    rows: int, size: int, target: int, source: int, shift: int
) -> None:
    image = np.random.default_rng(1).integers(0, 256, 512, dtype=np.uint8)
    text = COPY.format(rows=rows, size=size, target=target, source=source, shift=shift)
    places = [PlaceImage(image.tobytes()), PlaceImage(bytes(512), True)]
    done = run(text, [PhaseCall("phase_0", [(0, 1)])], places)
    expected = np.zeros(512, np.uint8)
    for row in range(rows):
        at = row * target + shift
        expected[at : at + size] = image[row * source : row * source + size]
    assert done.outputs[1] == expected.tobytes()
    assert (done.packets, done.insns, done.hvx_insns) == (((5,),), ((8,),), ((0,),))


def test_dma_inside_a_hardware_loop_keeps_every_register() -> None:
    scalars = [n for n in range(26) if n not in (16, 17)]
    fill = "".join(f"\t{{ r{n} = ##{0x1000 + n} }}\n" for n in scalars)
    keep = "".join(f"\t{{ memw(r16+#{4 * n}) = r{n} }}\n" for n in [*scalars, 26, 27, 28])
    text = f"""
phase_0:
	{{ r17 = r31; r26 = memw(r0+#0); r27 = memw(r0+#4) }}
	{{ r16 = memw(r0+#8); r28 = ##.Lrecord }}
{fill}	{{ p3:0 = r5 }}
	{{ m0 = r6 }}
	{{ m1 = r7; v9 = vsplat(r8) }}
	{{ loop1(.Louter,#4) }}
.Louter:
	{{ loop0(.Linner,#3) }}
.Linner:
	{{ call dovetail_dma }}
	{{ call dovetail_wait }}
	{{ r8 = add(r8,#1) }} :endloop0
	{{ nop }} :endloop1
{keep}	{{ r0 = p3:0 }}
	{{ r1 = m0; memw(r16+#124) = r0 }}
	{{ r2 = m1; memw(r16+#120) = r1 }}
	{{ memw(r16+#116) = r2 }}
	{{ vmem(r16+#1) = v9 }}
	{{ jumpr r17 }}
	.p2align 2
.Lrecord:
	.word 9, 17, 32, 17
"""
    places = [PlaceImage(512), PlaceImage(bytes(range(256)) * 2), PlaceImage(bytes(256), True)]
    done = run(text, [PhaseCall("phase_0", [(0, 1)])], places)
    got = np.frombuffer(done.outputs[2], np.uint32)
    expected = [0x1000 + n + 12 * (n == 8) for n in scalars]
    assert got[scalars].tolist() == expected
    assert [got[31], got[30], got[29]] == [0x1005, 0x1006, 0x1007]
    assert (got[32:] == 0x1008).all() and (got[26:29] > 0).all()
    loops = 1 + 4 * (1 + 3 * 3 + 1)
    assert done.packets == ((2 + len(scalars) + 3 + loops + len(scalars) + 3 + 6,),)


def test_a_listing_that_leaves_its_memory_is_an_error() -> None:
    text = "phase_0:\n\t{ r3 = #0 }\n\t{ r4 = memw(r3+#0) }\n\t{ jumpr r31 }\n"
    with pytest.raises(
        HexagonError, match=r"^run: the phases must return, but QEMU died by signal 11"
    ):
        run(text, [PhaseCall("phase_0", [(0, 1)])], [])


def test_an_endless_listing_is_an_error() -> None:
    with pytest.raises(HexagonError) as error:
        run("phase_0:\n\t{ jump phase_0 }\n", [PhaseCall("phase_0", [(0, 1)])], [], timeout=0.5)
    assert str(error.value) == "run: the phases must end, but QEMU was still running after 0.5 s"


def test_a_phase_without_code_is_an_error() -> None:
    with pytest.raises(HexagonError, match=r"^link: the objects must link, but got .*phase_1"):
        run("phase_0:\n\t{ jumpr r31 }\n", [PhaseCall("phase_1", [(0, 1)])], [])
