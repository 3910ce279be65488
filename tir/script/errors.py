"""The error of a script that does not parse: one sentence, the line, and a caret."""

from __future__ import annotations

import ast


class ParseError(Exception):
    """``str(error)`` is the sentence, then the line with a caret below the place."""

    def __init__(self, sentence: str, line: int = 0, column: int = 0, source: str = "") -> None:
        self.sentence, self.line, self.column = sentence, line, column
        place = f"\n  line {line}: {source}" if line else ""
        caret = f"\n  {' ' * (len(f'line {line}: ') + column)}^" if line else ""
        super().__init__(sentence + place + caret)


def error_at(sentence: str, node: ast.AST, lines: list[str]) -> ParseError:
    """The error at the place of ``node`` in the source ``lines``."""
    line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    return ParseError(sentence, line, column, source)
