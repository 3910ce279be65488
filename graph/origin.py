"""Where a node of an exported program comes from: module path and source line of the model.

layer1.0.conv1 (resnet.py:42)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.fx import Node as FxNode

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def module_of(node: FxNode) -> str:
    """The path of the innermost module whose forward made the node; "" is the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def source_of(node: FxNode) -> str:
    """``file:line`` of the innermost frame outside of torch; else the module; else a frame."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    return _own(frames) or _module(node) or (_near(*frames[-1]) if frames else node.name)


def origin_of(node: FxNode) -> str:
    """Module path and source line, whichever are known."""
    module, own = module_of(node), _own(_FRAME.findall(node.meta.get("stack_trace") or ""))
    if not module or not own:
        return module or source_of(node)
    return f"{module} ({own})"


def _own(frames: list[tuple[str, str]]) -> str:
    """The innermost frame that is not of torch."""
    own = [frame for frame in frames if "-packages/torch/" not in frame[0].replace("\\", "/")]
    return _near(*own[-1]) if own else ""


def _near(file: str, line: str) -> str:
    path = Path(file)
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{near}:{line}"


def _module(node: FxNode) -> str:
    """module 1, Softplus; module Softplus, where the model itself is one."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return ""
    path, kind = list(stack.values())[-1]
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[2]
    return f"module {path}, {name}" if path else f"module {name}"
