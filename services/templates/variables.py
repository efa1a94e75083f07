"""What a caller has to give for a template: every path that is read, from the root. It renders nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from services.templates.tree import Block, BlockKind, Call, Expression, Literal, Node, Output, Path, Template, Text

# A path from the root; "[]" is any item. None: nobody can say where it leads.
Place: TypeAlias = tuple[str, ...] | None

ITEM = "[]"


@dataclass(frozen=True, slots=True)
class _Scope:
    place: Place
    outer: "_Scope | None" = None
    named: Mapping[str, Place] = field(default_factory=dict)


def variables(template: Template) -> tuple[str, ...]:
    """The paths a template reads, in the order of their first mention: `name`, `order.id`, `items[].price`.

    A path that another one continues is left out: `items[].price` says that there is `items`.
    """
    found = dict.fromkeys(place for place in _of_nodes(template.nodes, _Scope(())) if place)
    implied = {place[:length] for place in found for length in range(1, len(place))}
    return tuple(_written(place) for place in found if place not in implied)


def _of_nodes(nodes: Sequence[Node], scope: _Scope) -> Iterator[Place]:
    for node in nodes:
        match node:
            case Text():
                pass
            case Output():
                yield from _of_expression(node.expression, scope)
            case Block():
                yield from _of_block(node, scope)


def _of_block(block: Block, scope: _Scope) -> Iterator[Place]:
    for argument in block.arguments:
        yield from _of_expression(argument, scope)
    yield from _of_nodes(block.body, _inside(block, scope))
    yield from _of_nodes(block.inverse, scope)


def _inside(block: Block, scope: _Scope) -> _Scope:
    if block.kind not in (BlockKind.EACH, BlockKind.WITH, BlockKind.SECTION):
        return scope
    argument = block.arguments[0]
    place = _place(argument, scope) if isinstance(argument, Path) else None
    if place is not None and block.kind is BlockKind.EACH:
        place = (*place, ITEM)
    given = dict(zip(block.parameters, (place, None), strict=False))
    return _Scope(place, scope, {**scope.named, **given})


def _of_expression(expression: Expression, scope: _Scope) -> Iterator[Place]:
    match expression:
        case Literal():
            pass
        case Call():
            for each in expression.arguments:
                yield from _of_expression(each, scope)
        case Path():
            yield _place(expression, scope)


def _place(path: Path, scope: _Scope) -> Place:
    if path.data:
        return path.names[1:] if path.names[0] == "root" else None
    names = path.names
    if not path.depth and not path.scoped and names and names[0] in scope.named:
        start, names = scope.named[names[0]], names[1:]
    else:
        found: _Scope | None = scope
        for _ in range(path.depth):
            found = found.outer if found is not None else None
        start = found.place if found is not None else None
    return None if start is None else (*start, *names)


def _written(place: tuple[str, ...]) -> str:
    return ".".join(place).replace(f".{ITEM}", ITEM)
