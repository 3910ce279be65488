"""The code of one probe of ``lanes.py``: a loop over samples around one instruction.

    phase_7: for each sample: v0 = operands[0]; v2 = operands[1]; v30.w = vadd(v0.w,v2.w); store v30

as assembly text (from the row's ``asm``) or as LLVM IR (from the row's ``hvx``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...instruction import Instruction, Register

SLOT = 256  # bytes of an operand or result in memory: a pair of vectors
SLOTS = 6  # operands of a record

_IR_TYPES = {
    Register.VECTOR: "<32 x i32>",
    Register.PAIR: "<64 x i32>",
    Register.PREDICATE: "<128 x i1>",
    Register.SCALAR: "i32",
    Register.DOUBLE: "i64",
    Register.CONDITION: "i32",
    Register.IMMEDIATE: "i32",
}
_PREFIXED = re.compile(r"[A-Z]\d\.")


@dataclass(frozen=True, slots=True)
class ProbeGroup:
    """``count`` samples of a row that have the same immediates."""

    row: Instruction
    immediates: tuple[int, ...]
    count: int


def assembly_phase(number: int, group: ProbeGroup) -> str:
    """A phase whose loop loads each operand, issues the row's text, and stores the result."""
    row, immediates = group.row, iter(group.immediates)
    result = row.result_register
    assert result is not None
    names, loads = {"d": _result(result)}, []
    for at, parameter in enumerate(row.parameters):
        if parameter.register is Register.IMMEDIATE:
            names[parameter.name] = str(next(immediates))
            continue
        same = parameter.name == row.accumulate
        register = _result(result) if same else _operand(parameter.register, at)
        names[parameter.name] = register
        loads += [f"r19 = add(r16,#{at * SLOT})", *_load(parameter.register, register)]
    lines = [
        *("r16 = memw(r0+#0)", "r17 = memw(r0+#4)", f"r18 = ##{SLOT * SLOTS}"),
        *("r16 += mpyi(r1,r18)", f"r19 = #{SLOT}", "r17 += mpyi(r1,r19)"),
        f"r20 = ##0x01010101 }}\n\t{{ loop0(.Lprobe{number},r2)",
    ]
    body = [*loads, row.asm.format(**names), *_store(result), "r16 = add(r16,r18)"]
    text = "".join(f"\t{{ {line} }}\n" for line in lines)
    text += f".Lprobe{number}:\n" + "".join(f"\t{{ {line} }}\n" for line in body)
    head = f"\t.p2align 4\nphase_{number}:\n"
    return f"{head}{text}\t{{ r17 = add(r17,#{SLOT}) }} :endloop0\n\t{{ jumpr r31 }}\n"


def intrinsic_phase(number: int, group: ProbeGroup) -> tuple[str, str]:
    """(declaration, function) of the same loop around the row's intrinsic."""
    row, immediates = group.row, iter(group.immediates)
    result = row.result_register
    assert result is not None
    name, lines, values = intrinsic_name(row), [], []
    for at, parameter in enumerate(row.parameters):
        kind = _IR_TYPES[parameter.register]
        if parameter.register is Register.IMMEDIATE:
            values.append(f"{kind} {next(immediates)}")
            continue
        lines += _ir_load(parameter.register, at)
        values.append(f"{kind} %a{at}")
    lines += [f"%d = call {_IR_TYPES[result]} @{name}({', '.join(values)})", *_ir_store(result)]
    kinds = ", ".join(_IR_TYPES[p.register] for p in row.parameters)
    declaration = f"declare {_IR_TYPES[result]} @{name}({kinds})\n"
    return declaration, _IR_LOOP.replace("NUMBER", str(number)).replace("BODY", "\n  ".join(lines))


def intrinsic_name(row: Instruction) -> str:
    """LLVM's intrinsic of a row whose ``hvx`` is ``V6.vaddw.128B``, ``A2.add`` or LLVM's record."""
    if not row.hvx:
        raise ValueError(f"a row has an intrinsic when hvx= names it, but {row.name} has none")
    dotted = row.hvx.replace("_", ".")
    return f"llvm.hexagon.{dotted}" if _PREFIXED.match(dotted) else f"llvm.hexagon.V6.{dotted}.128B"


