"""Every package of the house is installed, seen by the type checker, and handed out lazily."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import dovetail
from dovetail.tir import script

ROOT = Path(__file__).parent.parent
PARTS = sorted(p.parent for p in ROOT.glob("*/__init__.py"))


def test_every_package_is_listed() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(config["tool"]["setuptools"]["packages"])
    there = {
        ".".join(["dovetail", *init.parent.relative_to(ROOT).parts])
        for part in PARTS
        for init in part.rglob("__init__.py")
    } | {"dovetail"}
    assert listed == there, (
        "[tool.setuptools] packages in pyproject.toml must name every folder with an __init__.py: "
        f"add {sorted(there - listed)}, remove {sorted(listed - there)}"
    )


def test_every_folder_of_code_is_a_package() -> None:
    bare = {
        str(source.parent.relative_to(ROOT))
        for part in PARTS
        for source in part.rglob("*.py")
        if not (source.parent / "__init__.py").exists()
    }
    assert not bare, f"give these folders an __init__.py with a docstring: {sorted(bare)}"


def test_every_part_is_linked_for_the_type_checker() -> None:
    links = {p.name for p in (ROOT / "typings" / "dovetail").iterdir() if p.is_dir()}
    there = {part.name for part in PARTS}
    assert links == there, (
        "typings/dovetail/ must hold a link to each part: in that folder, "
        f"ln -s ../../NAME NAME for {sorted(there - links)}, rm for {sorted(links - there)}"
    )


def test_the_root_holds_no_other_module() -> None:
    stray = sorted(p.name for p in ROOT.glob("*.py") if p.name != "__init__.py")
    assert not stray, f"these would be shipped as modules of the package, move them: {stray}"


def test_every_public_name_is_handed_out() -> None:
    for name in dovetail.__all__:
        assert callable(getattr(dovetail, name)), name
    assert sorted(dovetail.HOMES) == sorted(dovetail.__all__)


def test_every_word_of_the_script_is_handed_out() -> None:
    assert {"u8", "block", "cast", "halving_add", "lookup"} < {*script.WORDS} < {*dir(dovetail)}
    for name in script.WORDS:
        assert getattr(dovetail, name) is getattr(script, name)
    assert not hasattr(dovetail, "add"), "scripts write it as a symbol"


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import json, sys, time; start = time.perf_counter(); import dovetail; "
        "print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))"
    )
    runs = []
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd="/")
        runs.append(json.loads(out.stdout))
    assert min(seconds for seconds, _ in runs) < 0.3
    heavy = {"torch", "xgboost", "llvmlite", "numpy", "rich", "typer"}
    assert not heavy & set(runs[0][1])
