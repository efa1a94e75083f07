"""A template and values in, text out. Work is counted, not timed: the same input always ends the same way.

A step is a node, an item of a loop, or 64 characters that a helper reads; so the processor time of one rendering is
bounded, whatever the template and the values hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.templates.errors import BadValue, LimitExceeded, MissingValues, Position, Problem
from services.templates.helpers import HELPERS, Refused, member_of
from services.templates.tree import Block, BlockKind, Call, Expression, Literal, Node, Output, Path, Template, Text
from services.templates.values import MISSING, NotJson, equal, escaped, is_empty, is_falsy, size_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one rendering may cost: `output_chars` put out, `steps` of work, `iterations` of all loops together."""

    output_chars: int = 2_000_000
    steps: int = 200_000
    iterations: int = 20_000


LIMITS = Limits()
MAX_MISSING = 100
# Of a path as `strict` names it: a member's name may be megabytes, and every turn of a loop would copy it.
MAX_NAME_CHARS = 200


def render(
    template: Template, values: Mapping[str, Any], *, escape: bool, strict: bool = False, limits: Limits = LIMITS
) -> str:
    """The text that the template makes of the values, which are JSON; what they leave out is empty.

    `escape`: for HTML. `strict`: raises MissingValues with every path that is asked for and not there. Raises BadValue
    and LimitExceeded, and nothing else.
    """
    run = _Run(dict(values), escape=escape, strict=strict, limits=limits)
    run.nodes(template.nodes, run.root)
    if run.missing:
        raise MissingValues([Problem(name, at) for name, at in run.missing.items()])
    return "".join(run.out)


class _Scope:
    """What paths begin at: a value, the scope around it, the loop it stands in, and the names it was given.

    `name` is the path that leads here from the root; nobody asks for it unless the rendering is strict.
    """

    __slots__ = ("loop", "name", "named", "outer", "value")

    def __init__(self, value: Any, outer: "_Scope | None", name: str, loop: "_Loop | None") -> None:
        self.value, self.outer, self.name, self.loop = value, outer, name, loop
        self.named: Mapping[str, tuple[Any, str]] = outer.named if outer is not None else {}


@dataclass(frozen=True, slots=True)
class _Loop:
    """What `@index` and its like are."""

    data: Mapping[str, Any] = field(repr=False)
    outer: "_Loop | None"


