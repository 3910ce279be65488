"""Nests: what names the code of a point is its text, the same in every process."""

import os
import subprocess
import sys

from dovetail.driver.nest_name import nest
from dovetail.driver.prepare import prepare
from dovetail.driver.targets import parse as machine
from dovetail.driver.zoo import build, calibration
from dovetail.tir.script import parse

KERNEL = """@prim_func
def k(x: Buffer[u8, (512,), "tcm"], y: Buffer[u8, (512,), "tcm"]):
    for i in parallel(4):
        for l in vectorized(128):
            y[i * 128 + l] = max(x[i * 128 + l], {added})
"""


def test_kernels_of_one_text_have_one_nest() -> None:
    one, same, other = (nest(parse(KERNEL.format(added=added))) for added in (3, 3, 4))
    assert one == same != other


def test_buffers_are_part_of_the_nest() -> None:
    text = KERNEL.format(added=3)
    assert nest(parse(text)) != nest(parse(text.replace('"tcm"', '"ddr"')))


def test_nests_do_not_hang_on_hashes() -> None:
    code = (
        "from dovetail.driver.nest_name import nest\n"
        "from dovetail.tir.script import parse\n"
        f"print(nest(parse({KERNEL.format(added=3)!r})))"
    )

    def run(hashes: str) -> bytes:
        paths = os.pathsep.join(sys.path)
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": hashes}
        return subprocess.check_output([sys.executable, "-c", code], env=environment)

    assert run("1") == run("2") == f"{nest(parse(KERNEL.format(added=3)))}\n".encode()


def test_points_of_one_nest_cost_the_same() -> None:
    module, inputs = build("resnet8")
    found = prepare(module, inputs, calibration("resnet8"), machine("dsp"))
    task = max(found.tasks, key=lambda task: task.size)
    twins: dict[str, list[int | None]] = {}
    for point in [task.default, *task.space.neighbours(task.default)]:
        if name := task.nest(point):
            twins.setdefault(name, []).append(task.measure(point).cycles)
    assert len(twins) > 1 and all(len(set(costs)) == 1 for costs in twins.values())
