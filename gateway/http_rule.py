"""The path language of google.api.http: parse a template, match a path. Pure; it knows no route, no RPC and no server.

    Template = "/" Segments [ ":" verb ] ;  Segment = "*" | "**" | literal | "{" field.path [ "=" Segments ] "}"

`**` may only stand last. A `:` that is not percent-encoded begins a verb, so a template without one never takes a path
with one: `/v1/messages/7:cancel` is not the message `7:cancel`. Source: google/api/http.proto, "Path template syntax".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,;=@%-]+")
_TOKEN = re.compile(r"\{([^{}]*)\}|([^/{}]+)")

ONE = "*"
REST = "**"


class TemplateError(ValueError):
    """A path template that can not be read; the message names the template and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A request field that the segments `start` up to, not including, `end` fill; `end` None is the rest of the
    path.
    """

    path: tuple[str, ...]
    start: int
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed template: literals, `*` and `**` in order, the variables over them, and the verb ("" for none)."""

    text: str
    segments: tuple[str, ...]
    verb: str
    variables: tuple[Variable, ...]

    @property
    def shape(self) -> tuple[tuple[str, ...], str]:
        """What it matches, whatever its variables are called; two templates of one shape match the same paths."""
        return self.segments, self.verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A request's path, split and decoded once."""

    segments: tuple[str, ...]
    verb: str


def parse(text: str) -> Template:
    """The template as values; TemplateError says what is wrong with it."""
    if not text.startswith("/"):
        raise TemplateError(f"{text!r} does not begin with /")
    if text == "/":
        return Template(text=text, segments=("",), verb="", variables=())
    body, verb = _split_verb(text[1:])
    if verb is not None and not _LITERAL.fullmatch(verb):
        raise TemplateError(f"{text!r} has a bad verb {verb!r}")
    segments: list[str] = []
    variables: list[Variable] = []
    for plain, variable in _pieces(text, body):
        if variable is None:
            segments.append(_segment(text, plain))
        else:
            variables.append(_variable(text, variable, segments))
    if REST in segments[:-1]:
        raise TemplateError(f"{text!r} has ** before its end")
    if len({each.path for each in variables}) != len(variables):
        raise TemplateError(f"{text!r} names a field twice")
    return Template(text=text, segments=tuple(segments), verb=verb or "", variables=tuple(variables))


def split(raw_path: str) -> Path | None:
    """The path as values; None when it is no absolute path or its escapes are not UTF-8."""
    if not raw_path.startswith("/"):
        return None
    *front, last = raw_path[1:].split("/")
    last, _, verb = last.partition(":")
    try:
        return Path(segments=tuple(map(_decode, (*front, last))), verb=_decode(verb))
    except UnicodeDecodeError:
        return None


def match(template: Template, path: Path) -> dict[str, str] | None:
    """The variables' values by dotted field path, or None when the template does not match."""
    if template.verb != path.verb or not _fits(template.segments, path.segments):
        return None
    return bind(template, path)


def bind(template: Template, path: Path) -> dict[str, str]:
    """The variables' values, given that the template is known to match."""
    return {".".join(each.path): "/".join(path.segments[each.start : each.end]) for each in template.variables}


def _fits(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if pattern and pattern[-1] == REST:
        pattern, segments = pattern[:-1], segments[: len(pattern) - 1]
    if len(pattern) != len(segments):
        return False
    return all(each == found or (each == ONE and found != "") for each, found in zip(pattern, segments, strict=True))


def _split_verb(body: str) -> tuple[str, str | None]:
    # A colon inside a variable is none of the verb's, so only what follows the last brace counts.
    brace = body.rfind("}") + 1
    front, colon, verb = body[brace:].partition(":")
    return body[:brace] + front, verb if colon else None


def _pieces(text: str, body: str) -> Iterator[tuple[str, str | None]]:
    """Each segment as (plain text, None) or ("", inside of the braces)."""
    position = 0
    while True:
        token = _TOKEN.match(body, position)
        if token is None:
            raise TemplateError(f"{text!r} has an empty or broken segment")
        yield token[2] or "", token[1]
        position = token.end()
        if position == len(body):
            return
        if body[position] != "/":
            raise TemplateError(f"{text!r} has more than one thing in a segment")
        position += 1


def _segment(text: str, plain: str) -> str:
    if plain in (ONE, REST):
        return plain
    if not _LITERAL.fullmatch(plain):
        raise TemplateError(f"{text!r} has a bad segment {plain!r}")
    return unquote(plain)


def _variable(text: str, inside: str, segments: list[str]) -> Variable:
    name, equals, pattern = inside.partition("=")
    path = tuple(name.split("."))
    if not all(_IDENTIFIER.fullmatch(part) for part in path):
        raise TemplateError(f"{text!r} has a bad field path {name!r}")
    start = len(segments)
    segments.extend(_segment(text, each) for each in (pattern.split("/") if equals else [ONE]))
    return Variable(path=path, start=start, end=None if segments[-1] == REST else len(segments))


def _decode(raw: str) -> str:
    return unquote(raw, errors="strict")
