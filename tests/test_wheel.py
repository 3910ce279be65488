"""A wheel built from the tree holds the package and nothing else, and its CLI runs.

The wheel is installed, without network, into an environment of its own; only the dependencies
are borrowed from the environment that runs the tests, behind what the wheel brought.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = sorted(p.parent.name for p in ROOT.glob("*/__init__.py"))
FILES = ("pyproject.toml", "README.md", "LICENSE", "__init__.py", "py.typed")


def call(*command: str | Path) -> str:
    """The output of a command, which runs away from the tree; its errors fail the test."""
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(command[0]).parent)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel from a copy of the sources: a stale build/ of the tree cannot reach it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    for part in PARTS:
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(out))
    call(sys.executable, "-m", "pip", "wheel", *options, str(tree))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment into which the wheel is installed."""
    home = tmp_path_factory.mktemp("home") / "venv"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    options = ("--no-deps", "--no-index", "-q")
    call(sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel))
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_claims_no_name_but_dovetail(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - info == {"dovetail"}
    assert len(info) == 1


def test_the_wheel_holds_every_source_and_the_type_marker(wheel: Path) -> None:
    there = {f"dovetail/{p.relative_to(ROOT)}" for part in PARTS for p in (ROOT / part).rglob("*")}
    data = {n for n in there if not n.endswith(".pyc") and (ROOT / n.split("/", 1)[1]).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("dovetail/")}
    assert held == data | {"dovetail/__init__.py", "dovetail/py.typed"}, (
        "a source needs its package in [tool.setuptools] packages of pyproject.toml, "
        "a data file a line under package-data"
    )


def test_the_installed_package_is_the_wheels(python: Path) -> None:
    where = call(python, "-c", "import dovetail, dovetail.tir; print(dovetail.__file__)")
    assert Path(where.strip()).is_relative_to(python.parent.parent)


NET = """
import torch


def build():
    x = torch.linspace(-1, 1, 2 * 6 * 6).reshape(1, 2, 6, 6)
    return torch.nn.Sequential(torch.nn.MaxPool2d(2), torch.nn.Sigmoid()), (x,), [(x,)]
"""


def test_the_installed_command_runs(python: Path, tmp_path: Path) -> None:
    """Its worker processes included: they import the wheel, not the tree."""
    command, net, log = python.parent / "dovetail", tmp_path / "net.py", tmp_path / "run.jsonl"
    net.write_text(NET)
    assert "Examples:" in call(command, "tune", "--help")
    assert "resnet8" in call(command, "zoo", "list").split()
    options = ("--trials", "4", "--log", log, "--workers", "1", "--json")
    tuned = json.loads(call(command, "tune", f"{net}:build", *options))
    again = json.loads(call(command, "run", f"{net}:build", "--log", log, "--json"))
    assert again["exact"]
    assert again["cycles"] == tuned["cycles"] >= tuned["bound"]
