"""Programs run on the host as the machine would run them: loops, memory, copies, registers."""

import threading
from typing import Any

import numpy as np
import pytest

from dovetail.target.instruction import Register
from dovetail.target.jit import buffer, jit, written
from dovetail.target.llvm_program import program_ir
from dovetail.target.program import (
    Address,
    Dma,
    Half,
    Item,
    Loop,
    MachineOp,
    Operand,
    Phase,
    Place,
    Program,
    Reg,
    WaitOp,
)
from tests.target.probing import ROWS

V = [Reg(number, Register.VECTOR) for number in range(20)]
W = [Reg(20 + number, Register.PAIR) for number in range(4)]
Q = Reg(30, Register.PREDICATE)
S = [Reg(40 + number, Register.SCALAR) for number in range(8)]
D = Reg(50, Register.DOUBLE)


def op(name: str, result: Reg | Half | None, *operands: Operand) -> MachineOp:
    return MachineOp(ROWS[name], result, operands)


def address(place: str, offset: int, index: Reg | None, terms: dict[str, int]) -> Address:
    return Address(place, offset, tuple(sorted(terms.items())), index)


def load(result: Reg | Half, place: str, offset: int = 0, row: str = "vmem",
         index: Reg | None = None, **terms: int) -> MachineOp:  # fmt: skip
    return MachineOp(ROWS[row], result, (), address(place, offset, index, terms))


def store(value: Operand, place: str, offset: int = 0, row: str = "vmem_store",
          index: Reg | None = None, **terms: int) -> MachineOp:  # fmt: skip
    return MachineOp(ROWS[row], None, (value,), address(place, offset, index, terms))


def program(places: dict[str, int], *items: Item, **local: int) -> Program:
    """Parameters by size, then scratch."""
    own = [Place(name, size, "tcm", local=True) for name, size in local.items()]
    return Program("test", [Place(n, s, "ddr") for n, s in places.items()] + own, [Phase([*items])])


def words(*shape: int) -> Any:
    return np.random.default_rng(3).integers(-(2**31), 2**31, shape).astype(np.int32)


