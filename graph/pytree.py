"""Inputs and outputs as people nest them: what torch's pytree opens, with a place for each tensor.

{"image": x, "scale": 2.0}
    ->    Branch(dict, "dict", ("image", "scale"), (Slot(0), Constant(2.0)))

``place`` makes a tree of a value, ``match`` finds a value's tensors by a tree, ``fill`` builds a
value from tensors. ``spell`` and ``read`` keep a tree as plain data. A class comes back only where
torch's pytree has it under its name in this process; otherwise its parts come back as a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Name: TypeAlias = str | int | float | bool | None
PLAIN = (str, int, float, bool, type(None))
PLAINS: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict}


class Misfit(ValueError):
    """A value is not of a tree's form; the message gives the form and the value."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of the tensor ``index``."""

    index: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that became part of the model: None, a truth value, a number or a word."""

    value: Name


@dataclass(frozen=True, slots=True)
class Branch:
    """A container: its class (dict for a class that is not known here), its name, its parts.

    ``context`` is what torch's pytree needs beside the parts to make one of the class.
    """

    kind: type
    label: str
    names: tuple[Any, ...]
    parts: tuple[Tree, ...]
    context: Any = field(default=None, compare=False)


Tree: TypeAlias = Slot | Constant | Branch


@dataclass(frozen=True, slots=True)
class _Opened:
    kind: type
    names: tuple[Any, ...]
    parts: tuple[Any, ...]
    context: Any


def opened(value: object) -> _Opened | None:
    """A container's class and parts, as torch's pytree sees them; None for everything else."""
    kind = type(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _Opened(kind, tuple(value._fields), tuple(value), None)
    node = _nodes().get(kind)
    if node is None:
        return None
    parts, context = node.flatten_fn(value)
    return _Opened(kind, _names(node, value, parts), tuple(parts), context)


def _nodes() -> Mapping[type, Any]:
    from torch.utils import _pytree

    return _pytree.SUPPORTED_NODES


def _names(node: Any, value: Any, parts: Sequence[object]) -> tuple[Any, ...]:
    """Keys of a dict, fields of a class, numbers of a sequence."""
    if isinstance(value, dict) and len(value) == len(parts):
        return tuple(value)
    if node.flatten_with_keys_fn is None or isinstance(value, (tuple, list)):
        return tuple(range(len(parts)))
    keys = [key for key, _ in node.flatten_with_keys_fn(value)[0]]
    return tuple(
        next((getattr(key, a) for a in ("name", "key", "idx") if hasattr(key, a)), i)
        for i, key in enumerate(keys)
    )


def label_of(kind: type) -> str:
    """``list``, or the full name of a class."""
    plain = kind in PLAINS.values()
    return kind.__name__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def place(value: object, leaf: Callable[[object], Slot | Constant]) -> Tree:
    """The tree of ``value``; ``leaf`` says what each part is that torch's pytree does not open."""
    found = opened(value)
    if found is None:
        return leaf(value)
    parts = tuple(place(part, leaf) for part in found.parts)
    context = None if found.kind in PLAINS.values() else found.context
    return Branch(found.kind, label_of(found.kind), found.names, parts, context)


def slots(tree: Tree) -> Iterator[int]:
    """The indices of a tree's tensors."""
    match tree:
        case Slot(index):
            yield index
        case Branch():
            for part in tree.parts:
                yield from slots(part)


def leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """The parts that torch's pytree does not open any further, each with the path to it."""
    found = opened(value)
    if found is None:
        yield path, value
        return
    for name, part in zip(found.names, found.parts, strict=True):
        yield from leaves(part, _below(path, found.kind, name))


def _below(path: str, kind: type, name: object) -> str:
    fields = not issubclass(kind, (list, dict)) and isinstance(name, str)
    return f"{path}.{name}" if fields else f"{path}[{name!r}]"


def match(tree: Tree, value: object, path: str) -> Iterator[tuple[int, object]]:
    """Each tensor of ``value`` with its index. Raises Misfit where the forms differ."""
    match tree:
        case Slot(index):
            if value is None or isinstance(value, (str, bytes)) or _holds_more(value):
                raise Misfit(f"{path} must be a tensor, but got {_shown(value)}")
            yield index, value
        case Constant():
            if not _same(tree.value, value):
                raise Misfit(
                    f"{path} must be {tree.value!r}, which is part of the compiled model, but got "
                    f"{_shown(value)}; compile it again for another value"
                )
        case Branch():
            parts = _parts(tree, value)
            if parts is None:
                raise Misfit(f"{path} must be {form(tree)}, but got {_shown(value)}")
            for name, part, child in zip(tree.names, parts, tree.parts, strict=True):
                yield from match(child, part, _below(path, tree.kind, name))


def constant(tree: Tree) -> bool:
    """Whether a tree has no tensor, so that a call may leave it out."""
    return next(slots(tree), None) is None


