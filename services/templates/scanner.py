"""A source cut into text and tags, whitespace already taken off where Handlebars takes it. What a tag says: words.py.

Linear in the source, whatever it holds. Whitespace goes in two cases: `~` at a tag takes all of it on that side; and a
block's tag, an else or a comment alone on its line takes that line with it.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum

from services.templates.errors import BadTemplate, LimitExceeded, Position, Problem
from services.templates.words import Unreadable, Word, words_of

MAX_SOURCE_BYTES = 1024 * 1024
MAX_TAGS = 10_000
MAX_WORDS = 50_000
MAX_PROBLEMS = 20

_OPENER = re.compile(r"\{\{(~?)(\{|[#^/&>*!]|)")
_NOT_SERVED = {">": "partials ({{> x}})", "*": "decorators ({{* x}})"}
_INDENT = re.compile(r"[ \t]*")


class TagKind(StrEnum):
    """What a tag does, by the character after its braces."""

    VALUE = ""
    RAW = "&"
    OPEN = "#"
    INVERSE = "^"
    CLOSE = "/"
    ELSE = "else"
    COMMENT = "!"


# These may stand alone on a line without leaving an empty one.
_STANDALONE = frozenset({TagKind.OPEN, TagKind.INVERSE, TagKind.CLOSE, TagKind.ELSE, TagKind.COMMENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """What stands between braces; `before` and `after`: whether it takes all whitespace on that side."""

    kind: TagKind
    words: tuple[Word, ...]
    offset: int
    before: bool
    after: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters between tags."""

    text: str


class Scan:
    """A source in pieces and tags, and what was wrong with it; `problems` grows while the source is read further."""

    def __init__(self, source: str) -> None:
        size = len(source.encode("utf-8", "surrogatepass"))
        if size > MAX_SOURCE_BYTES:
            raise LimitExceeded([Problem(f"has {size} bytes; a template may have {MAX_SOURCE_BYTES}")])
        self._source = source
        self._lines = [0, *(match.end() for match in re.finditer("\n", source))]
        self._problems: list[Problem] = []
        self._tags = self._words = 0
        self.tokens: list[Piece | Tag] = _trimmed(self._cut())

    def at(self, offset: int) -> Position:
        """The offset as people count."""
        line = bisect_right(self._lines, offset)
        return Position(line, offset - self._lines[line - 1] + 1)

    def complain(self, offset: int, message: str) -> None:
        """Notes a problem; raises BadTemplate when there are so many that reading on helps nobody."""
        self._problems.append(Problem(message, self.at(offset)))
        if len(self._problems) >= MAX_PROBLEMS:
            self.settle()

    def settle(self) -> None:
        """Raises BadTemplate with every problem in order of the source, if there is one."""
        if self._problems:
            raise BadTemplate(sorted(set(self._problems), key=lambda each: each.at or Position(0, 0)))

    def _cut(self) -> list[Piece | Tag]:
        source, at, tokens = self._source, 0, list[Piece | Tag]()
        texts: list[str] = []
        while (found := source.find("{{", at)) >= 0:
            slashes = (
                2 if source[max(at, found - 2) : found] == "\\\\" else int(source[max(at, found - 1) : found] == "\\")
            )
            texts.append(source[at : found - bool(slashes)])
            if slashes == 1:  # the braces are meant
                at = found + 2
                texts.append("{{")
                continue
            if text := "".join(texts):
                tokens.append(Piece(text))
            texts = []
            tag, at = self._tag(found)
            if tag is not None:
                tokens.append(tag)
        if text := "".join([*texts, source[at:]]):
            tokens.append(Piece(text))
        return tokens

    def _tag(self, start: int) -> tuple[Tag | None, int]:
        """The tag that begins at `start`, None when it can not be read; and where reading goes on."""
        self._tags += 1
        if self._tags > MAX_TAGS:
            raise LimitExceeded([Problem(f"has more than {MAX_TAGS} tags", self.at(start))])
        opener = _OPENER.match(self._source, start)
        if opener is None:
            raise AssertionError("called where braces are")
        before, sigil = bool(opener[1]), opener[2]
        if sigil == "!":
            return self._comment(start, opener.end(), before=before)
        if unserved := self._unserved(start, opener.end(), sigil):
            return self._skip(start, f"{unserved} are not served")
        try:
            words, end, after = words_of(self._source, opener.end(), triple=sigil == "{")
        except Unreadable as error:
            self.complain(error.offset, error.message)
            return None, self._after(error.offset)
        self._words += len(words)
        if self._words > MAX_WORDS:
            raise LimitExceeded([Problem(f"has more than {MAX_WORDS} words in its tags", self.at(start))])
        kind = TagKind.RAW if sigil == "{" else TagKind(sigil)
        if kind is TagKind.VALUE and words and words[0].is_name("else"):
            kind, words = TagKind.ELSE, words[1:]
        elif kind is TagKind.INVERSE and not words:
            kind = TagKind.ELSE
        return Tag(kind=kind, words=words, offset=start, before=before, after=after), end

    def _unserved(self, start: int, inner: int, sigil: str) -> str:
        """What Handlebars has and we do not, when it begins here; partials would let one template run another."""
        if self._source.startswith("{{{{", start):
            return "raw blocks ({{{{x}}}})"
        if sigil == "#" and self._source[inner : inner + 1] in _NOT_SERVED:
            return "partial blocks and decorators"
        return _NOT_SERVED.get(sigil, "")

    def _comment(self, start: int, body: int, *, before: bool) -> tuple[Tag | None, int]:
        if self._source.startswith("--", body):
            ends = [found for mark in ("--}}", "--~}}") if (found := self._source.find(mark, body)) >= 0]
            close = self._source.find("}}", min(ends)) if ends else -1
        else:
            close = self._source.find("}}", body)
        if close < 0:
            self.complain(start, "this comment is not closed")
            return None, len(self._source)
        after = self._source[close - 1] == "~"
        return Tag(kind=TagKind.COMMENT, words=(), offset=start, before=before, after=after), close + 2

    def _skip(self, start: int, message: str) -> tuple[None, int]:
        self.complain(start, message)
        return None, self._after(start)

    def _after(self, offset: int) -> int:
        """Where reading goes on after a tag that made no sense: behind its end, so that one mistake is told once."""
        close = self._source.find("}}", offset)
        if close < 0:
            return len(self._source)
        return close + 2 + self._source.startswith("}", close + 2)