def _operand(kind: Register, at: int) -> str:
    """The register of operand ``at``; the result has the highest of each class."""
    names = {
        Register.VECTOR: f"v{2 * at}",
        Register.PAIR: f"v{2 * at + 1}:{2 * at}",
        Register.PREDICATE: f"q{at % 3}",
        Register.SCALAR: f"r{2 * at}",
        Register.DOUBLE: f"r{2 * at + 1}:{2 * at}",
        Register.CONDITION: f"p{at % 3}",
    }
    return names[kind]


def _result(kind: Register) -> str:
    names = {
        Register.VECTOR: "v30",
        Register.PAIR: "v31:30",
        Register.PREDICATE: "q3",
        Register.SCALAR: "r14",
        Register.DOUBLE: "r15:14",
        Register.CONDITION: "p3",
    }
    return names[kind]


def _load(kind: Register, name: str) -> list[str]:
    """The operand whose slot r19 names, in register ``name``."""
    match kind:
        case Register.VECTOR:
            return [f"{name} = vmem(r19+#0)"]
        case Register.PAIR:
            high, low = name[1:].split(":")
            return [f"v{low} = vmem(r19+#0)", f"v{high} = vmem(r19+#1)"]
        case Register.PREDICATE:
            return ["v29 = vmem(r19+#0)", f"{name} = vand(v29,r20)"]
        case Register.CONDITION:
            return ["r21 = memw(r19+#0)", f"{name} = r21"]
    return [f"{name} = {'memd' if kind is Register.DOUBLE else 'memw'}(r19+#0)"]


def _store(kind: Register) -> list[str]:
    """The result into the slot that r17 names."""
    name = _result(kind)
    match kind:
        case Register.VECTOR:
            return [f"vmem(r17+#0) = {name}"]
        case Register.PAIR:
            return ["vmem(r17+#0) = v30", "vmem(r17+#1) = v31"]
        case Register.PREDICATE:
            return [f"v29 = vand({name},r20)", "vmem(r17+#0) = v29"]
        case Register.CONDITION:
            return [f"r21 = {name}", "memw(r17+#0) = r21"]
    return [f"{'memd' if kind is Register.DOUBLE else 'memw'}(r17+#0) = {name}"]


def _ir_load(kind: Register, at: int) -> list[str]:
    pointer = f"%p{at} = getelementptr i8, ptr %record, i32 {at * SLOT}"
    if kind is not Register.PREDICATE:
        return [pointer, f"%a{at} = load {_IR_TYPES[kind]}, ptr %p{at}"]
    return [
        pointer,
        f"%b{at} = load <32 x i32>, ptr %p{at}",
        f"%a{at} = call <128 x i1> @llvm.hexagon.V6.vandvrt.128B(<32 x i32> %b{at}, i32 16843009)",
    ]


def _ir_store(kind: Register) -> list[str]:
    if kind is not Register.PREDICATE:
        return [f"store {_IR_TYPES[kind]} %d, ptr %target"]
    return [
        "%e = call <32 x i32> @llvm.hexagon.V6.vandqrt.128B(<128 x i1> %d, i32 16843009)",
        "store <32 x i32> %e, ptr %target",
    ]


IR_HELPERS = (  # what moves predicates between vectors and predicate registers
    "declare <128 x i1> @llvm.hexagon.V6.vandvrt.128B(<32 x i32>, i32)\n",
    "declare <32 x i32> @llvm.hexagon.V6.vandqrt.128B(<128 x i1>, i32)\n",
)
_IR_LOOP = f"""
define void @phase_NUMBER(ptr %table, i32 %first, i32 %count) {{
entry:
  %in = load ptr, ptr %table
  %second = getelementptr ptr, ptr %table, i32 1
  %out = load ptr, ptr %second
  %end = add i32 %first, %count
  br label %loop
loop:
  %sample = phi i32 [%first, %entry], [%next, %loop]
  %record = getelementptr [{SLOT * SLOTS} x i8], ptr %in, i32 %sample
  %target = getelementptr [{SLOT} x i8], ptr %out, i32 %sample
  BODY
  %next = add i32 %sample, 1
  %more = icmp ult i32 %next, %end
  br i1 %more, label %loop, label %leave
leave:
  ret void
}}
"""
