"""Frozen data whose hash is found once: what keys of remembered results are made of.

@dataclass(frozen=True, slots=True)
class Seq(Hashed):
    stmts: tuple[Stmt, ...]
    __hash__ = Hashed.__hash__      # or the dataclass makes one that walks all statements below
"""

from __future__ import annotations


class Hashed:
    __slots__ = ("_hash",)
    __match_args__: tuple[str, ...]
    _hash: int

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            found = hash(tuple([getattr(self, name) for name in self.__match_args__]))
            object.__setattr__(self, "_hash", found)
            return found
