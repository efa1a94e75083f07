r"""The words of one tag: paths, literals, parentheses. What they mean together: expressions.py. It never goes back.

A name is any run of characters without whitespace and ! " # % & ' ( ) * + , . / ; < = > @ [ \ ] ^ ` { | } ~ ; what no
name can be stands in brackets: `[first name]`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_WORDS = 500
MAX_SEGMENTS = 50

_BLANK = re.compile(r"\s*")
_NAME = re.compile(r"[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+")
_NUMBER = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?=[\s=~}/.)|])")
_PARAMETERS = re.compile(r"as\s+\|")
_WORD_BREAK = frozenset(" \t\r\n\f\v=~})|(\"'")


class WordKind(StrEnum):
    """What sort of word it is."""

    PATH = "path"
    STRING = "string"
    NUMBER = "number"
    KEY = "key"  # `name=`
    OPEN = "("
    CLOSE = ")"
    PARAMETERS = "as |…|"


@dataclass(frozen=True, slots=True)
class Segment:
    """One step of a path; `quoted` in brackets, so that it is a name whatever it looks like."""

    name: str
    quoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word. `text` as it was written; `segments` of a path, `names` of block parameters, `value` of a literal."""

    kind: WordKind
    offset: int
    text: str
    value: str | float = ""
    segments: tuple[Segment, ...] = ()
    data: bool = False
    names: tuple[str, ...] = ()

    def is_name(self, name: str) -> bool:
        """Whether it is this very name, alone and not in brackets."""
        return self.kind is WordKind.PATH and not self.data and self.segments == (Segment(name),)


class Unreadable(Exception):
    """The tag makes no sense from `offset` on."""

    def __init__(self, offset: int, message: str) -> None:
        self.offset, self.message = offset, message
        super().__init__(message)


def words_of(source: str, at: int, *, triple: bool) -> tuple[tuple[Word, ...], int, bool]:
    """The words from `at` to the end of the tag, where it ends, and whether it ends in `~`. Raises Unreadable.

    `triple`: the tag was opened by three braces and has to be closed by three.
    """
    begin, words = at, list[Word]()
    ends = (("}}}", False), ("}~}}", True)) if triple else (("}}", False), ("~}}", True))
    while True:
        at = _skip(source, at)
        for mark, strips in ends:
            if source.startswith(mark, at):
                return tuple(words), at + len(mark), strips
        if at >= len(source) or source.startswith("{{", at):
            raise Unreadable(begin, "this tag is not closed")
        if len(words) == MAX_WORDS:
            raise Unreadable(begin, f"this tag has more than {MAX_WORDS} words")
        word, at = _word(source, at)
        words.append(word)


def _word(source: str, at: int) -> tuple[Word, int]:
    first = source[at]
    if first in "()":
        return Word(kind=WordKind(first), offset=at, text=first), at + 1
    if first in "\"'":
        return _string(source, at)
    if number := _NUMBER.match(source, at):
        value = float(number[0])
        return Word(kind=WordKind.NUMBER, offset=at, text=number[0], value=value), number.end()
    if parameters := _PARAMETERS.match(source, at):
        return _parameters(source, at, parameters.end())
    name = _NAME.match(source, at)
    if name and source.startswith("=", name.end()):
        return Word(kind=WordKind.KEY, offset=at, text=name[0]), name.end() + 1
    return _path(source, at)


def _string(source: str, at: int) -> tuple[Word, int]:
    """Within quotes only the quote itself is escaped, by a backslash."""
    quote, end = source[at], source.find(source[at], at + 1)
    while end > 0 and source[end - 1] == "\\":
        end = source.find(quote, end + 1)
    if end < 0:
        raise Unreadable(at, f"this {quote} is not closed")
    value = source[at + 1 : end].replace("\\" + quote, quote)
    return Word(kind=WordKind.STRING, offset=at, text=source[at : end + 1], value=value), end + 1


def _parameters(source: str, at: int, inner: int) -> tuple[Word, int]:
    names = list[str]()
    while True:
        inner = _skip(source, inner)
        if source.startswith("|", inner):
            return Word(kind=WordKind.PARAMETERS, offset=at, text=source[at : inner + 1], names=tuple(names)), inner + 1
        name = _NAME.match(source, inner)
        if name is None or len(names) == MAX_SEGMENTS:
            raise Unreadable(at, "block parameters are written `as |item index|`")
        names.append(name[0])
        inner = name.end()


def _path(source: str, at: int) -> tuple[Word, int]:
    begin, data = at, source.startswith("@", at)
    segments, at = list[Segment](), at + data
    while True:
        segment, at = _segment(source, at)
        segments.append(segment)
        if len(segments) > MAX_SEGMENTS:
            raise Unreadable(begin, f"this path has more than {MAX_SEGMENTS} steps")
        if source[at : at + 1] not in ("/", ".") or (segment.name == ".." and source[at : at + 1] == "."):
            break
        at += 1
        if segment.name in (".", "..") and _ends(source, at):  # `../` means `..`
            break
    if not _ends(source, at):
        raise Unreadable(at, f"{source[at]!r} does not belong here")
    return Word(kind=WordKind.PATH, offset=begin, text=source[begin:at], segments=tuple(segments), data=data), at


def _segment(source: str, at: int) -> tuple[Segment, int]:
    if source.startswith("[", at):
        end = source.find("]", at)
        if end < 0:
            raise Unreadable(at, "this [ is not closed")
        return Segment(source[at + 1 : end], quoted=True), end + 1
    if source.startswith("..", at):
        return Segment(".."), at + 2
    if source.startswith(".", at):
        return Segment("."), at + 1
    name = _NAME.match(source, at)
    if name is None:
        found = f"{source[at]!r} does not belong here" if at < len(source) else "this tag is not closed"
        raise Unreadable(at, found)
    return Segment(name[0]), name.end()


def _ends(source: str, at: int) -> bool:
    return at >= len(source) or source[at] in _WORD_BREAK or source[at].isspace()


def _skip(source: str, at: int) -> int:
    match = _BLANK.match(source, at)
    return match.end() if match else at
