"""LLVM IR of table look-ups: shuffles where lane numbers are known, else the host's own permutation
of bytes, else a loop that reads the table in memory."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir

from ..tir.expr import Expr
from ..tir.types import Type
from .llvm import Lowering, ir_type, rule
from .llvm_lanes import as_vector, joined, shuffled, splat


@rule("lookup")
def _lookup(low: Lowering, node: Expr) -> Any:
    """Known lane numbers are a shuffle; otherwise each lane is read from the table in memory."""
    table, index = node.args
    lanes = low.known(index)
    if table.type.lanes == 1:
        return splat(low, low.value(table), table.type, node.type.lanes)
    if lanes is not None:
        return shuffled(low, low.value(table), table.type, lanes)
    if "avx512vbmi" in low.features and (table.type.lanes, index.type.bits) == (2 * _HOST, 8):
        return _permuted_bytes(low, node)
    return _read(low, node)


def _permuted_bytes(low: Lowering, node: Expr) -> Any:
    """A table in two registers of the host, in which one instruction looks up."""
    table, index = node.args
    halves = [
        shuffled(low, low.value(table), table.type, range(at, at + _HOST)) for at in (0, _HOST)
    ]
    parts = []
    for at in range(0, index.type.lanes, _HOST):
        lanes = shuffled(low, low.value(index), index.type, range(at, at + _HOST))
        parts.append(low.call(_PERMUTE, lanes.type, halves[0], lanes, halves[1]))
    return joined(low, parts, Type("u", 8, _HOST))


_HOST = 64  # bytes of a register of the host that has
_PERMUTE = "llvm.x86.avx512.vpermi2var.qi.512"


def _read(low: Lowering, node: Expr) -> Any:
    """A loop over the lanes, table, numbers and result in memory."""
    build, (table, index) = low.builder, node.args
    memory = [build.alloca(ir_type(kind)) for kind in (table.type, index.type, node.type)]
    build.store(low.value(table), memory[0])
    build.store(as_vector(low, low.value(index), index.type), memory[1])
    word = ir.IntType(64)
    before, body = build.block, build.append_basic_block("lane")
    after = build.append_basic_block("done")
    build.branch(body)
    build.position_at_end(body)
    lane = build.phi(word)
    number = build.load(_element(low, memory[1], index.type, lane))
    entry = build.and_(build.zext(number, word), ir.Constant(word, (1 << index.type.bits) - 1))
    value = build.load(_element(low, memory[0], table.type, entry))
    build.store(value, _element(low, memory[2], node.type, lane))
    following = build.add(lane, ir.Constant(word, 1))
    lane.add_incoming(ir.Constant(word, 0), before)
    lane.add_incoming(following, body)
    done = build.icmp_unsigned("==", following, ir.Constant(word, node.type.lanes))
    build.cbranch(done, after, body)
    build.position_at_end(after)
    return build.load(memory[2])


def _element(low: Lowering, memory: Any, kind: Type, lane: Any) -> Any:
    """The address of a lane of a value in memory."""
    first = low.builder.bitcast(memory, ir.PointerType(ir_type(kind.element)))
    return low.builder.gep(first, [lane], source_etype=ir_type(kind.element))
