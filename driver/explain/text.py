"""An explained kernel as lines for a person, at most as wide as the terminal.

    for line in kernel_lines(explained, Wanted(all=True)): print(line.wrapped(100))

Styles are rich's; they are left out where the output is no terminal.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, groupby
from string import ascii_lowercase

from ...target.selection_record import Trial
from ...tir.expr import Expr, walk
from ...tir.passes.lift import LiftedStore
from ...tir.rewrite.engine import Attempt
from ...tir.spell import show_expr
from ...tir.stmt import load
from .code import Section, ShownExpansion, ShownValue, text_of
from .found import Explained

HEAD, PART, ROW, WHY, PLAIN = "bold", "bold cyan", "green", "yellow", ""
SHORT = 24  # characters that need no name


@dataclass(frozen=True, slots=True)
class TextLine:
    """``lead`` begins at the margin, ``text`` behind it; its wrapped lines begin below it."""

    indent: int
    lead: str
    text: str = ""
    style: str = PLAIN

    def wrapped(self, width: int) -> str:
        first = " " * self.indent + self.lead
        return textwrap.fill(
            self.text, max(width, 40), initial_indent=first,
            subsequent_indent=" " * (self.indent + min(len(self.lead), 30)),
            break_long_words=False, break_on_hyphens=False,
        ) if self.text else first  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show: ``all`` that was tried, and the ``names`` of rules or rows (None: any)."""

    all: bool = False
    names: frozenset[str] | None = None

    def attempt(self, attempt: Attempt) -> bool:
        if self.names is not None:
            return attempt.rule in self.names
        stopped = attempt.reason.startswith(("forbidden", "limit"))
        return self.all or stopped or attempt.result is not None

    def trial(self, trial: Trial) -> bool:
        if self.names is not None:
            return trial.row.name in self.names
        return self.all or trial.near


def kernel_lines(explained: Explained, wanted: Wanted) -> Iterator[TextLine]:
    """Everything about one kernel."""
    task = explained.task
    yield TextLine(0, f"{task.name}: {task.kind}, {explained.cycles:,} cycles", style=HEAD)
    others = [name for name in explained.names if name != task.name]
    if others:
        yield TextLine(2, "the same kernel: ", ", ".join(others))
    if explained.nodes:
        yield TextLine(2, "one kernel of: ", ", ".join(explained.nodes))
    if explained.apart:
        yield TextLine(2, "by itself: ", explained.apart)
    point = ", ".join(f"{name}={value}" for name, value in explained.point.items())
    yield TextLine(2, f"template {explained.template}: ", point or "one point")
    yield from _lifting(explained.sites, wanted)
    yield from _combining(explained.sections, wanted)
    yield TextLine(0, "")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"


# Lifting ------------------------------------------------------------------------------------


def _lifting(sites: Iterable[LiftedStore], wanted: Wanted) -> Iterator[TextLine]:
    counts: Counter[str] = Counter()
    number = 0
    lines: list[TextLine] = []
    for site in sites:
        fired = [a for a in site.attempts if a.result is not None]
        counts.update(a.rule for a in fired)
        if any(map(wanted.attempt, site.attempts)):
            lines += _site(site, number, wanted)
        number += len(fired)
    yield TextLine(2, f"lifting: {_many(number, 'rewrite')}: ", _counted(counts), PART)
    yield from lines


def _site(site: LiftedStore, number: int, wanted: Wanted) -> Iterator[TextLine]:
    """A store with its rewrites; ``number`` were done before it."""
    names: dict[Expr, str] = {}
    store, letters = site.store, _letters(site)
    target = show_expr(load(store.buffer, *store.index))
    yield TextLine(4, f"{target} = ", show_expr(store.value), style=HEAD)
    for place, run in groupby(site.attempts, lambda attempt: attempt.site):
        tried = list(run)
        failed = [(a.rule, a.reason) for a in tried if a.result is None and wanted.attempt(a)]
        if failed:
            yield TextLine(6, "at ", text_of(place, _but(names, place)))
            yield from _reasons(failed)
        for attempt in (a for a in tried if a.result is not None):
            number += 1
            if wanted.attempt(attempt):
                yield from _fired(attempt, number, names, letters)


def _reasons(failed: list[tuple[str, str]]) -> Iterator[TextLine]:
    """Each reason once, with the rows that failed by it; members of a family are counted."""
    found: dict[str, Counter[str]] = {}
    for name, reason in failed:
        found.setdefault(reason, Counter())[name.partition(".")[0]] += 1
    for reason, names in found.items():
        who = ", ".join(f"{name} ({n} rules)" if n > 1 else name for name, n in names.items())
        yield TextLine(8, "- ", f"{reason}: {who}", WHY)


