"""What all tests share: outside tools, how much of a long test runs, and verified passes.

@pytest.mark.tool("qemu-hexagon")         # or require_tool("qemu-hexagon") inside the test
def test_runs_under_qemu() -> None: ...

@pytest.mark.exact                        # `make exact` runs these with --exact
def test_points(exact: bool, record_property: Callable[[str, object], None]) -> None:
    points = sample(50 if exact else 3)
    record_property("slice", f"resnet8: points {points}")     # printed at the end

What each pass gives is verified, in the processes that tests start too; DOVETAIL_VERIFY=0 asks
for none of it.
"""

import os
import shutil
from collections.abc import Callable

import pytest

from dovetail.tir.passes.checked import VARIABLE

PACKAGES = {
    "qemu-hexagon": "qemu-user",
    "clang-19": "clang-19",
    "ld.lld-19": "lld-19",
    "llvm-mc-19": "llvm-19",
}


def demand(name: str) -> None:
    """Skips the test where a tool is missing, or fails it under DOVETAIL_REQUIRE_TOOLS (CI)."""
    if shutil.which(name):
        return
    package = PACKAGES.get(name, name)
    text = f"{name} is not installed: sudo apt-get install {package}"
    if os.environ.get("DOVETAIL_REQUIRE_TOOLS"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], None]:
    """The function that a test calls with the name of the tool that it needs."""
    return demand


@pytest.fixture(scope="session")
def exact(pytestconfig: pytest.Config) -> bool:
    """True where everything runs (`make exact`), False where a seeded slice does."""
    return bool(pytestconfig.getoption("--exact"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flag of `make exact`."""
    parser.addoption("--exact", action="store_true", help="run all points, not a seeded slice")


def pytest_configure(config: pytest.Config) -> None:
    """The markers, and that passes are verified."""
    os.environ.setdefault(VARIABLE, "1")
    config.addinivalue_line("markers", "tool(name, ...): tools outside Python that the test needs")
    config.addinivalue_line("markers", "exact: compares bytes; `make exact` runs it in full")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Asks for the tools that a test's marker names."""
    for mark in item.iter_markers("tool"):
        for name in mark.args:
            demand(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which slices ran."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    slices = [v for r in reports if r.when == "call" for k, v in r.user_properties if k == "slice"]
    if slices:
        terminalreporter.section("points that ran (make exact runs all)")
    for text in slices:
        terminalreporter.write_line(str(text))
