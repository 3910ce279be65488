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
    """``file:line`` of the innermost frame, outside of torch if there is one; else the module."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if "-packages/torch/" not in frame[0].replace("\\", "/")]
    if not own and (module := module_of(node)):
        return module
    if not frames:
        return node.name
    file, line = (own or frames)[-1]
    path = Path(file)
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{near}:{line}"


def origin_of(node: FxNode) -> str:
    """Module path and source line, whichever are known."""
    module, source = module_of(node), source_of(node)
    return f"{module} ({source})" if module and module != source else source
