"""From a source to a template: tags matched to blocks, every mistake noted. It renders nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.templates.errors import LimitExceeded, Problem
from services.templates.expressions import Options, Wrong, arguments_of, helper_name, nearest, operand_of, value_of
from services.templates.helpers import HELPERS
from services.templates.scanner import Piece, Scan, Tag, TagKind
from services.templates.tree import Block, BlockKind, Expression, Literal, Node, Output, Path, Template, Text
from services.templates.words import Word, WordKind

MAX_DEPTH = 64

_BLOCKS: Mapping[str, BlockKind] = {kind.value: kind for kind in BlockKind if kind is not BlockKind.SECTION}
_TAKES = {BlockKind.IF_EQUALS: 2, BlockKind.IF_NOT_EQUALS: 2}
_PARAMETERS = {BlockKind.EACH: 2, BlockKind.WITH: 1}
_WITH_ZERO = frozenset({BlockKind.IF, BlockKind.UNLESS})


def parse(source: str) -> Template:
    """The template that `source` is. Raises BadTemplate with every problem found, or LimitExceeded."""
    scan = Scan(source)
    scan.settle()
    return _Builder(scan).template()


@dataclass(slots=True, kw_only=True)
class _Open:
    """A block whose end has not come yet. `chained`: it is an `else if` and ends where its block does."""

    name: str
    offset: int
    kind: BlockKind
    arguments: tuple[Expression, ...] = ()
    parameters: tuple[str, ...] = ()
    include_zero: bool = False
    inverted: bool = False
    chained: bool = False
    has_else: bool = False
    body: list[Node] = field(default_factory=list)
    inverse: list[Node] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """Where the next node goes."""
        return self.inverse if self.has_else else self.body


class _Builder:
    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._root: list[Node] = []
        self._open: list[_Open] = []

    def template(self) -> Template:
        """The whole; raises BadTemplate."""
        for token in self._scan.tokens:
            if isinstance(token, Piece):
                self._nodes.append(Text(token.text))
                continue
            try:
                self._take(token)
            except Wrong as error:
                self._scan.complain(_where(error, token), error.message)
        for each in self._open:
            if not each.chained:
                self._scan.complain(each.offset, f"{{{{#{each.name}}}}} is never closed")
        self._scan.settle()
        return Template(tuple(self._root))

    @property
    def _nodes(self) -> list[Node]:
        return self._open[-1].nodes if self._open else self._root

    def _take(self, tag: Tag) -> None:
        match tag.kind:
            case TagKind.VALUE | TagKind.RAW:
                shown = self._output(tag)
                self._nodes.append(Output(shown, tag.kind is TagKind.RAW, self._scan.at(tag.offset)))
            case TagKind.OPEN | TagKind.INVERSE:
                self._push(self._opened(tag, tag.words, inverted=tag.kind is TagKind.INVERSE))
            case TagKind.ELSE:
                self._else(tag)
            case TagKind.CLOSE:
                self._close(tag)
            case TagKind.COMMENT:
                pass

    def _output(self, tag: Tag) -> Expression:
        """A literal in the place of a path is the name of a variable: `{{"first name"}}`."""
        value = value_of(self._scan, tag.words, tag.offset)
        if isinstance(value, Literal):
            word = tag.words[0]
            name = str(word.value) if word.kind is WordKind.STRING else word.text
            return Path((name,), self._scan.at(word.offset))
        return value

    def _push(self, block: _Open) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise LimitExceeded([Problem(f"blocks go deeper than {MAX_DEPTH}", self._scan.at(block.offset))])
        self._open.append(block)

    def _opened(self, tag: Tag, words: tuple[Word, ...], *, inverted: bool = False, chained: bool = False) -> _Open:
        """The block that begins here. One that makes no sense begins all the same, so that its end is no surprise."""
        name = words[0].text if words else ""
        block = _Open(name=name, offset=tag.offset, kind=BlockKind.SECTION, inverted=inverted, chained=chained)
        try:
            self._read(block, words)
        except Wrong as error:
            self._scan.complain(_where(error, tag), error.message)
        return block

    def _read(self, block: _Open, words: tuple[Word, ...]) -> None:
        if not words:
            raise Wrong(block.offset, "this block has no name")
        head, rest = words[0], words[1:]
        if rest and rest[-1].kind is WordKind.PARAMETERS:
            block.parameters, rest = rest[-1].names, rest[:-1]
        kind = _BLOCKS.get(helper_name(head))
        if kind is None:
            self._read_section(block, head, rest)
            return
        block.kind = kind
        block.arguments, options = arguments_of(self._scan, rest)
        wanted = _TAKES.get(kind, 1)
        if len(block.arguments) != wanted:
            got = len(block.arguments)
            raise Wrong(head.offset, f"#{kind} takes {wanted} value{'s' * (wanted != 1)}, not {got}")
        if len(block.parameters) > _PARAMETERS.get(kind, 0):
            raise Wrong(head.offset, f"#{kind} has {_PARAMETERS.get(kind, 0)} block parameters at most")
        block.include_zero = _includes_zero(head, kind, options)

    def _read_section(self, block: _Open, head: Word, rest: tuple[Word, ...]) -> None:
        name = helper_name(head)
        if rest or block.parameters:
            raise Wrong(head.offset, f'there is no block helper "{head.text[:60]}"{nearest(head.text, _BLOCKS)}')
        if name in HELPERS:
            raise Wrong(head.offset, f"{name} is no block: write {{{{{name} …}}}}")
        operand = operand_of(self._scan, head)
        if isinstance(operand, Literal):
            raise Wrong(head.offset, "a block needs a helper or a variable, not a literal")
        block.arguments = (operand,)

    def _else(self, tag: Tag) -> None:
        if not self._open:
            raise Wrong(tag.offset, "this else belongs to no block")
        block = self._open[-1]
        if block.has_else:
            raise Wrong(tag.offset, f"#{block.name} has an else already")
        block.has_else = True
        if tag.words:
            self._push(self._opened(tag, tag.words, chained=True))

    def _close(self, tag: Tag) -> None:
        name = "".join(word.text for word in tag.words)
        names = [each.name for each in self._open if not each.chained]
        if name not in names:
            raise Wrong(tag.offset, f"{{{{/{name[:60]}}}}} closes nothing that is open")
        while self._open:
            block = self._open.pop()
            self._nodes.append(self._finished(block))
            if block.chained:
                continue
            if block.name == name:
                return
            self._scan.complain(block.offset, f"{{{{#{block.name[:60]}}}}} is never closed")

    def _finished(self, block: _Open) -> Block:
        body, inverse = tuple(block.body), tuple(block.inverse)
        return Block(
            kind=block.kind,
            arguments=block.arguments,
            body=inverse if block.inverted else body,
            inverse=body if block.inverted else inverse,
            at=self._scan.at(block.offset),
            parameters=block.parameters,
            include_zero=block.include_zero,
        )


def _where(error: Wrong, tag: Tag) -> int:
    return tag.offset if error.offset is None else error.offset


def _includes_zero(head: Word, kind: BlockKind, options: Options) -> bool:
    zero = options.pop("includeZero", Literal(value=False)) if kind in _WITH_ZERO else Literal(value=False)
    if options:
        raise Wrong(head.offset, f"#{kind} takes no {next(iter(options))}=")
    if not isinstance(zero, Literal) or not isinstance(zero.value, bool):
        raise Wrong(head.offset, "includeZero is true or false")
    return zero.value
