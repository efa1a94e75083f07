"""What a template is once it is read: a frozen tree. It neither reads nor renders."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from services.templates.errors import Position


@dataclass(frozen=True, slots=True)
class Path:
    """A way into the values: `depth` scopes up (`../`), then by `names`. `data`: into the loop's own (`@index`).

    `scoped`: written with `this` or `./`, so that no block parameter is meant.
    """

    names: tuple[str, ...]
    at: Position
    depth: int = 0
    data: bool = False
    scoped: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands in the template itself."""

    value: str | float | bool | None


@dataclass(frozen=True, slots=True)
class Call:
    """A helper with what it is given; the parser has checked that there is one, and how many it takes."""

    helper: str
    arguments: "tuple[Expression, ...]"
    at: Position


Expression: TypeAlias = Path | Literal | Call


class BlockKind(StrEnum):
    """The blocks there are; SECTION is `{{#x}}` with a value and no helper."""

    IF = "if"
    UNLESS = "unless"
    EACH = "each"
    WITH = "with"
    IF_EQUALS = "ifEquals"
    IF_NOT_EQUALS = "ifNotEquals"
    SECTION = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that are put out as they stand."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """A value to be put out; `raw` ones are never escaped."""

    expression: Expression
    raw: bool
    at: Position


@dataclass(frozen=True, slots=True)
class Block:
    """A part with a condition, a loop or a scope of its own, and what stands instead of it (`inverse`)."""

    kind: BlockKind
    arguments: tuple[Expression, ...]
    body: "tuple[Node, ...]"
    inverse: "tuple[Node, ...]"
    at: Position
    parameters: tuple[str, ...] = ()
    include_zero: bool = False


Node: TypeAlias = Text | Output | Block


@dataclass(frozen=True, slots=True)
class Template:
    """A template that parsed; good for any number of renderings, in any number of threads."""

    nodes: tuple[Node, ...]
