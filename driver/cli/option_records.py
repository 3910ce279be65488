"""Records of options on the command line: a parameter that is a record stands for its rows.

    @command("Example: ...")
    def tune(model: Model, search: Search = DEFAULT_SEARCH) -> None: ...   # --trials, --seed, ...

``Recipe | None`` is None unless one of its options is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, Signature, isclass, signature
from types import NoneType
from typing import Annotated, Any, get_args

import typer

from ...options.record import OptionRow, Options


def expanded(run: Callable[..., object]) -> Signature:
    """The signature of a command as typer reads it: an option a row of each record."""
    found: list[Parameter] = []
    for one in signature(run, eval_str=True).parameters.values():
        record, optional = _record(one.annotation)
        if record is None:
            found.append(one.replace(kind=Parameter.KEYWORD_ONLY))
        else:
            found += _options(one.name, record, optional)
    return Signature(found)


def gathered(run: Callable[..., object], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a command from the values of its options; InputError for a wrong one."""
    made = {}
    for one in signature(run, eval_str=True).parameters.values():
        record, optional = _record(one.annotation)
        if record is None:
            made[one.name] = given[one.name]
            continue
        values = {row.name: given[_place(one.name, row)] for row in record.rows()}
        values = {name: value for name, value in values.items() if value is not None}
        made[one.name] = None if optional and not values else record(**values)
    return made


def _record(kind: Any) -> tuple[type[Options] | None, bool]:
    """The record that a parameter is of, and whether it may be None."""
    parts = get_args(kind) or (kind,)
    record = isclass(parts[0]) and issubclass(parts[0], Options)
    return (parts[0] if record else None), NoneType in parts


def _place(name: str, row: OptionRow) -> str:
    """The name of a row among a command's parameters."""
    return f"{name}_{row.name}"


def _options(name: str, record: type[Options], optional: bool) -> Iterator[Parameter]:
    for row in record.rows():
        several = isinstance(row.default, tuple)
        kind: Any = list[str] if several else row.kind
        flag = f"--{row.word}/--no-{row.word}" if row.kind is bool else f"--{row.word}"
        default = None if optional or several else row.default
        text = f"{row.help} Default: the log's." if optional else row.help
        option = typer.Option(flag, help=text, metavar="TEXT" if several else None)
        kind = kind | None if default is None else kind
        yield Parameter(
            _place(name, row), Parameter.KEYWORD_ONLY, default=default,
            annotation=Annotated[kind, option],
        )  # fmt: skip