def _fired(
    attempt: Attempt, number: int, names: dict[Expr, str], letters: Iterator[str]
) -> Iterator[TextLine]:
    assert attempt.result is not None
    for node in _shared(attempt):
        if node not in names and len(show_expr(node)) > SHORT:
            text = text_of(node, names)
            names[node] = next(letters)
            yield TextLine(9, f"{names[node]} = ", text)
    yield TextLine(6, f"{number:2} {attempt.rule}", style=ROW)
    yield TextLine(9, "   ", text_of(attempt.site, _but(names, attempt.site)))
    yield TextLine(9, "-> ", text_of(attempt.result, names))


def _but(names: dict[Expr, str], node: Expr) -> dict[Expr, str]:
    return {other: name for other, name in names.items() if other is not node}


def _letters(site: LiftedStore) -> Iterator[str]:
    """The names a, b, ..., a1, b1, ... that no buffer and no loop has."""
    nodes = [node for root in (site.store.value, *site.store.index) for node in walk(root)]
    taken = {node.attr.name for node in nodes if node.op == "load"}
    taken |= {str(node.attr) for node in nodes if node.op == "var"}
    for number in count():
        for letter in ascii_lowercase:
            name = f"{letter}{number or ''}"
            if name not in taken:
                yield name


def _shared(attempt: Attempt) -> list[Expr]:
    """The largest parts that stand on both sides; loads are short enough."""
    assert attempt.result is not None
    after, found = set(walk(attempt.result)), list[Expr]()
    stack = list(attempt.site.args)
    while stack:
        node = stack.pop()
        if node in after and node.args and node.op != "load":
            found.append(node)
        elif node.op != "load":
            stack.extend(node.args)
    return found


# Combining ----------------------------------------------------------------------------------


def _combining(sections: list[Section], wanted: Wanted) -> Iterator[TextLine]:
    rows: Counter[str] = Counter()
    for section in sections:
        for value in section.values:
            rows[value.row or "none"] += value.count
    found = f"{_many(sum(rows.values()), 'value')} by {_many(len(rows), 'row')}"
    yield TextLine(2, f"combining: {found}: ", _counted(rows), PART)
    for section in sections:
        yield from _section(section, wanted)


def _section(section: Section, wanted: Wanted) -> Iterator[TextLine]:
    values = [value for value in section.values if _asked(value, wanted)]
    if wanted.names is not None and not values:
        return
    where = [f"phase {section.phase}"]
    where += [f"threads share {section.parallel}"] if section.parallel else []
    where += [f"in {', '.join(section.loops)}"] if section.loops else []
    moved = [f"{name} {row} {count}" for (row, name), count in section.memory.items()]
    yield TextLine(4, "; ".join(where), style=HEAD)
    if wanted.names is None:
        if moved:
            yield TextLine(6, "memory: ", ", ".join(moved))
        for step in section.steps:
            yield from _step(step)
    for value in values:
        yield from _value(value, wanted)


def _asked(value: ShownValue, wanted: Wanted) -> bool:
    """Whether one of the named rows covers the value or was tried at it."""
    names = wanted.names
    return names is None or value.row in names or any(t.row.name in names for t in value.trials)


def _step(step: ShownExpansion) -> Iterator[TextLine]:
    when = "before its users are known" if step.early else "as no row has it"
    yield TextLine(
        6, f"{step.count:4} x ", f"{step.name} ({when}): {step.before} -> {step.after}", ROW
    )


def _value(value: ShownValue, wanted: Wanted) -> Iterator[TextLine]:
    given = ", ".join(value.operands)
    row = f"{value.row}({given})" if value.row else "no row"
    chain = ", each from the one before" if value.chain else ""
    does = f"{value.inside} in one, " if value.inside > 1 else ""
    does += f"{value.unit}{chain}"
    yield TextLine(6, f"{value.count:4} x {value.name}: {value.kind} = ", f"{row}   [{does}]", ROW)
    if value.inside > 1:
        yield TextLine(15, "", value.text)
    lost = [t for t in value.trials if t.reason and wanted.trial(t)]
    for trial in lost:
        if trial.near:
            yield TextLine(13, f"- {trial.row.name}: ", trial.reason, WHY)
    yield from _distant([trial for trial in lost if not trial.near])


def _distant(trials: list[Trial]) -> Iterator[TextLine]:
    """Rows of other operators or types, by reason."""
    found: dict[str, list[str]] = {}
    for trial in trials:
        found.setdefault(trial.reason, []).append(trial.row.name)
    for reason, names in found.items():
        yield TextLine(13, "- ", f"{reason}: {', '.join(names)}", WHY)
