"""What blocks are, read from their accesses."""

from __future__ import annotations

from dovetail.schedule.structure import Form, Role, Structure, runs_of, structure
from dovetail.tir.script import parse
from dovetail.tir.stmt import Block, walk_stmt


def of(text: str) -> list[Structure | None]:
    """The structures of a kernel's blocks, in order."""
    func = parse(text)
    return [structure(s) for s in walk_stmt(func.body) if isinstance(s, Block)]


CONV = """
def k(a: Buffer[u8, (8, 10, 16)], b: Buffer[i8, (3, 16, 32)], y: Buffer[i32, (8, 8, 32)]):
    for p in range(8):
        for q in range(8):
            for r in range(32):
                for s in range(3):
                    for t in range(16):
                        with block("any"):
                            vp = spatial(8, p)
                            vq = spatial(8, q)
                            vr = spatial(32, r)
                            vs = reduce(3, s)
                            vt = reduce(16, t)
                            with init():
                                y[vp, vq, vr] = 0
                            y[vp, vq, vr] = y[vp, vq, vr] + (
                                cast(i32, a[vp, vq + vs, vt]) * cast(i32, b[vs, vt, vr])
                            )
"""


def test_a_contraction_by_the_steps_of_its_axes() -> None:
    (found,) = of(CONV)
    assert found is not None and found.form is Form.CONTRACTION
    assert [found.role(axis) for axis in found.axes] == [
        Role.ROW, Role.ROW, Role.COLUMN, Role.SUMMED, Role.SUMMED,
    ]  # fmt: skip
    first, second = found.reads
    assert [first.step(axis) for axis in found.axes] == [160, 16, 0, 16, 1]
    assert [second.step(axis) for axis in found.axes] == [0, 0, 1, 512, 32]


def point(value: str) -> Structure | None:
    (found,) = of(f"""
def k(a: Buffer[u8, (4, 8)], t: Buffer[u8, (256,)], y: Buffer[u8, (8, 4)]):
    for p in range(4):
        for q in range(8):
            with block("any"):
                vp = spatial(4, p)
                vq = spatial(8, q)
                y[vq, vp] = {value}
""")
    return found


def test_forms_of_maps() -> None:
    copy, fill, look_up = point("a[vp, vq]"), point("u8(3)"), point("t[cast(i32, a[vp, vq])]")
    assert copy is not None and copy.form is Form.COPY
    assert [copy.reads[0].step(axis) for axis in copy.axes] == [8, 1]
    assert fill is not None and fill.form is Form.FILL
    assert look_up is not None and look_up.form is Form.MAP
    assert [table.name for table in look_up.tables] == ["t"]


def test_an_index_that_is_not_affine_has_no_structure() -> None:
    assert point("a[vp, vq // 2]") is None


def test_runs_join_axes_that_move_alike() -> None:
    found = point("a[vp, vq]")
    assert found is not None
    assert [(run.extent, run.to, run.come) for run in runs_of(found)] == [
        (8, 4, (1,)), (4, 1, (8,)),
    ]  # fmt: skip
    (plain,) = of("""
def k(a: Buffer[u8, (4, 8)], y: Buffer[u8, (4, 8)]):
    for p in range(4):
        for q in range(8):
            with block("any"):
                vp = spatial(4, p)
                vq = spatial(8, q)
                y[vp, vq] = a[vp, vq]
""")
    assert plain is not None
    (run,) = runs_of(plain)
    assert (run.extent, run.to, run.come) == (32, 1, (1,))
