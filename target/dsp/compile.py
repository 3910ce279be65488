"""From a selected program to packed code: lower, pipeline, pack, assign registers."""

from __future__ import annotations

from ..program import Program
from .allocate import assign, live_around
from .depend import block_edges
from .expand import pipeline
from .listing import Function, Listing
from .lower import Lowering, Table, move
from .machine import Machine
from .pack import Pressure, list_schedule, packer
from .scalar import NOP
from .steps import Block, Node, Step, Trip, blocks


def compile_program(program: Program, machine: Machine) -> Listing:
    """The listing of ``program`` for ``machine``."""
    table = Table(machine)
    functions = [_phase(program, number, table) for number in range(len(program.phases))]
    tcm = sum(
        place.size * (machine.threads if place.per_thread else 1)
        for place in program.places
        if place.scope == "tcm"
    )
    return Listing(program.name, machine, functions, tcm=tcm)


def _phase(program: Program, number: int, table: Table) -> Function:
    machine = table.machine
    symbol = f"phase_{number}"
    low = Lowering(program, number, table, symbol)
    around = live_around(low.nodes)
    low.nodes = pipeline(low.nodes, around, low.registers, low.extents, table, 0)
    _close(low.nodes, table)
    around = live_around(low.nodes)
    limits = (machine.vectors, machine.scalars, machine.predicates)
    for block in blocks(low.nodes):
        if block.packets:
            continue
        before, after = around[id(block)]
        edges = block_edges(block, low.extents, machine.vector_result)
        pressure = Pressure(before, after, low.registers.kinds, limits)
        block.packets = list_schedule(block.steps, edges, packer(machine), pressure)
    _pad(low.nodes, table)
    real = assign(low.nodes, low.registers, machine)
    phase = program.phases[number]
    extent = phase.parallel[1] if phase.parallel else None
    return Function(symbol, extent, low.nodes, low.registers, real, low.records, phase.name)


def _close(nodes: list[Node], table: Table) -> None:
    """Moves the pointers of innermost loops that were not pipelined."""
    for node in nodes:
        if isinstance(node, Trip):
            if node.bumps:
                block = node.body[0]
                assert isinstance(block, Block)
                move(block, node.bumps, table)
            _close(node.body, table)


def _pad(nodes: list[Node], table: Table) -> None:
    """A hardware loop ends in a packet of its own that does not branch."""
    for node in nodes:
        if not isinstance(node, Trip):
            continue
        _pad(node.body, table)
        last = node.body[-1]
        assert isinstance(last, Block)
        if node.level < 2 and (not last.packets or any(s.is_call for s in last.packets[-1])):
            last.packets.append([Step(table(NOP))])
