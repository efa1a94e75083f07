"""From the words of a tag to an expression: which helper there is, and with how many values. It renders nothing."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TypeAlias

from services.templates.helpers import HELPERS
from services.templates.scanner import Scan
from services.templates.tree import Call, Expression, Literal, Path
from services.templates.words import Word, WordKind

MAX_PARENTHESES = 16
LOOP_NAMES = ("index", "key", "first", "last")
_ROOT = "root"
_STEPS = frozenset({"..", ".", "this"})
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "undefined": None}

Options: TypeAlias = dict[str, Expression]


class Wrong(Exception):
    """An expression that makes no sense, and where; None: in the tag that is being read."""

    def __init__(self, offset: int | None, message: str) -> None:
        self.offset, self.message = offset, message
        super().__init__(message)


def value_of(scan: Scan, words: Sequence[Word], offset: int) -> Expression:
    """What a `{{…}}` puts out; raises Wrong."""
    if not words:
        raise Wrong(offset, "this tag is empty")
    head = words[0]
    if helper_name(head) in HELPERS:
        return _call(scan, words, 0)
    if len(words) > 1:
        raise Wrong(head.offset, f"there is no helper {_quoted(head.text)}{nearest(head.text, HELPERS)}")
    return operand_of(scan, head)


def arguments_of(scan: Scan, words: Sequence[Word], level: int = 0) -> tuple[tuple[Expression, ...], Options]:
    """The values a helper is given, and the named ones; raises Wrong."""
    found, options = list[Expression](), Options()
    waiting: Word | None = None
    for group in _groups(words):
        word = group[0]
        if word.kind is WordKind.KEY:
            if waiting is not None:
                raise Wrong(waiting.offset, f"{waiting.text}= has no value")
            waiting = word
            continue
        value = _call(scan, group[1:-1], level + 1) if word.kind is WordKind.OPEN else operand_of(scan, word)
        if waiting is not None:
            options[waiting.text] = value
            waiting = None
        elif options:
            raise Wrong(word.offset, "name=value pairs come last")
        else:
            found.append(value)
    if waiting is not None:
        raise Wrong(waiting.offset, f"{waiting.text}= has no value")
    return tuple(found), options


def operand_of(scan: Scan, word: Word) -> Path | Literal:
    """A path or a literal; raises Wrong."""
    if word.kind in (WordKind.STRING, WordKind.NUMBER):
        return Literal(word.value)
    if word.kind is not WordKind.PATH:
        raise Wrong(word.offset, f"{_quoted(word.text)} does not belong here")
    head = word.segments[0]
    if len(word.segments) == 1 and not head.quoted and not word.data and head.name in _CONSTANTS:
        return Literal(_CONSTANTS[head.name])
    names, depth, scoped = list[str](), 0, False
    for segment in word.segments:
        if segment.quoted or segment.name not in _STEPS:
            names.append(segment.name)
        elif names:
            raise Wrong(word.offset, f"in {_quoted(word.text)}, {segment.name} may only stand at the beginning")
        else:
            depth += segment.name == ".."
            scoped = scoped or segment.name != ".."
    if word.data and (not names or names[0] not in (*LOOP_NAMES, _ROOT)):
        known = ", ".join(f"@{name}" for name in (*LOOP_NAMES, _ROOT))
        raise Wrong(word.offset, f"there is no {_quoted(word.text)}; there are {known}")
    return Path(tuple(names), scan.at(word.offset), depth=depth, data=word.data, scoped=scoped)


def helper_name(word: Word) -> str:
    """The name, where the word could be a helper's; otherwise ""."""
    plain = word.kind is WordKind.PATH and not word.data and len(word.segments) == 1 and not word.segments[0].quoted
    return word.segments[0].name if plain else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The rest of a sentence that says what was probably meant, or what there is."""
    close = get_close_matches(name[:50], known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _call(scan: Scan, words: Sequence[Word], level: int) -> Call:
    if level > MAX_PARENTHESES:
        raise Wrong(words[0].offset if words else None, f"parentheses go deeper than {MAX_PARENTHESES}")
    if not words:
        raise Wrong(None, "parentheses hold a helper and its values: (uppercase name)")
    head = words[0]
    name = helper_name(head)
    if name not in HELPERS:
        raise Wrong(head.offset, f"there is no helper {_quoted(head.text)}{nearest(head.text, HELPERS)}")
    arguments, options = arguments_of(scan, words[1:], level)
    if options:
        raise Wrong(head.offset, f"{name} takes no {next(iter(options))}=")
    wanted = HELPERS[name].takes
    if len(arguments) != wanted:
        hint = f"; for a variable of that name write this.{name}" if not arguments else ""
        raise Wrong(head.offset, f"{name} takes {wanted} value{'s' * (wanted != 1)}, not {len(arguments)}{hint}")
    return Call(name, arguments, scan.at(head.offset))


def _groups(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """The words one by one, what stands in parentheses together with them."""
    at = 0
    while at < len(words):
        end = _closing(words, at) if words[at].kind is WordKind.OPEN else at
        yield words[at : end + 1]
        at = end + 1


def _closing(words: Sequence[Word], at: int) -> int:
    depth = 0
    for number in range(at, len(words)):
        depth += (words[number].kind is WordKind.OPEN) - (words[number].kind is WordKind.CLOSE)
        if not depth:
            return number
    raise Wrong(words[at].offset, "this ( is not closed")


def _quoted(text: str) -> str:
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'