def test_a_matrix_product() -> None:
    """x[pixel][k] scalars against w[k/4][channel][4] vectors, accumulators carried by the loop."""
    pixels, depth, channels = 6, 16, 64
    acc = [[V[2 * i + j] for j in range(2)] for i in range(3)]
    inner: list[Item] = [load(V[10 + j], "w", 128 * j, k=256) for j in range(2)]
    for i in range(3):
        inner.append(load(S[i], "x", i * depth, "loadri", i=3 * depth, k=4))
        inner += [op("vrmpyub_acc", acc[i][j], acc[i][j], V[10 + j], S[i]) for j in range(2)]
    tile: list[Item] = [op("vd0", register) for row in acc for register in row]
    tile.append(Loop("k", depth // 4, inner))
    tile += [store(acc[i][j], "y", i * 256 + j * 128, i=768) for i in range(3) for j in range(2)]
    places = [
        Place("x", pixels * depth, "ddr"),
        Place("w", depth * channels, "ddr"),
        Place("y", pixels * channels * 4, "ddr"),
    ]
    kernel = jit(Program("matmul", places, [Phase(tile, ("i", 2))]))
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (pixels, depth)).astype(np.uint8)
    w = random.integers(0, 256, (depth, channels)).astype(np.uint8)
    y = np.zeros((pixels, channels), np.int32)
    kernel(x, w.reshape(depth // 4, 4, channels).transpose(0, 2, 1).copy(), y)
    assert (y == x.astype(np.int32) @ w.astype(np.int32)).all()


def test_loops_nest_and_registers_stay_after_them() -> None:
    x, y = words(6, 32), words(1, 32)
    kernel = jit(program(
        {"x": 768, "y": 128},
        op("vd0", V[0]),
        Loop("i", 2, [
            op("vd0", V[1]),
            Loop("j", 3, [load(V[2], "x", i=384, j=128), op("vaddw", V[1], V[1], V[2])]),
            op("vaddw", V[0], V[0], V[1]),
        ]),
        op("vaddw", V[0], V[0], V[2]),  # the last load's value
        store(V[0], "y"),
    ))  # fmt: skip
    kernel(x, y)
    assert (y[0] == x.sum(0, dtype=np.int32) + x[5]).all()


def test_a_value_of_the_last_iteration_is_read_in_the_next() -> None:
    x, y = words(4, 32), words(4, 32)
    kernel = jit(program(
        {"x": 512, "y": 512},
        op("vd0", V[0]),
        Loop("i", 4, [store(V[0], "y", i=128), load(V[0], "x", i=128)]),
    ))  # fmt: skip
    kernel(x, y)
    assert (y == np.concatenate([np.zeros((1, 32)), x[:3]])).all()


def test_halves_of_pairs_are_registers() -> None:
    x, y = words(2, 32), words(2, 32)
    kernel = jit(program(
        {"x": 256, "y": 256},
        load(Half(W[0], 1), "x"),
        load(Half(W[0], 0), "x", 128),
        op("vaddw_dv", W[1], W[0], W[0]),
        store(Half(W[1], 0), "y"),
        store(Half(W[1], 1), "y", 128),
    ))  # fmt: skip
    kernel(x, y)
    assert (y == 2 * x[::-1]).all()


def test_doubles_are_two_scalars() -> None:
    x, y = words(2), words(2)
    kernel = jit(program(
        {"x": 8, "y": 8},
        load(D, "x", row="loadrd"),
        op("combinew", D, Half(D, 0), Half(D, 1)),
        store(D, "y", row="storerd"),
    ))  # fmt: skip
    kernel(x, y)
    assert (y == x[::-1]).all()


@pytest.mark.parametrize(
    ("row", "meaning"),
    [("loadrub", 0xF0), ("loadrb", -16), ("loadruh", 0xF8F0), ("loadrh", -1808)],
)
def test_narrow_loads_extend_by_their_sign(row: str, meaning: int) -> None:
    x, y = np.array([0xF0, 0xF8], np.uint8), words(1)
    jit(program({"x": 2, "y": 4}, load(S[0], "x", row=row), store(S[0], "y", row="storeri")))(x, y)
    assert y[0] == meaning


@pytest.mark.parametrize(("row", "size"), [("storerb", 1), ("storerh", 2), ("storeri", 4)])
def test_narrow_stores_write_their_bytes(row: str, size: int) -> None:
    y = np.zeros(8, np.uint8)
    given = program({"y": 8}, op("tfrsi", S[0], -2), store(S[0], "y", 1, row=row))
    jit(given)(y)
    assert y.tolist() == [0, 0xFE, *[0xFF] * (size - 1)] + [0] * (7 - size)


def test_aligned_access_ignores_the_low_bits_of_the_address() -> None:
    x, y = words(2, 32), words(2, 32)
    kernel = jit(program(
        {"x": 256, "y": 256},
        Loop("i", 2, [load(V[0], "x", 5, i=130), store(V[0], "y", 77, i=129)]),
    ))  # fmt: skip
    kernel(x, y)
    assert (y == x).all()


def test_unaligned_access_does_not() -> None:
    x, y = np.arange(256, dtype=np.uint8), np.zeros(256, np.uint8)
    kernel = jit(program(
        {"x": 256, "y": 256}, load(V[0], "x", 5, "vmemu"), store(V[0], "y", 9, "vmemu_store")
    ))  # fmt: skip
    kernel(x, y)
    assert (y[9:137] == x[5:133]).all()
    assert not y[:9].any()
    assert not y[137:].any()


def test_an_index_register_is_a_byte_offset() -> None:
    table, y = np.arange(100, 200, dtype=np.uint8), words(1)
    kernel = jit(program(
        {"x": 100, "y": 4},
        load(S[0], "x", 3, "loadrub"),  # 103
        op("addi", S[0], S[0], -90),
        load(S[1], "x", 1, "loadrub", index=S[0]),
        store(S[1], "y", row="storeri"),
    ))  # fmt: skip
    kernel(table, y)
    assert y[0] == 100 + 1 + 13


def test_masked_stores_leave_other_bytes() -> None:
    x, y = np.arange(128, dtype=np.uint8), np.full(128, 255, np.uint8)
    masked = MachineOp(ROWS["vmem_masked"], None, (Q, V[0]), Address("y"))
    kernel = jit(program(
        {"x": 128, "y": 128}, load(V[0], "x"), op("tfrsi", S[0], 40),
        op("pred_scalar2", Q, S[0]), masked,
    ))  # fmt: skip
    kernel(x, y)
    assert (y == np.where(np.arange(128) < 40, x, 255)).all()


def test_predicates_of_words_choose_bytes() -> None:
    x, y = words(2, 32), words(1, 32)
    kernel = jit(program(
        {"x": 256, "y": 128}, load(V[0], "x"), load(V[1], "x", 128),
        op("vgtw", Q, V[0], V[1]), op("vmux", V[2], Q, V[0], V[1]), store(V[2], "y"),
    ))  # fmt: skip
    kernel(x, y)
    assert (y[0] == x.max(0)).all()


@pytest.mark.parametrize(("rows", "pitch"), [(1, 96), (3, 32), (3, 48)])
def test_copies_move_rows(rows: int, pitch: int) -> None:
    x, y = np.arange(256, dtype=np.uint8), np.zeros(128, np.uint8)
    size = 96 // rows
    copy = Dma("t", Address("near"), Address("x", 4, (("i", 8),)), rows, size, size, pitch)
    given = program(
        {"x": 256, "y": 128},
        Loop("i", 2, [copy, WaitOp("t"), load(V[0], "near"), store(V[0], "y")]),
        near=128,
    )
    jit(given)(x, y)
    wanted = np.concatenate([x[12 + r * pitch : 12 + r * pitch + size] for r in range(rows)])
    assert (y[:96] == wanted).all()


def test_constants_are_places_with_data() -> None:
    data = words(32)
    places = [
        Place("c", 128, "ddr", data=data.tobytes()),
        Place("y", 128, "ddr"),
    ]
    y = words(1, 32)
    jit(Program("constant", places, [Phase([load(V[0], "c"), store(V[0], "y")])]))(y)
    assert (y[0] == data).all()


def test_scalars_that_are_constants_are_folded() -> None:
    x, y = np.arange(256, dtype=np.uint8), np.zeros(128, np.uint8)
    given = program(
        {"x": 256, "y": 128}, load(V[0], "x"), load(V[1], "x", 128),
        op("tfrsi", S[0], 3), op("addi", S[0], S[0], 4),
        op("valignb", V[2], V[1], V[0], S[0]), store(V[2], "y"),
    )  # fmt: skip
    jit(given)(x, y)
    assert (y == x[7:135]).all()
    assert "phi" not in program_ir(given, frozenset())


def test_scalars_that_loops_change_are_not() -> None:
    y = words(4)
    kernel = jit(program(
        {"y": 16},
        op("tfrsi", S[0], 5),
        Loop("i", 4, [store(S[0], "y", row="storeri", i=4), op("addi", S[0], S[0], 2)]),
    ))  # fmt: skip
    kernel(y)
    assert y.tolist() == [5, 7, 9, 11]


def test_phases_run_in_order() -> None:
    x, y = words(2, 32), words(2, 32)
    first = Phase([load(V[0], "x", i=128), store(V[0], "near", i=128)], ("i", 2))
    second = Phase([load(V[0], "near", 128), store(V[0], "y"), load(V[0], "near"),
                    store(V[0], "y", 128)])  # fmt: skip
    places = [Place("x", 256, "ddr"), Place("y", 256, "ddr"),
              Place("near", 256, "tcm", local=True)]  # fmt: skip
    jit(Program("phases", places, [first, second]))(x, y)
    assert (y == x[::-1]).all()


def test_arrays_are_aligned_by_copies_that_come_back() -> None:
    memory = np.zeros(300, np.uint8)
    y = memory[3:131]
    kernel = jit(program({"y": 128}, op("tfrsi", S[0], 7), op("lvsplatb", V[0], S[0]),
                         store(V[0], "y")))  # fmt: skip
    kernel(y)
    assert (y == 7).all()
    assert (memory[:3] == 0).all()
    assert (memory[131:] == 0).all()


def test_buffers_are_aligned_and_have_slack() -> None:
    memory = buffer(100)
    assert memory.ctypes.data % 128 == 0
    assert memory.base is not None
    assert memory.base.nbytes >= 228


def test_addresses_are_run_as_they_are() -> None:
    x, y = buffer(128), buffer(128)
    x[:] = np.arange(128)
    kernel = jit(program({"x": 128, "y": 128}, load(V[0], "x"), store(V[0], "y")))
    kernel.run({"x": x.ctypes.data, "y": y.ctypes.data})
    assert (y == x).all()


def test_threads_have_scratch_of_their_own() -> None:
    kernel = jit(program(
        {"x": 128, "y": 128},
        load(V[0], "x"), store(V[0], "near"),
        Loop("i", 2000, [load(V[1], "near"), op("vaddw", V[1], V[1], V[0]), store(V[1], "near")]),
        load(V[2], "near"), store(V[2], "y"),
        near=128,
    ))  # fmt: skip
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        x, y = np.full(32, number, np.int32), np.zeros(32, np.int32)
        for _ in range(20):
            kernel(x, y)
        results[number] = y

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((results[number] == 2001 * number).all() for number in range(4))


def test_written_places() -> None:
    copy = Dma("t", Address("near"), Address("x"), 1, 128, 128, 128)
    given = program({"x": 128, "y": 128}, Loop("i", 1, [copy, store(V[0], "y")]), near=128)
    assert written(given) == {"near", "y"}


def test_a_register_is_assigned_before_it_is_read() -> None:
    given = program({"y": 128}, store(V[3], "y"))
    with pytest.raises(ValueError) as caught:
        jit(given)
    assert str(caught.value) == (
        "test: a register must be assigned before it is read, but v3 is not"
    )


def test_arrays_fit_their_parameters() -> None:
    kernel = jit(program({"y": 128}, op("vd0", V[0]), store(V[0], "y")))
    with pytest.raises(ValueError) as caught:
        kernel()
    assert str(caught.value) == "test: an array a parameter (y), but got 0"
    with pytest.raises(ValueError) as caught:
        kernel(np.zeros((2, 3), np.uint8))
    assert str(caught.value) == ("test: y takes 128 bytes in one piece, but got 6 of shape (2, 3)")