def _parts(tree: Branch, value: object) -> list[Any] | None:
    """The parts of ``value`` in the tree's order; None where it is of another form."""
    if tree.kind in (tuple, list):
        fits = isinstance(value, (tuple, list)) and len(value) == len(tree.parts)
        return list(value) if fits and isinstance(value, (tuple, list)) else None
    found = opened(value)
    if found is not None and found.kind is tree.kind and not issubclass(tree.kind, dict):
        same = found.names == tree.names and found.context == tree.context
        return list(found.parts) if same else None
    if found is not None and not isinstance(value, (tuple, list, Mapping)):
        value = dict(zip(found.names, found.parts, strict=True))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        value = dict(zip(value._fields, value, strict=True))
    if not isinstance(value, Mapping) or not set(value) <= set(tree.names):
        return None
    absent = [n for n, part in zip(tree.names, tree.parts, strict=True)
              if n not in value and not constant(part)]  # fmt: skip
    return None if absent else [
        value[name] if name in value else fill(part, ())
        for name, part in zip(tree.names, tree.parts, strict=True)
    ]  # fmt: skip


def _holds_more(value: object) -> bool:
    """A container that is no nested list of numbers."""
    if isinstance(value, (list, tuple)):
        return not all(isinstance(part, (int, float)) or _numbers(part) for part in value)
    return opened(value) is not None


def _numbers(value: object) -> bool:
    return isinstance(value, (list, tuple)) and not _holds_more(value)


def _same(wanted: Name, given: object) -> bool:
    if isinstance(wanted, bool) or isinstance(given, bool) or not isinstance(given, PLAIN):
        return wanted is given
    return wanted == given or (wanted != wanted and given != given)


def fill(tree: Tree, values: Sequence[Any]) -> Any:
    """The value of a tree's form, with ``values`` in its places."""
    match tree:
        case Slot(index):
            return values[index]
        case Constant(value):
            return value
    parts = [fill(part, values) for part in tree.parts]
    if tree.kind in (tuple, list):
        return tree.kind(parts)
    if tree.kind is dict:
        return dict(zip(tree.names, parts, strict=True))
    if hasattr(tree.kind, "_fields"):
        return tree.kind(*parts)
    return _nodes()[tree.kind].unflatten_fn(parts, tree.context)


def form(tree: Tree) -> str:
    """A tree in a person's words: (tensor, {'mask': None})."""
    match tree:
        case Slot():
            return "tensor"
        case Constant(value):
            return repr(value)
    parts = [form(part) for part in tree.parts]
    if tree.kind in (tuple, list):
        return _bracketed(tree.kind, parts)
    pairs = zip(tree.names, parts, strict=True)
    if tree.label == "dict":
        return "{" + ", ".join(f"{name!r}: {part}" for name, part in pairs) + "}"
    name = tree.label.rpartition(".")[2]
    return f"{name}({', '.join(f'{key}={part}' for key, part in pairs)})"


def _bracketed(kind: type, parts: Sequence[str]) -> str:
    text = ", ".join(parts)
    if kind is list:
        return f"[{text}]"
    return f"({text},)" if len(parts) == 1 else f"({text})"


def _shown(value: object) -> str:
    """A value in the words of ``form``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if opened(value) is None:
        return "tensor" if hasattr(value, "shape") else type(value).__name__
    return form(place(value, _word))


def _word(leaf: object) -> Slot | Constant:
    return Constant(leaf) if isinstance(leaf, PLAIN) else Slot(0)


def spell(tree: Tree) -> dict[str, Any]:
    """A tree as plain data, fit for JSON."""
    match tree:
        case Slot(index):
            return {"slot": index}
        case Constant(value):
            return {"constant": value}
    data: dict[str, Any] = {
        "kind": tree.label,
        "names": [name if isinstance(name, PLAIN) else str(name) for name in tree.names],
        "parts": [spell(part) for part in tree.parts],
    }
    kept = tree.label not in PLAINS and _is_data(tree.context)
    return data | ({"context": tree.context} if kept else {})


def _is_data(context: object) -> bool:
    match context:
        case list():
            return all(map(_is_data, context))
        case _:
            return isinstance(context, PLAIN)


def read(data: Mapping[str, Any]) -> Tree:
    """The tree that ``spell`` wrote. Names in ``data`` are looked up, never imported."""
    match data:
        case {"slot": int(index)}:
            return Slot(index)
        case {"constant": value}:
            if not isinstance(value, PLAIN):
                raise TypeError(f"a constant is plain, but got {value!r}")
            return Constant(value)
    label, names = data["kind"], tuple(data["names"])
    parts = tuple(map(read, data["parts"]))
    if len(names) != len(parts):
        raise ValueError(f"a name a part is needed, but got {len(names)} for {len(parts)}")
    kind = _known(label, names, "context" in data)
    return Branch(kind, label, names, parts, data.get("context"))


def _known(label: str, names: tuple[Any, ...], whole: bool) -> type:
    """The class that torch's pytree has under a name, if it can be made of these parts."""
    if label in PLAINS:
        return PLAINS[label]
    known = {label_of(kind): kind for kind in _nodes() if isinstance(kind, type)}
    kind = None if label.startswith("torch._") else known.get(label)
    fits = kind is not None and whole and tuple(getattr(kind, "_fields", names)) == names
    return kind if kind is not None and fits else dict
