"""What names mean while a script is parsed: axes, buffers, named values, and values of Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..expr import Expr, walk
from ..stmt import Buffer

Meaning = Expr | Buffer | object


@dataclass(slots=True)
class Scope:
    """``names``: what the script bound; ``outer``: values of the Python code around it.

    A named value (``t = x[i]``) is put in place of its uses, so it must not be used after a store
    to a buffer that it loads: ``stores`` counts the stores, ``made`` the count at the definition.
    """

    lines: list[str]
    outer: Mapping[str, object]
    names: dict[str, Meaning] = field(default_factory=dict)
    stores: Counter[str] = field(default_factory=Counter)
    made: dict[str, dict[str, int]] = field(default_factory=dict)

    def bind(self, name: str, meaning: Meaning) -> None:
        self.names[name] = meaning
        self.made.pop(name, None)

    def bind_value(self, name: str, value: Expr) -> None:
        """A named value, with the state of the buffers that it loads."""
        self.names[name] = value
        loaded = {node.attr.name for node in walk(value) if node.op == "load"}
        self.made[name] = {buffer: self.stores[buffer] for buffer in loaded}

    def stale(self, name: str) -> str | None:
        """The buffer that was stored to since the value ``name`` loaded it."""
        made = self.made.get(name, {})
        return next((b for b, count in made.items() if self.stores[b] != count), None)

    def find(self, name: str) -> Meaning | None:
        found = self.names.get(name)
        return self.outer.get(name) if found is None else found
