"""LLVM's verdict on packets, and what is said when a tool is missing."""

import pytest

from dovetail.target.dsp.hexagon import tools
from dovetail.target.dsp.hexagon.assemble import AssembleError, assemble

PAIR = "\t{\n\t\tv3.w += vrmpy(v0.ub,v1.b)\n\t\tv4.w += vrmpy(v0.ub,v2.b)\n\t}"


@pytest.mark.tool("llvm-mc-19")
def test_an_object_of_the_version_comes_back() -> None:
    text = "start:\n\t{ v0.w = vadd(v1.w,v2.w) }\n"
    assert assemble(text)[:4] == b"\x7fELF"
    assert assemble(text) == assemble(text, 66) != assemble(text, 68)


@pytest.mark.tool("llvm-mc-19")
def test_two_products_of_vectors_fit_a_packet_from_v69_on() -> None:
    assert assemble(f"start:\n{PAIR}\n", 69)
    with pytest.raises(AssembleError) as error:
        assemble(f"start:\n\t{{ nop }}\n{PAIR}\n\t{{ nop }}\n")
    assert str(error.value) == (
        "assemble: LLVM must accept every packet for v66, but line 6 got: "
        f"invalid instruction packet: slot error\n{PAIR}"
    )


@pytest.mark.tool("llvm-mc-19")
@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ("\t{ v0 = foo(r3) }", "invalid operand for instruction"),
        ("\t{ r0 = r1; r0 = r2 }", "register `R0' modified more than once"),
        ("\t{ v0 = vmem(r0+#0)\n\t  v1 = vmem(r1+#0) }", "invalid instruction packet"),
    ],
)
def test_the_packet_at_fault_is_shown(packet: str, reason: str) -> None:
    with pytest.raises(AssembleError, match=r"^assemble: LLVM must accept every packet") as error:
        assemble(f"start:\n\t{{ nop }}\n{packet}\n\t{{ nop }}\n")
    assert reason in str(error.value)
    assert str(error.value).endswith(f"\n{packet}")


def test_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    tools._installed.cache_clear()
    assert tools.missing()[-1] == ("qemu-hexagon", "qemu-user")
    with pytest.raises(tools.MissingTool) as error:
        tools.tool("llvm-mc")
    assert str(error.value) == (
        "Hexagon code is run by LLVM 19 and QEMU, and clang, ld.lld, llvm-mc, qemu-hexagon was not "
        "found: apt-get install clang-19 lld-19 llvm-19 qemu-user"
    )


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
def test_nothing_is_missing_where_all_is_installed() -> None:
    assert tools.missing() == [] and tools.advice() == ""
