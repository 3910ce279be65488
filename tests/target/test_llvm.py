"""LLVM code computes what the op table means, with and without the host's own instructions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.target.dsp.decorators import VECTOR
from dovetail.target.instruction import Instruction, Parameter, register_class
from dovetail.target.llvm_rows import row_function
from dovetail.tir.expr import Expr, cast, const, free_vars, make, sat_cast, select, var
from dovetail.tir.ops import OPS
from dovetail.tir.row import Beyond, Lanes, Op
from dovetail.tir.type_rules import compared, selected
from dovetail.tir.type_rules import given as given_type
from dovetail.tir.types import Type, i8, i16, i32, i64, parse_type, u8, u16, u32, vector
from tests.target.probing import PROBED, Probes

PLAIN: frozenset[str] = frozenset()
VECTORS = [parse_type(t) for t in ("i8x128", "u8x128", "i16x64", "u16x64", "i32x32", "u32x32")]
SCALARS = [i8, u8, i16, u16, i32, u32, i64]


def row_of(body: Expr) -> Instruction:
    """A row whose body is ``body``, its variables the operands."""
    names = sorted(free_vars(body), key=lambda node: str(node.attr))
    parameters = tuple(
        Parameter(str(v.attr), v.type, register_class(v.type, VECTOR)) for v in names
    )
    name = f"try{body.number}"
    timing = (9,) * (len(names) + 1)
    return Instruction(name, parameters, body.type, body, "", timing, ((0, "VA"),), vector=VECTOR)


def wrong(*bodies: Expr, features: frozenset[str] | None = None) -> list[str]:
    probes = Probes()
    for body in bodies:
        probes.add(row_of(body), 16)
    return probes.run(features)


def operands(kind: Type) -> tuple[Expr, Expr]:
    return var("a", kind), var("b", kind)


@pytest.mark.parametrize("features", [None, PLAIN])
def test_every_row_computes_its_body(features: frozenset[str] | None) -> None:
    probes = Probes()
    for row in PROBED:
        probes.add(row, 24)
    assert probes.run(features) == []


ONE_BY_ONE = [op for op in OPS.values() if op.lanes is Lanes.SAME]
COMPARE = [op for op in ONE_BY_ONE if op.rule is compared]
ARITHMETIC = [op for op in ONE_BY_ONE if op.rule not in (compared, given_type, selected)]


def tried(op: Op, kind: Type) -> Expr:
    """``op`` on variables of one type; TypeError where it takes none of it."""
    args = [var("abc"[place], kind) for place in range(op.arity)]
    exact = op.beyond is not Beyond.IN_PLACE
    return make(op.name, *(arg & 63 if exact and place in op.counts else arg
                           for place, arg in enumerate(args)))  # fmt: skip


def takes(op: Op, kind: Type) -> bool:
    """Whether the meaning is exact in 64 bits, and takes the type."""
    divides = op.name in ("floordiv", "mod")
    if kind.bits == 64 and (op.beyond is not Beyond.IN_PLACE or divides):
        return False
    try:
        return tried(op, kind).type.bits <= 64
    except TypeError:
        return False


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("op", ARITHMETIC, ids=lambda op: op.name)
def test_operators_on_every_type(op: Op) -> None:
    kinds = [kind for kind in (*VECTORS, *SCALARS) if takes(op, kind)]
    assert kinds
    assert wrong(*(tried(op, kind) for kind in kinds)) == []


@pytest.mark.parametrize("op", COMPARE, ids=lambda op: op.name)
def test_comparisons_select(op: Op) -> None:
    bodies = []
    for kind in [*VECTORS, *SCALARS]:
        a, b = operands(kind)
        bodies.append(select(make(op.name, a, b), a, const(7, kind)))
    assert wrong(*bodies) == []


@pytest.mark.parametrize("op", ["widening_add", "widening_sub", "widening_mul"])
def test_widening(op: str) -> None:
    kinds = [("u8x128", "i8x128"), ("u8x128", "u8x128"), ("i16x64", "u16x64"), ("i8", "i8")]
    pairs = [(var("a", parse_type(a)), var("b", parse_type(b))) for a, b in kinds]
    assert wrong(*(make(op, a, b) for a, b in pairs)) == []


@pytest.mark.parametrize("source", [*VECTORS, *SCALARS])
def test_casts_between_all_widths(source: Type) -> None:
    targets = [kind for kind in (i8, u8, i16, u16, i32, u32)
               if source.lanes == 1 or kind.bits * source.lanes in (1024, 2048)]  # fmt: skip
    a = var("a", source)
    assert wrong(*[cast(t, a) for t in targets], *[sat_cast(t, a) for t in targets]) == []


@pytest.mark.parametrize("count", [-1, 0, 1, 7, 15, 31, 40])
def test_rounding_shifts_by_constants(count: int) -> None:
    bodies = []
    for kind in VECTORS:
        by = const(count, vector(i32, kind.lanes))
        bodies.append(make("rounding_shr", var("a", kind), by))
    assert wrong(*bodies) == []


def test_rounding_shifts_by_lanes() -> None:
    bodies = []
    for kind in VECTORS:
        by = var("b", vector(i8, kind.lanes)) & 63 if kind.bits == 8 else var("b", kind) & 63
        bodies.append(make("rounding_shr", var("a", kind), by))
    assert wrong(*bodies) == []


@pytest.mark.parametrize("count", [0, 1, 14, 15, 31, 40, 62])
def test_requantizing_products(count: int) -> None:
    bodies = []
    for a, b in (("i32x32", "i32x32"), ("i16x64", "i16x64"), ("i16x64", "u16x64"), ("i32", "i32")):
        x, y = var("a", parse_type(a)), var("b", parse_type(b))
        by = const(count, vector(i32, x.type.lanes))
        bodies += [make(op, x, y, by) for op in ("mul_shr", "rounding_mul_shr")]
    assert wrong(*bodies) == []


@pytest.mark.parametrize("features", [None, PLAIN])
@pytest.mark.parametrize("kinds", ["u8 u8", "u8 i8", "i8 i8", "i16 i16"])
def test_dot_products(kinds: str, features: frozenset[str] | None) -> None:
    first, second = (parse_type(kind) for kind in kinds.split())
    lanes, n = 1024 // first.bits, 32 // first.bits
    a, b = var("a", vector(first, lanes)), var("b", vector(second, lanes))
    product = cast(i32, a) * cast(i32, b)
    total = make("group_sum", product, attr=n)
    x = var("x", total.type)
    assert wrong(total, x + total, total * 3, features=features) == []


def test_group_sums_of_any_width() -> None:
    bodies = [make("group_sum", cast(i32, var("a", parse_type("i16x64"))), attr=2)]
    bodies += [
        make("group_sum", cast(i32, var("a", parse_type("u8x128"))), attr=n) for n in (4, 128)
    ]
    bodies += [make("group_sum", var("a", kind), attr=kind.lanes // (32 // kind.bits))
               for kind in VECTORS]  # fmt: skip
    assert wrong(*bodies) == []


def test_lanes_move() -> None:
    bodies: list[Expr] = []
    for kind in VECTORS:
        a, b = operands(kind)
        half = kind.lanes // 2
        bodies += [
            make("interleave", a, b),
            make("concat", a, b),
            make("concat", make("slice", a, attr=(half, half)), make("slice", b, attr=(0, half))),
            make("repeat", make("slice", a, attr=(3, half)), attr=2),
            make("tile", make("slice", a, attr=(0, half)), attr=2),
            make("concat", make("deinterleave", a, attr=(1, 2)),
                 make("deinterleave", b, attr=(0, 2))),
            make("reinterpret", a, attr=parse_type("u16x64")) + 1,
        ]  # fmt: skip
    assert wrong(*bodies) == []


def test_short_values_are_splat() -> None:
    bodies = []
    for text in ("u8x4", "i8x4", "i16x2", "i32", "u8", "i16"):
        kind = parse_type(text)
        r = var("r", kind)
        times = 1024 // (kind.bits * kind.lanes)
        bodies.append(make("tile", r, attr=times))
        bodies.append(make("repeat", r, attr=times))
    assert wrong(*bodies) == []


@pytest.mark.parametrize("features", [None, PLAIN])
def test_tables(features: frozenset[str] | None) -> None:
    table, index = operands(parse_type("u8x128"))
    words = var("a", parse_type("i32x32"))
    reversed_lanes = make("concat", *(const(31 - lane, u8) for lane in range(32)))
    bodies = [
        make("lookup", table, index & 127),
        make("lookup", words, make("slice", index, attr=(0, 32)) & 31),
        make("lookup", words, reversed_lanes),
        make("lookup", make("concat", table, table + 1), index),
    ]
    assert wrong(*bodies, features=features) == []


WORDS = [op.name for op in ARITHMETIC if takes(op, u8) and takes(op, i8) and op.arity < 3]


def drawn(draw: st.DrawFn, inner: Expr, word: str) -> Expr:
    return make(word, *[inner, inner + draw(st.integers(0, 100))][: OPS[word].arity])


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Expr:
    """Lane-wise arithmetic of bytes, widened, interleaved and narrowed again."""
    kind = parse_type(draw(st.sampled_from(["u8x128", "i8x128"])))
    if depth == 0:
        leaf = draw(st.sampled_from(["a", "b", "c"]))
        return var(f"{leaf}{kind.kind}", kind)
    choice = draw(st.integers(0, 2))
    inner = draw(expressions(depth=depth - 1))
    kind = inner.type
    if choice == 0:
        return cast(kind.element, drawn(draw, inner, draw(st.sampled_from(WORDS))))
    wide = cast(i16, inner) * draw(st.integers(-300, 300))
    if choice == 1:
        return sat_cast(kind.element, wide >> draw(st.integers(0, 9)))
    parts = [make("deinterleave", wide, attr=(part, 2)) for part in (0, 1)]
    narrow = [sat_cast(u8, part) for part in draw(st.permutations(parts))]
    return cast(kind.element, make("interleave", *narrow))


@settings(max_examples=25, deadline=None)
@given(expressions())
def test_expressions(body: Expr) -> None:
    assert wrong(body) == []


def test_a_known_operand_is_built_in() -> None:
    a, i = var("a", parse_type("i32x32")), var("i", i32)
    row = row_of(a >> make("tile", i, attr=32))
    text = row_function(row, (None, 5), PLAIN).define
    assert "ashr" in text
    assert "insertelement" not in text


def test_permutations_by_known_scalars_are_shuffles() -> None:
    from dovetail.target.dsp.instructions import TABLE

    text = row_function(TABLE["valignb"], (None, None, 3), PLAIN).define
    assert "shufflevector" in text
    assert "phi" not in text


def test_floats() -> None:
    import ctypes

    import llvmlite.ir as ir

    from dovetail.target.jit import compiled
    from dovetail.target.llvm_rules import Lowering
    from dovetail.tir.evaluate_expr import evaluate_expr

    kind = parse_type("f32x32")
    a, b = operands(kind)
    total = (a + b) * a - make("min", a, b) + make("abs", b) + make("rint", a)
    body = select(a < b, total, cast(kind.element, cast(i32, b)))
    module = ir.Module()
    pointer = ir.VectorType(ir.FloatType(), 32).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3), "floats")
    builder = ir.IRBuilder(function.append_basic_block())
    given_values = {n: builder.load(p, align=4) for n, p in zip("ab", function.args, strict=False)}
    builder.store(Lowering(builder, given_values).value(body), function.args[2], align=4)
    builder.ret_void()
    engine = compiled(str(module))
    random = np.random.default_rng(1)
    x, y = (random.normal(0, 100, 32).astype(np.float32) for _ in range(2))
    out = np.zeros(32, np.float32)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(engine.get_function_address("floats"))
    run(x.ctypes.data, y.ctypes.data, out.ctypes.data)
    assert (out == evaluate_expr(body, {"a": x, "b": y})).all()