class _Run:
    """One rendering: what was put out, what was missing, and how much work is left."""

    def __init__(self, values: dict[str, Any], *, escape: bool, strict: bool, limits: Limits) -> None:
        self.root = _Scope(values, None, "", None)
        self.out: list[str] = []
        self.missing: dict[str, Position] = {}
        self._escape, self._strict, self._limits = escape, strict, limits
        self._steps, self._iterations, self._room = limits.steps, limits.iterations, limits.output_chars

    def nodes(self, nodes: Sequence[Node], scope: _Scope) -> None:
        """Puts the nodes out, one after the other."""
        for node in nodes:
            self._spend(1, None)
            if isinstance(node, Text):
                self._put(node.text, None)
            elif isinstance(node, Output):
                self._output(node, scope)
            else:
                self._block(node, scope)

    def _output(self, node: Output, scope: _Scope) -> None:
        value = self._value(node.expression, scope)
        text = self._text(value, node.at)
        self._put(escaped(text) if self._escape and not node.raw else text, node.at)

    def _put(self, text: str, at: Position | None) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise LimitExceeded([Problem(f"puts out more than {self._limits.output_chars} characters", at)])
        self.out.append(text)

    def _spend(self, steps: int, at: Position | None) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise LimitExceeded([Problem(f"takes more than {self._limits.steps} steps of work", at)])

    def _text(self, value: Any, at: Position) -> str:
        if isinstance(value, str):
            return value
        try:
            if isinstance(value, list):
                self._spend(len(value), at)  # before it is walked through
                self._spend(size_of(value), at)
            return text_of(value)
        except NotJson as error:
            raise BadValue([Problem(f"a value {error}", at)]) from None

    def _value(self, expression: Expression, scope: _Scope, *, may_miss: bool = False) -> Any:
        if isinstance(expression, Literal):
            return expression.value
        if isinstance(expression, Call):
            return self._called(expression, scope)
        value = self._found(expression, scope)
        if value is MISSING and self._strict and not may_miss and len(self.missing) < MAX_MISSING:
            self.missing.setdefault(_shown(expression, scope), expression.at)
        return value

    def _called(self, call: Call, scope: _Scope) -> Any:
        helper = HELPERS[call.helper]
        given = [
            self._value(each, scope, may_miss=number in helper.may_miss) for number, each in enumerate(call.arguments)
        ]
        self._spend(1 + sum(map(size_of, given if helper.reads else ())), call.at)
        try:
            return helper.make(*given)
        except Refused as error:
            raise BadValue([Problem(str(error), call.at)]) from None
        except NotJson as error:
            raise BadValue([Problem(f"{call.helper}: a value {error}", call.at)]) from None

    def _found(self, path: Path, scope: _Scope) -> Any:
        self._spend(1 + len(path.names), path.at)
        if path.data:
            value, names = self._loop_value(path, scope), path.names[1:]
        else:
            value, names = _start(path, scope)
        for name in names:
            value = member_of(value, name)
        return value

    def _loop_value(self, path: Path, scope: _Scope) -> Any:
        if path.names[0] == "root":
            return self.root.value
        loop = scope.loop
        for _ in range(path.depth):
            loop = loop.outer if loop is not None else None
        return loop.data.get(path.names[0], MISSING) if loop is not None else MISSING

    def _block(self, block: Block, scope: _Scope) -> None:
        match block.kind:
            case BlockKind.IF | BlockKind.UNLESS:
                value = self._value(block.arguments[0], scope, may_miss=True)
                holds = not (is_empty(value) if block.include_zero else is_falsy(value))
                self._either(block, scope, holds=holds is (block.kind is BlockKind.IF))
            case BlockKind.IF_EQUALS | BlockKind.IF_NOT_EQUALS:
                one, other = (self._value(each, scope, may_miss=True) for each in block.arguments)
                self._spend(sum(size_of(each) for each in (one, other) if isinstance(each, str)), block.at)
                self._either(block, scope, holds=equal(one, other) is (block.kind is BlockKind.IF_EQUALS))
            case BlockKind.EACH:
                self._each(block, self._value(block.arguments[0], scope), scope)
            case BlockKind.WITH:
                self._with(block, self._value(block.arguments[0], scope), scope)
            case BlockKind.SECTION:
                self._section(block, self._value(block.arguments[0], scope, may_miss=True), scope)

    def _either(self, block: Block, scope: _Scope, *, holds: bool) -> None:
        self.nodes(block.body if holds else block.inverse, scope)

    def _section(self, block: Block, value: Any, scope: _Scope) -> None:
        if value is True:
            self.nodes(block.body, scope)
        elif isinstance(value, list):
            self._each(block, value, scope)
        elif value is MISSING or value is None or value is False:
            self.nodes(block.inverse, scope)
        else:
            self.nodes(block.body, _Scope(value, scope, self._name(block, scope), scope.loop))

    def _with(self, block: Block, value: Any, scope: _Scope) -> None:
        if is_empty(value):
            self.nodes(block.inverse, scope)
            return
        inner = _Scope(value, scope, self._name(block, scope), scope.loop)
        if block.parameters:
            inner.named = {**scope.named, block.parameters[0]: (value, inner.name)}
        self.nodes(block.body, inner)

    def _each(self, block: Block, value: Any, scope: _Scope) -> None:
        count = len(value) if isinstance(value, dict | list) else 0
        if not count:
            self.nodes(block.inverse, scope)
            return
        self._iterations -= count
        if self._iterations < 0:
            raise LimitExceeded([Problem(f"loops more than {self._limits.iterations} times", block.at)])
        name = self._name(block, scope)
        for number, (key, item) in enumerate(_items(value)):
            self._spend(1, block.at)
            data = {"index": number, "key": key, "first": number == 0, "last": number + 1 == count}
            step = self._step(name, key, value) if self._strict else ""
            inner = _Scope(item, scope, step, _Loop(data, scope.loop))
            if block.parameters:
                given = ((item, inner.name), (key, "@key"))
                inner.named = {**scope.named, **dict(zip(block.parameters, given, strict=False))}
            self.nodes(block.body, inner)

    def _step(self, name: str, key: Any, value: Any) -> str:
        return f"{name}[{key}]"[:MAX_NAME_CHARS] if isinstance(value, list) else _joined(name, str(key))

    def _name(self, block: Block, scope: _Scope) -> str:
        argument = block.arguments[0]
        return _shown(argument, scope) if self._strict and isinstance(argument, Path) else ""


def _items(value: dict[str, Any] | list[Any]) -> Iterable[tuple[Any, Any]]:
    """Lists in their order; objects by the order of their keys, as neither JSON nor gRPC has one of its own."""
    if isinstance(value, list):
        return enumerate(value)
    return sorted(value.items(), key=lambda item: str(item[0]))


def _start(path: Path, scope: _Scope) -> tuple[Any, tuple[str, ...]]:
    """The value where a path begins, and the rest of its names."""
    if _is_named(path, scope):
        return scope.named[path.names[0]][0], path.names[1:]
    found = _scope_of(path, scope)
    return (found.value if found is not None else MISSING), path.names


def _shown(path: Path, scope: _Scope) -> str:
    """The path from the root, as `strict` names it."""
    if path.data:
        return f"@{'../' * path.depth}{_joined(*path.names)}"
    if _is_named(path, scope):
        return _joined(scope.named[path.names[0]][1], *path.names[1:])
    found = _scope_of(path, scope)
    return _joined(found.name if found is not None else "..", *path.names)


def _is_named(path: Path, scope: _Scope) -> bool:
    return not path.depth and not path.scoped and bool(path.names) and path.names[0] in scope.named


def _scope_of(path: Path, scope: _Scope) -> _Scope | None:
    found: _Scope | None = scope
    for _ in range(path.depth):
        found = found.outer if found is not None else None
    return found


def _joined(*names: str) -> str:
    return ".".join(name[:MAX_NAME_CHARS] for name in names if name)[:MAX_NAME_CHARS] or "this"
