"""Records of options: frozen dataclasses whose rows say everything about each field.

    @dataclass(frozen=True, slots=True)
    class Recipe(Options):
        observer: str = option("minmax", Among(OBSERVERS), "What of its values a tensor covers.")

    Recipe(observer="percentile").logged()     # {"observer": "percentile"}
    Recipe(observer="eye")                     # InputError: observer: must be one of ...

A field is typed, checked and explained in its row alone. Python takes it as an argument of the
record, the command line as a flag, headers of logs and saved models by ``logged``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

from . import checks
from .checks import InputError, shown
from .registry import Registry

T = TypeVar("T")
Check = Callable[[str, Any], Any]  # "tune: seed", a value -> the value in its plain type


class Logged(Enum):
    """Whether logs and files say the value of an option."""

    ALWAYS = "always"
    CHANGED = "where it is not the default"
    NEVER = "never"  # nothing that is logged depends on it


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option; ``word`` is its name on the command line, in logs and in files."""

    name: str
    word: str
    kind: Any  # the annotated type
    default: Any
    check: Check
    help: str
    logged: Logged


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a row says beside name, type and default."""

    check: Check
    help: str
    word: str
    logged: Logged


def option(
    default: T, check: Check, help: str, *, word: str = "", logged: Logged = Logged.CHANGED
) -> T:
    """A field of a record; ``word`` where the command line calls it otherwise."""
    facts = _Facts(check, help, word, logged)
    made: T = field(default=default, metadata={"option": facts})
    return made


@dataclass(frozen=True, slots=True)
class Among:
    """The check of an option that names a row of a registry."""

    names: Registry[Any]

    def __call__(self, what: str, value: object) -> str:
        return checks.choice(what, value, self.names)


@dataclass(frozen=True, slots=True)
class Several(Among):
    """The check of an option that names some rows of a registry, in their order; one is itself."""

    def __call__(self, what: str, value: object) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(checks.choice(what, one, self.names) for one in checks.words(what, value))


def at_least(least: int) -> Check:
    """The check of a whole number."""
    return partial(checks.whole, least=least)


def rows(record: type[Any]) -> Iterator[OptionRow]:
    """The options of a dataclass, in their order; other fields are none."""
    kinds = get_type_hints(record)
    for one in (one for one in fields(record) if "option" in one.metadata):
        facts: _Facts = one.metadata["option"]
        assert one.default is not MISSING
        word = facts.word or one.name
        text = facts.help
        if isinstance(facts.check, Among):
            text = f"{text} {facts.check.names.help}."
        yield OptionRow(
            one.name, word, kinds[one.name], one.default, facts.check, text, facts.logged
        )


class Options:
    """The base of records. Values are checked, and made plain, when a record is made."""

    __slots__ = ()
    subject: ClassVar[str] = "{}:"  # how errors name a field

    def __post_init__(self) -> None:
        for row in self.rows():
            flag = "" if row.word == row.name else f" (--{row.word})"
            what = self.subject.format(f"{row.name}{flag}")
            object.__setattr__(self, row.name, row.check(what, getattr(self, row.name)))

    @classmethod
    def rows(cls) -> Iterator[OptionRow]:
        """The options, in their order."""
        return rows(cls)

    def logged(self) -> dict[str, Any]:
        """What logs and files say: options by their words, most only where they were changed."""
        found = {}
        for row in self.rows():
            value = getattr(self, row.name)
            changed = row.logged is Logged.CHANGED and value != row.default
            if changed or row.logged is Logged.ALWAYS:
                found[row.word] = list(value) if isinstance(value, tuple) else value
        return found

    def as_dict(self) -> dict[str, Any]:
        """All options by their words."""
        return {row.word: getattr(self, row.name) for row in self.rows()}

    @classmethod
    def read(cls, what: str, logged: object) -> Self:
        """The record of what ``logged`` gave; InputError where it is none."""
        names = {row.word: row.name for row in cls.rows()}
        if not isinstance(logged, Mapping) or not logged.keys() <= names.keys():
            raise InputError(f"{what} must have no fields but {', '.join(names)}, but got {logged}")
        return cls(**{names[word]: value for word, value in logged.items()})

    @classmethod
    def require(cls, what: str, value: object) -> Self:
        """``value``, which must be such a record."""
        if not isinstance(value, cls):
            raise InputError(f"{what} must be a {cls.__name__}, but got {shown(value)}")
        return value
