"""Every way in which a template or its values are refused. Nothing else leaves this package.

TemplateError
├── BadTemplate      it does not parse; every problem with its line and column
├── MissingValues    strict: the values leave out what the template asks for, all of it
├── BadValue         a value that a helper can not work with
└── LimitExceeded    too long, too deep, too much work
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where in a source; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, for the author of the template: what it is, where, and in which part of the template ("" for
    the only one).
    """

    message: str
    at: Position | None = None
    part: str = ""

    def __str__(self) -> str:
        where = f"line {self.at.line}, column {self.at.column}: " if self.at is not None else ""
        return f"{self.part}: {where}{self.message}" if self.part else f"{where}{self.message}"


class TemplateError(Exception):
    """A template that can not be used, or not with these values; `problems` lists everything that was found.

    The words may quote the template; they hold no value that was given.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))

    def in_part(self, part: str) -> Self:
        """The same error of the named part of a template."""
        return type(self)([replace(each, part=part) for each in self.problems])


class BadTemplate(TemplateError):
    """It does not parse."""


class MissingValues(TemplateError):
    """What the template asks for and the values do not hold; `names` are the paths, in the order of the template."""

    @property
    def names(self) -> tuple[str, ...]:
        """The missing paths, such as `order.items[2].price`."""
        return tuple(each.message for each in self.problems)


class BadValue(TemplateError):
    """A value that a helper can not work with, or that is no JSON."""


class LimitExceeded(TemplateError):
    """More than one template may be, or may do."""