def _trimmed(tokens: list[Piece | Tag]) -> list[Piece | Tag]:
    """The tokens without the whitespace that tags take with them; judged by the source, not by what is left of it."""
    alone = {number for number, each in enumerate(tokens) if isinstance(each, Tag) and _is_alone(tokens, number)}
    trimmed: list[Piece | Tag] = []
    for number, token in enumerate(tokens):
        if isinstance(token, Tag):
            trimmed.append(token)
            continue
        text = token.text
        left = tokens[number - 1] if number else None
        right = tokens[number + 1] if number + 1 < len(tokens) else None
        if isinstance(left, Tag) and left.after:
            text = text.lstrip()
        elif number - 1 in alone:
            text = _without_line_end(text)
        if isinstance(right, Tag) and right.before:
            text = text.rstrip()
        elif number + 1 in alone:
            text = text.rstrip(" \t")
        if text:
            trimmed.append(Piece(text))
    return trimmed


def _is_alone(tokens: list[Piece | Tag], number: int) -> bool:
    """Whether nothing but blanks stands on the tag's line; another tag there is something."""
    tag = tokens[number]
    if not isinstance(tag, Tag) or tag.kind not in _STANDALONE:
        return False
    if number:
        left = tokens[number - 1]
        if not isinstance(left, Piece):
            return False
        last_line = left.text[left.text.rfind("\n") + 1 :]
        if last_line.strip() or ("\n" not in left.text and number > 1):
            return False
    if number + 1 == len(tokens):
        return True
    right = tokens[number + 1]
    if not isinstance(right, Piece):
        return False
    first_line, newline, _ = right.text.partition("\n")
    return not first_line.strip() and (bool(newline) or number + 2 == len(tokens))


def _without_line_end(text: str) -> str:
    match = _INDENT.match(text)
    rest = text[match.end() :] if match else text
    return rest[2:] if rest.startswith("\r\n") else rest.removeprefix("\n")
