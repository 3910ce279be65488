"""LLVM IR into Hexagon objects by llvmlite's Hexagon backend.

compile_ir("define i32 @f(i32 %x) { ret i32 %x }")  # an ELF object
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .assemble import TRIPLE
from .tools import HexagonError


def compile_ir(text: str, version: int = 67, *, optimize: int = 2) -> bytes:
    """The object of a module; HexagonError gives the verifier's message."""
    import llvmlite.binding as llvm

    machine = _machine(version, optimize)
    try:
        module = llvm.parse_assembly(f'target triple = "{TRIPLE}"\n{text}')
        module.verify()
    except RuntimeError as error:
        raise HexagonError(f"compile_ir: LLVM must accept the module, but got {error}") from None
    data: bytes = machine.emit_object(module)
    return data


@cache
def _machine(version: int, optimize: int) -> Any:  # llvmlite has no types
    _start()
    import llvmlite.binding as llvm

    return llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=f"hexagonv{version}",
        features=f"+hvxv{version},+hvx-length128b",
        opt=optimize,
    )


@cache
def _start() -> None:
    """Once a process. With small data, globals would have to lie where ld.lld cannot put them."""
    import llvmlite.binding as llvm

    llvm.set_option("dovetail", "-hexagon-small-data-threshold=0")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
